"""What `pelagia evaluate` prints after the table of the classes."""

from __future__ import annotations

from pelagia.system import console
from pelagia_training.evaluation.by_value import ByColumn
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.evaluation.people import people_line
from pelagia_training.figures.bootstrap import FEW_GROUPS

_MOST_VALUES = 30


def show_evaluation(result: Evaluation, by: ByColumn | None = None) -> None:
    """Prints the metrics with their intervals, and warnings about them.

    Args:
        by: the metrics for each value of a column of the manifest; they are printed too.
    """
    for name, count in result.unknown.items():
        console.note(f"left out: {count} images of '{name}', because it is not a class of the model")
    if result.failed:
        console.note(
            f"left out: {result.failed} images that cannot be read; `pelagia dataset check DATASET` lists them"
        )
    if by:
        _show_by(by)
    console.say(f"{result.images} images of {result.groups} groups in the split '{result.split}' of {result.dataset}")
    for name, value in result.headline.items():
        interval = result.intervals.headline[name]
        between = (
            f"  {interval.low:.4f} to {interval.high:.4f}"
            if interval
            else "  no interval, because there is only one group"
        )
        console.say(f"{name:18} {value:.4f}{between}")
    if text := people_line(result.label_agreement):
        console.say(text)
    for name, text in result.assessment.lines() if result.assessment else ():
        console.say(f"{name:18} {text}")
    if result.warning:
        console.note(f"warning: {result.warning}")
    if result.groups < FEW_GROUPS:
        console.note(
            f"warning: there are only {result.groups} groups, so the intervals are too narrow: do not rely on them"
        )


def _show_by(by: ByColumn) -> None:
    shown = by.values[:_MOST_VALUES]
    console.table(
        (by.column, "images", "groups", "wrong", "accuracy", "macro-F1"),
        [(one.value, one.images, one.groups, one.wrong, f"{one.accuracy:.4f}", f"{one.macro_f1:.4f}") for one in shown],
    )
    if len(by.values) > len(shown):
        console.note(f"{len(by.values) - len(shown)} more values of '{by.column}' are in the table that --out writes")
