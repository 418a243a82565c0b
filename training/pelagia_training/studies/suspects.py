"""`pelagia suspects`: lists the labels that are most likely wrong, for a second look in Label Studio.

    suspects.html      a contact sheet
    suspects.csv       one row per image, the most doubtful first; a manifest for `pelagia label push`
    images/            the images of the manifest
    predictions/       a survey with the models' predictions, for `pelagia label push --predictions`
    taxonomy.yaml      the dataset's taxonomy

The method is confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70, arXiv 1911.00068) on out-of-fold
probabilities, so no model was trained on the label that it checks. A label is counted as wrong if the probability of
another class is at least the mean probability of that class in the images labeled with it. Images are ranked by
self-confidence, the probability of their label. The paper has two rankings; this one finds more of the labels that
`benchmarks/science/label_noise.py` changes.

The authors' library, cleanlab, is not used because its licence is AGPL-3.0, which institutes and companies that ship
Pelagia may not be able to accept. The method takes twenty lines here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.config import dump_yaml
from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, InputError
from pelagia.shell import command_line
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import new_folder
from pelagia.system.tables import write_table
from pelagia_training.evaluation.report import render, thumbnail
from pelagia_training.figures.metrics import Real
from pelagia_training.runs.out_of_fold import SURVEY_FOLDER, read_predictions

CSV_FILE, SHEET_FILE, TAXONOMY_FILE, PREDICTIONS_FOLDER = (
    "suspects.csv",
    "suspects.html",
    "taxonomy.yaml",
    "predictions",
)
_MOST_SHOWN = 600


@dataclass(frozen=True)
class Suspect:
    """An image whose label may be wrong.

    Attributes:
        record: the image and its label.
        predicted: the most probable class other than the label.
        probability: the probability of ``predicted``, 0..1.
        label_probability: the probability of the label, 0..1.
    """

    record: Record
    predicted: str
    probability: float
    label_probability: float


def find_suspects(run: Path, dataset: Dataset, most: int | None = None) -> list[Suspect]:
    """Images of a cross-validated dataset whose labels are most likely wrong, the most doubtful first.

    Args:
        run: a folder that `pelagia train --folds` made.
        dataset: the dataset on which the cross-validation was made.
        most: how many images to list; by default the number of labels that confident learning counts as wrong.

    Raises:
        InputError: ``run`` holds no out-of-fold predictions.
        DatasetError: the predictions were made on another dataset.
    """
    records, probabilities, classes = read_predictions(run, dataset)
    targets = np.array([classes.index(record.class_name) for record in records], np.int64)
    count = int(is_doubted(probabilities, targets).sum()) if most is None else most
    confidence = self_confidence(probabilities, targets)
    others = probabilities.copy()
    others[np.arange(len(targets)), targets] = -1.0
    return [
        Suspect(
            records[index],
            classes[int(others[index].argmax())],
            float(others[index].max()),
            float(confidence[index]),
        )
        for index in np.argsort(confidence, kind="stable")[:count]
    ]


def self_confidence(probabilities: NDArray[np.floating], targets: NDArray[np.int64]) -> Real:
    """The probability of each image's label: float64, N, 0..1; it is low if the label is doubtful.

    Args:
        probabilities: float, N x classes, rows sum to 1.
        targets: int64, N, the labels' class indices.
    """
    confidence: Real = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return confidence


def is_doubted(probabilities: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each image is off the diagonal of the confident joint: bool, N.

    An image is counted for a class if the probability of the class is at least the mean self-confidence of the images
    with this label. If there are several such classes, the image is counted for the most probable one.

    Args:
        probabilities: float, N x classes, rows sum to 1.
        targets: int64, N, the labels' class indices.
    """
    classes = probabilities.shape[1]
    images = np.bincount(targets, minlength=classes)
    confidence = self_confidence(probabilities, targets)
    sums = np.bincount(targets, confidence, minlength=classes)
    thresholds = np.where(images > 0, sums / np.maximum(images, 1), np.inf)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    doubted: NDArray[np.bool_] = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != targets)
    return doubted


