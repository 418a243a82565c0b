"""`pelagia evaluate`: figures of a model on a dataset's split, through the runner, so that they are the field's."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pelagia.dataset import Dataset, Record
from pelagia.errors import DatasetError, some
from pelagia.files import new_folder
from pelagia.model import ModelFile
from pelagia.sources import SourceImage
from pelagia_inference.pipeline import predict
from pelagia_training.data import targets_of
from pelagia_training.metrics import Matrix, Metrics, confusion_matrix, metrics_of


@dataclass(frozen=True)
class Evaluation:
    """What a model did on a split. ``confusion``: int64, classes x classes, rows labelled as, columns predicted as."""

    model: str
    model_sha256: str
    dataset: str
    fingerprint: str
    split: str
    images: int
    groups: int
    failed: int
    unknown: dict[str, int]
    classes: tuple[str, ...]
    confusion: Matrix
    metrics: Metrics


def evaluate(
    model: ModelFile,
    dataset: Dataset,
    split: str = "test",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Classifies a split and compares with its labels. Classes that the model does not know are left out and counted.

    Raises:
        DatasetError: no image of the split can be compared.
    """
    classes = model.metadata.classes
    unknown = Counter(record.class_name for record in dataset.split(split) if record.class_name not in classes)
    records = [record for record in dataset.split(split) if record.class_name in classes]
    targets = targets_of(records, classes)
    answers: list[int] = []
    for predictions in predict(_images(dataset, records), model):
        answers += [-1 if one.probabilities is None else int(one.probabilities.argmax()) for one in predictions]
        progress(len(answers), len(records))
    predicted = np.array(answers, np.int64)
    usable = predicted >= 0
    if not usable.any():
        raise DatasetError(
            f"nothing to compare in the split '{split}' of {dataset.root}: {int((~usable).sum())} images failed, "
            f"{unknown.total()} are of classes that the model does not know ({some(unknown) or 'none'})"
        )
    confusion = confusion_matrix(targets[usable], predicted[usable], len(classes))
    return Evaluation(
        model=model.path.name,
        model_sha256=model.sha256,
        dataset=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        split=split,
        images=int(usable.sum()),
        groups=len({record.group for record in records}),
        failed=int((~usable).sum()),
        unknown=dict(unknown),
        classes=classes,
        confusion=confusion,
        metrics=metrics_of(confusion),
    )


def _images(dataset: Dataset, records: Sequence[Record]) -> Iterator[SourceImage]:
    return (SourceImage(record.path, dataset.file(record), record.extra) for record in records)


def write_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Writes `metrics.json`, `per_class.csv`, `confusion.csv` and `confusion.png` into the new folder ``out``.

    Raises:
        InputError: ``out`` exists.
    """
    with new_folder(out, "evaluation") as folder:
        (folder / "metrics.json").write_text(json.dumps(as_json(evaluation), indent=2) + "\n", encoding="utf-8")
        _write_table(
            folder / "per_class.csv", [("class", "precision", "recall", "f1", "support"), *per_class(evaluation)]
        )
        rows = [(name, *counts.tolist()) for name, counts in zip(evaluation.classes, evaluation.confusion, strict=True)]
        _write_table(folder / "confusion.csv", [("labelled \\ predicted", *evaluation.classes), *rows])
        _draw(evaluation, folder / "confusion.png")


def per_class(evaluation: Evaluation) -> list[tuple[str, str, str, str, int]]:
    """Class, precision, recall, F1 with four decimals, support."""
    metrics = evaluation.metrics
    columns = ([f"{value:.4f}" for value in values] for values in (metrics.precision, metrics.recall, metrics.f1))
    return list(zip(evaluation.classes, *columns, metrics.support.tolist(), strict=True))


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as plain values."""
    metrics = evaluation.metrics
    table = {
        name: {
            "precision": float(metrics.precision[index]),
            "recall": float(metrics.recall[index]),
            "f1": float(metrics.f1[index]),
            "support": int(metrics.support[index]),
        }
        for index, name in enumerate(evaluation.classes)
    }
    plain = ("model", "model_sha256", "dataset", "fingerprint", "split", "images", "groups", "failed", "unknown")
    return {
        **{name: getattr(evaluation, name) for name in plain},
        **metrics.headline,
        "per_class": table,
        "confusion": {"classes": evaluation.classes, "counts": evaluation.confusion.tolist()},
    }


def _write_table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _draw(evaluation: Evaluation, path: Path) -> None:
    """The confusion matrix: colour by share of the labelled class, counts in the cells."""
    from matplotlib.figure import Figure

    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 0.5 * len(counts) + 2.5)
    figure = Figure(figsize=(side, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [name.replace("_", " ") for name in evaluation.classes]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted as")
    axes.set_ylabel("labelled as")
    axes.set_title(
        f"{evaluation.model} on {evaluation.dataset} ({evaluation.split}: {evaluation.images} images, "
        f"{evaluation.groups} groups)\n"
        f"macro-F1 {evaluation.metrics.macro_f1:.3f}, accuracy {evaluation.metrics.accuracy:.3f}",
        fontsize=10,
    )
    if len(counts) <= 40:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(
                    column,
                    row,
                    str(count),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if shares[row, column] > 0.5 else "black",
                )
    figure.savefig(path)
