"""`pelagia suspects`: the labels that cross-validation disagrees with most, to look at and to send back.

    suspects.html      a contact sheet
    suspects.csv       a row an image, the worst first; the manifest that `pelagia label push` takes
    images/            the images it names
    predictions/       a survey: what the models say of them, for `label push --predictions`
    taxonomy.yaml      the dataset's

The method is confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70), with out-of-fold probabilities, so that no
model had seen the label that it judges: an image is counted as wrongly labelled where another class's probability
reaches what is usual for images of that class. Images are ranked by self-confidence, the probability of their label;
of the paper's two rankings it finds more of the labels that `benchmarks/science/label_noise.py` changes.
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
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey
from pelagia.system.files import new_folder
from pelagia.system.tables import write_table
from pelagia_training.evaluation.report import render, thumbnail
from pelagia_training.figures.metrics import Real
from pelagia_training.studies.folds import SURVEY_FOLDER

CSV_FILE, SHEET_FILE, TAXONOMY_FILE, PREDICTIONS_FOLDER = (
    "suspects.csv",
    "suspects.html",
    "taxonomy.yaml",
    "predictions",
)
_MOST_SHOWN = 600


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubted: what it is labelled as, what the model of its fold says, and how sure."""

    record: Record
    predicted: str
    probability: float
    label_probability: float


def find_suspects(run: Path, dataset: Dataset, most: int | None = None) -> list[Suspect]:
    """Images of a cross-validated dataset whose labels are most in doubt, the worst first.

    Args:
        run: what `pelagia train --folds` made.
        most: how many to list; as many as confident learning counts by default.

    Raises:
        InputError: ``run`` holds no out-of-fold predictions.
        DatasetError: they are of another dataset.
    """
    folder = run / SURVEY_FOLDER
    if not (folder / JOURNAL_FILE).is_file():
        raise InputError(
            f"{run} holds no out-of-fold predictions: make them with `pelagia train CONFIG --folds 5 --out {run}`"
        )
    by_path = {record.path: record for record in dataset.records}
    with Survey.open(folder) as survey:
        rows = [row for row in survey if row.probabilities is not None]
        classes = survey.classes
    strange = [row.path for row in rows if row.path not in by_path or by_path[row.path].sha256 != row.sha256]
    if strange or not rows:
        raise DatasetError(f"{dataset.root} is not the dataset that {run} was made of: it has no {strange[:1]}")
    records = [by_path[row.path] for row in rows]
    gone = {record.class_name for record in records} - set(classes)
    if gone:
        raise DatasetError(f"{dataset.root} is not the dataset that {run} was made of: it has a class {gone.pop()}")
    targets = np.array([classes.index(record.class_name) for record in records], np.int64)
    probabilities = np.stack([row.probabilities for row in rows if row.probabilities is not None])
    count = int(is_doubted(probabilities, targets).sum()) if most is None else most
    trust = self_confidence(probabilities, targets)
    others = probabilities.copy()
    others[np.arange(len(targets)), targets] = -1.0
    return [
        Suspect(
            records[index],
            classes[int(others[index].argmax())],
            float(others[index].max()),
            float(trust[index]),
        )
        for index in np.argsort(trust, kind="stable")[:count]
    ]


def self_confidence(probabilities: NDArray[np.floating], targets: NDArray[np.int64]) -> Real:
    """Probability of the label, an image each: 0..1, low where in doubt."""
    trust: Real = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return trust


def is_doubted(probabilities: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The images off the diagonal of the confident joint: bool, N.

    A class is confident of an image where its probability is no less than the mean over the images with its label; of
    several, the likeliest counts.
    """
    classes = probabilities.shape[1]
    images = np.bincount(targets, minlength=classes)
    own = self_confidence(probabilities, targets)
    usual = np.where(images > 0, np.bincount(targets, own, minlength=classes) / np.maximum(images, 1), np.inf)
    confident = np.where(probabilities >= usual, probabilities, -1.0)
    doubted: NDArray[np.bool_] = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != targets)
    return doubted


def write_suspects(suspects: Sequence[Suspect], run: Path, dataset: Dataset, out: Path) -> None:
    """Writes the new folder ``out``.

    Raises:
        InputError: ``out`` exists, or there is no suspect.
        DatasetError: an image of the dataset is gone.
    """
    if not suspects:
        raise InputError(f"no label of {dataset.root} is in doubt: nothing to write; see --most")
    with new_folder(out, "folder of suspects") as folder:
        for suspect in suspects:
            target = folder / suspect.record.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(dataset.file(suspect.record), target)
            except FileNotFoundError:
                remedy = f"run `pelagia dataset check {dataset.root}`"
                raise DatasetError(f"{dataset.file(suspect.record)} is gone: {remedy}") from None
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
    """The part of the out-of-fold survey that is of the suspects."""
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
    """The contact sheet: a heading a pair of classes, the pair with most suspects first, the worst image first."""
    shown = suspects[:_MOST_SHOWN]
    pairs: dict[tuple[str, str], list[Suspect]] = {}
    for suspect in shown:
        pairs.setdefault((suspect.record.class_name, suspect.predicted), []).append(suspect)
    counts = Counter((suspect.record.class_name, suspect.predicted) for suspect in suspects)
    parts = []
    for (label, guess), found in sorted(pairs.items(), key=lambda item: -len(item[1])):
        images = [
            thumbnail(
                dataset,
                one.record,
                f"labelled {label}, predicted {guess}: {one.record.source or one.record.path}",
                (f"{one.probability:.2f}, label {one.label_probability:.2f}", one.record.group),
            )
            for one in found
        ]
        title = f"labelled {label}, predicted {guess}"
        parts.append({"title": title, "count": counts[label, guess], "images": [one for one in images if one]})
    return render(
        "suspects.html",
        title=f"Labels of {dataset.meta.name} to look at again",
        count=len(suspects),
        shown=len(shown),
        of=len(dataset.records),
        pairs=parts,
    )