def write_suspects(suspects: Sequence[Suspect], run: Path, dataset: Dataset, out: Path) -> None:
    """Writes the new folder ``out``.

    Args:
        suspects: the images to list.
        run: the folder that `pelagia train --folds` made.
        dataset: the dataset that holds the images.
        out: the folder to make.

    Raises:
        InputError: ``out`` exists, or there is no suspect.
        DatasetError: an image of the dataset is missing.
    """
    if not suspects:
        raise InputError(
            f"no label of {dataset.root} is in doubt, so there is nothing to write: list images anyway with --most 100"
        )
    with new_folder(out, "folder of suspects") as folder:
        for suspect in suspects:
            target = folder / suspect.record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(dataset.file(suspect.record), target)
            except FileNotFoundError:
                remedy = f"run `{command_line('pelagia', 'dataset', 'check', dataset.root)}`"
                raise DatasetError(f"{dataset.file(suspect.record)} is missing: {remedy}") from None
        _write_csv(folder / CSV_FILE, suspects)
        (folder / TAXONOMY_FILE).write_text(dump_yaml(dataset.meta.taxonomy), encoding="utf-8")
        _write_predictions(folder / PREDICTIONS_FOLDER, suspects, run)
        (folder / SHEET_FILE).write_text(_sheet(suspects, dataset), encoding="utf-8")


def _write_csv(path: Path, suspects: Sequence[Suspect]) -> None:
    extra = sorted({name for suspect in suspects for name in suspect.record.extra})
    columns = ["path", "label", "predicted", "probability", "label_probability", "group", "split", "source"]
    columns += [name for name in extra if name not in columns]
    rows = ([row.get(name, "") for name in columns] for row in map(_row, suspects))
    write_table(path, columns, rows, guard_formulas=False)  # `pelagia label push` reads it


def _row(suspect: Suspect) -> Mapping[str, str]:
    record = suspect.record
    return {
        **record.extra,
        "path": record.path,
        "label": record.class_name,
        "predicted": suspect.predicted,
        "probability": f"{suspect.probability:.4f}",
        "label_probability": f"{suspect.label_probability:.4f}",
        "group": record.group,
        "split": record.split,
        "source": record.source,
    }


def _write_predictions(folder: Path, suspects: Sequence[Suspect], run: Path) -> None:
    """Writes the suspects' rows of the out-of-fold survey into a separate survey."""
    wanted = {suspect.record.path for suspect in suspects}
    with Survey.open(run / SURVEY_FOLDER) as whole:
        opened = Survey.open_for_writing(
            folder, model_sha256=whole.meta["model_sha256"], classes=whole.classes, settings={"suspects": len(wanted)}
        )
        with opened as part:
            part.add(
                Prediction(row.path, row.file, row.sha256, probabilities=row.probabilities, columns=row.columns)
                for row in whole
                if row.path in wanted
            )


def _sheet(suspects: Sequence[Suspect], dataset: Dataset) -> str:
    """The contact sheet: one section per pair of classes, the pair with most suspects first."""
    shown = suspects[:_MOST_SHOWN]
    pairs: dict[tuple[str, str], list[Suspect]] = {}
    for suspect in shown:
        pairs.setdefault((suspect.record.class_name, suspect.predicted), []).append(suspect)
    counts = Counter((suspect.record.class_name, suspect.predicted) for suspect in suspects)
    parts = []
    for (label, predicted), members in sorted(pairs.items(), key=lambda item: -len(item[1])):
        title = f"labeled {label}, predicted {predicted}"
        images = [
            thumbnail(
                dataset,
                suspect.record,
                f"{title}: {suspect.record.source or suspect.record.path}",
                (f"{suspect.probability:.2f}, label {suspect.label_probability:.2f}", suspect.record.group),
            )
            for suspect in members
        ]
        parts.append(
            {"title": title, "count": counts[label, predicted], "images": [image for image in images if image]}
        )
    return render(
        "suspects.html",
        title=f"Doubtful labels of {dataset.meta.name}",
        count=len(suspects),
        shown=len(shown),
        of=len(dataset.records),
        pairs=parts,
    )
