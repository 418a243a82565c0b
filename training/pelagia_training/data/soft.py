"""The labels that a run trains on: class indices, or the soft labels of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from pelagia.dataset.schema import Record
from pelagia.dataset.soft_labels import SOFT_LABEL, soft_label_matrix
from pelagia.errors import ConfigError
from pelagia_training.data.batches import targets_of


def training_labels(records: Sequence[Record], classes: Sequence[str], *, soft: bool) -> NDArray[Any]:
    """The labels of the training images.

    Args:
        records: the training images; all their classes are in ``classes``.
        classes: the classes of the run.
        soft: whether soft labels are used. The probability of classes that the run excludes is left out.

    Returns:
        int64, N, class indices; with ``soft``: float32, N x C, probabilities that sum to 1.
    """
    if not soft:
        return targets_of(records, classes)
    return soft_label_matrix([(one.extra.get(SOFT_LABEL, ""), one.class_name) for one in records], classes)


def report_soft_labels(records: Sequence[Record], soft: bool, report: Callable[[str], None]) -> None:
    """Says how many training images have a soft label. Raises ConfigError if ``soft`` and none of them has one."""
    count = sum(bool(record.extra.get(SOFT_LABEL)) for record in records)
    if soft and not count:
        fault = (
            "no training image of the dataset has a soft label: pull the labels with "
            "`pelagia label pull --consensus dawid-skene`, or leave the key out"
        )
        raise ConfigError("train.soft_labels", [fault])
    if soft:
        report(f"{count} of {len(records)} training images have a soft label")
    elif count:
        report(f"{count} training images have a soft label, which is not used: set train.soft_labels=true to use it")
