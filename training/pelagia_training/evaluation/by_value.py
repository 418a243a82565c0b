"""Metrics for each value of something, such as a station, a camera or any column of the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pelagia.dataset.schema import Record
from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.pages.page import Cell, Table, count_cell
from pelagia.system.tables import Cell as CsvCell
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.figures.bootstrap import Interval, intervals_of
from pelagia_training.figures.metrics import Matrix, confusion_matrix, metrics_of

EMPTY = "(empty)"
"""The value of an image whose cell is empty."""
MOST_INTERVALS = 300
"""Only so many values, those with the most images, get intervals: each image may have a value of its own."""
_DRAWS = 500
"""Draws for the intervals of one value."""
CSV_HEADER = (
    *("value", "images", "groups", "classes", "wrong", "accuracy", "accuracy_low", "accuracy_high"),
    *("macro_f1", "macro_f1_low", "macro_f1_high"),
)


@dataclass(frozen=True)
class ValueMetrics:
    """The metrics of the images with one value.

    Attributes:
        classes: the number of classes that have images.
        wrong: the number of images whose most probable class is not their label.
        intervals: ``accuracy`` and ``macro_f1`` -> their 95% intervals over groups; None if there is one group, or if
            `MOST_INTERVALS` values have more images.
    """

    value: str
    images: int
    groups: int
    classes: int
    wrong: int
    accuracy: float
    macro_f1: float
    intervals: dict[str, Interval | None]

    def csv_row(self) -> tuple[CsvCell, ...]:
        """The cells of a row under `CSV_HEADER`."""
        cells: list[CsvCell] = [self.value, self.images, self.groups, self.classes, self.wrong]
        for name in ("accuracy", "macro_f1"):
            interval = self.intervals[name]
            ends = ("", "") if interval is None else (f"{interval.low:.4f}", f"{interval.high:.4f}")
            cells += [f"{getattr(self, name):.4f}", *ends]
        return tuple(cells)


@dataclass(frozen=True)
class ByColumn:
    """The metrics for each value of a column of the manifest, the value with the most images first."""

    column: str
    values: list[ValueMetrics]


def require_column(records: Iterable[Record], column: str) -> None:
    """Raises InputError if no image has this column of the manifest."""
    known = sorted({name for record in records for name in record.row()})
    if column not in known:
        raise InputError(
            f"the dataset has no column '{column}'{did_you_mean(column, known)}: choose one of {first_few(known, 30)}"
        )


def values_of(records: Iterable[Record], column: str) -> list[str]:
    """The value of each image in a column of the manifest; `EMPTY` for an empty cell."""
    return [str(record.row().get(column, "")) or EMPTY for record in records]


def by_column(evaluation: Evaluation, column: str) -> ByColumn:
    """The metrics for each value of a column of the manifest, the value with the most images first."""
    return ByColumn(column, metrics_by(evaluation, values_of(evaluation.records, column)))


def metrics_by(evaluation: Evaluation, values: Sequence[str], most: int | None = None) -> list[ValueMetrics]:
    """The metrics for each value, the value with the most images first.

    Args:
        values: one value per image of the evaluation.
        most: only the values with the most images; None: all of them.
    """
    names, value_of, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    images_of = np.split(np.argsort(value_of, kind="stable"), np.cumsum(counts)[:-1])
    predicted = evaluation.predicted
    return [
        _metrics_of_value(evaluation, predicted, str(names[index]), images_of[index], resampled=rank < MOST_INTERVALS)
        for rank, index in enumerate(np.argsort(-counts, kind="stable")[:most])
    ]


def _metrics_of_value(
    evaluation: Evaluation, predicted: Matrix, value: str, images: Matrix, *, resampled: bool
) -> ValueMetrics:
    """The metrics of the ``images`` with one value, with intervals if ``resampled``.

    They are computed from those classes alone that are a label or a prediction of these images; the others change
    neither accuracy nor macro-F1.
    """
    classes, cells = np.unique(np.stack((evaluation.targets[images], predicted[images])), return_inverse=True)
    targets, predictions = cells.reshape(2, -1)
    metrics = metrics_of(confusion_matrix(targets, predictions, len(classes)))
    groups = [evaluation.records[image].group for image in images]
    intervals: dict[str, Interval | None] = dict.fromkeys(("accuracy", "macro_f1"))
    if resampled:
        probabilities = evaluation.probabilities[np.ix_(images, classes)]
        found = intervals_of(probabilities, targets, groups, draws=_DRAWS).headline
        intervals = {name: found[name] for name in intervals}
    return ValueMetrics(
        value=value,
        images=len(images),
        groups=len(set(groups)),
        classes=int((metrics.support > 0).sum()),
        wrong=int((targets != predictions).sum()),
        accuracy=metrics.accuracy,
        macro_f1=metrics.macro_f1,
        intervals=intervals,
    )


def table_by(found: Iterable[ValueMetrics], heading: str, *, groups: bool = True) -> Table:
    """The metrics as a sortable table, one row per value; ``groups``: with a column for the number of groups."""
    rows = []
    for one in found:
        scores = [
            Cell(f"{value:.3f}", value, "" if interval is None else f"{interval.low:.2f}\u2013{interval.high:.2f}")
            for value, interval in (
                (one.accuracy, one.intervals["accuracy"]),
                (one.macro_f1, one.intervals["macro_f1"]),
            )
        ]
        counts = (one.images, *([one.groups] if groups else []), one.classes, one.wrong)
        rows.append([Cell(one.value), *map(count_cell, counts), *scores])
    counted = ("Images", *(["Groups"] if groups else []), "Classes", "Wrong")
    return Table((heading, *counted, "Accuracy", "Macro-F1"), rows)
