"""What differs between two datasets: the only comparison of two versions. Images are the same if their SHA-256 is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pelagia.dataset.schema import Record

Pair = tuple[Record, Record]
"""The row of one image in the first dataset, and in the second one."""


@dataclass(frozen=True)
class Difference:
    """What a second dataset has that differs from a first one.

    Attributes:
        added: rows of the second dataset whose image is not in the first one.
        removed: rows of the first dataset whose image is not in the second one.
        relabeled: images of both whose class differs.
        moved: images of both whose split differs; an image may be relabeled and moved.
        unchanged: number of images of both with the same class and split.
    """

    added: tuple[Record, ...]
    removed: tuple[Record, ...]
    relabeled: tuple[Pair, ...]
    moved: tuple[Pair, ...]
    unchanged: int


def compare(before: Iterable[Record], after: Iterable[Record]) -> Difference:
    """The difference between the rows of two datasets, in the order of the second one."""
    old = {record.sha256: record for record in before}
    new = {record.sha256: record for record in after}
    pairs = [(old[sha256], record) for sha256, record in new.items() if sha256 in old]
    return Difference(
        added=tuple(record for sha256, record in new.items() if sha256 not in old),
        removed=tuple(record for sha256, record in old.items() if sha256 not in new),
        relabeled=tuple(pair for pair in pairs if pair[0].class_name != pair[1].class_name),
        moved=tuple(pair for pair in pairs if pair[0].split != pair[1].split),
        unchanged=sum((one.class_name, one.split) == (two.class_name, two.split) for one, two in pairs),
    )
