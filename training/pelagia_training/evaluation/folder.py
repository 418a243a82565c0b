"""The folder that `pelagia evaluate --out` makes: an evaluation as an HTML page, as CSV tables and as JSON.

report.html      the report for people, with all results
metrics.json     every metric with its confidence interval
per_class.csv    the metrics of each class, one row per class
confusion.csv    the counts of the confusion matrix; rows are labels, columns are predictions
confusion.png    a picture of the confusion matrix
by_COLUMN.csv    with `--report-by COLUMN`: the metrics for each value of a column of the manifest
stress.csv       with `--stress`: the metrics of the same images when they are worse
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pelagia.dataset.schema import Dataset
from pelagia.system.files import new_folder, slug
from pelagia.system.tables import Cell, write_table
from pelagia_training.evaluation.by_value import CSV_HEADER, ByColumn
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.evaluation.report import REPORT_FILE, Curves, write_report
from pelagia_training.evaluation.stress import Stressed
from pelagia_training.evaluation.stress_page import CSV_HEADER as STRESS_HEADER
from pelagia_training.evaluation.stress_page import csv_row
from pelagia_training.figures.bootstrap import DRAWS, LEVEL, Interval

STRESS_FILE = "stress.csv"


def write_evaluation(
    evaluation: Evaluation,
    dataset: Dataset,
    out: Path,
    curves: Curves | None = None,
    by: ByColumn | None = None,
    stressed: Sequence[Stressed] = (),
) -> None:
    """Writes the new folder ``out``.

    Args:
        evaluation: the evaluation to write.
        dataset: the evaluated dataset; the page shows some of its images.
        out: the folder to make.
        curves: learning curves of the run that made the model; None if they are not known.
        by: the metrics for each value of a column of the manifest; they get a table of their own.
        stressed: the metrics of disturbed images; they get a table of their own.

    Raises:
        InputError: ``out`` exists.
    """
    with new_folder(out, "evaluation") as folder:
        (folder / "metrics.json").write_text(json.dumps(as_json(evaluation), indent=2) + "\n", encoding="utf-8")
        write_table(folder / "per_class.csv", _PER_CLASS_HEADER, _per_class_rows(evaluation))
        rows = [(name, *counts.tolist()) for name, counts in zip(evaluation.classes, evaluation.confusion, strict=True)]
        write_table(folder / "confusion.csv", ("labelled \\ predicted", *evaluation.classes), rows)
        _draw(evaluation, folder / "confusion.png")
        if by:
            write_table(folder / csv_by(by.column), CSV_HEADER, (one.csv_row() for one in by.values))
        if stressed:
            write_table(folder / STRESS_FILE, STRESS_HEADER, map(csv_row, stressed))
        write_report(folder / REPORT_FILE, evaluation, dataset, curves, by, stressed)


def csv_by(column: str) -> str:
    """The name of the file with the metrics for each value of a column."""
    return f"by_{slug(column)}.csv"


def per_class(evaluation: Evaluation) -> list[tuple[str, str, str, str, int]]:
    """One row per class: its name, precision, recall and F1 with four decimals, and support (number of images)."""
    metrics = evaluation.metrics
    columns = ([f"{value:.4f}" for value in values] for values in (metrics.precision, metrics.recall, metrics.f1))
    return list(zip(evaluation.classes, *columns, metrics.support.tolist(), strict=True))


_METRICS = ("precision", "recall", "f1")
_PER_CLASS_HEADER = ("class", *_METRICS, "support", *(f"{name}_{end}" for name in _METRICS for end in ("low", "high")))


def _per_class_rows(evaluation: Evaluation) -> list[tuple[Cell, ...]]:
    """The rows of `per_class` with the ends of the intervals; the cells are empty if there is no interval."""
    return [
        (*row, *(cell for name in _METRICS for cell in _ends(evaluation.intervals.per_class[name][index])))
        for index, row in enumerate(per_class(evaluation))
    ]


def _ends(interval: Interval | None) -> tuple[str, str]:
    return ("", "") if interval is None else (f"{interval.low:.4f}", f"{interval.high:.4f}")


def as_json(evaluation: Evaluation) -> dict[str, object]:
    """The evaluation as values that JSON can hold. An interval is [low, high], or null if there is no interval."""
    metrics, intervals = evaluation.metrics, evaluation.intervals
    table = {
        name: {
            **{metric: float(getattr(metrics, metric)[index]) for metric in _METRICS},
            "support": int(metrics.support[index]),
            "intervals": {metric: _pair(intervals.per_class[metric][index]) for metric in _METRICS},
        }
        for index, name in enumerate(evaluation.classes)
    }
    plain = ("model", "model_sha256", "dataset", "fingerprint", "split", "images", "groups", "failed", "unknown")
    reliability = evaluation.reliability
    return {
        **{name: getattr(evaluation, name) for name in plain},
        **evaluation.headline,
        "assessment": evaluation.assessment.as_json() if evaluation.assessment else None,
        "label_agreement": evaluation.label_agreement.model_dump(mode="json") if evaluation.label_agreement else None,
        "intervals": {name: _pair(interval) for name, interval in intervals.headline.items()},
        "interval_method": {"level": LEVEL, "draws": DRAWS, "resampled": "groups"},
        "reliability": {
            "images": reliability.images.tolist(),
            "confidence": reliability.confidence.tolist(),
            "accuracy": reliability.accuracy.tolist(),
        },
        "per_class": table,
        "confusion": {"classes": evaluation.classes, "counts": evaluation.confusion.tolist()},
    }


def _pair(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def _draw(evaluation: Evaluation, path: Path) -> None:
    """Draws the confusion matrix: the color is the share of the labeled class, the text is the count."""
    from matplotlib.figure import Figure

    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 0.5 * len(counts) + 2.5)
    figure = Figure(figsize=(side, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [name.replace("_", " ").replace("$", r"\$") for name in evaluation.classes]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted as")
    axes.set_ylabel("labeled as")
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
