"""`pelagia dataset diff`: what differs between two datasets, as text, as a table of images and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pelagia.dataset.differences import Difference, compare
from pelagia.dataset.schema import Dataset
from pelagia.dataset.splits import SPLITS
from pelagia.system.tables import write_table

COLUMNS = ("change", "path", "sha256", "class_before", "class_after", "split_before", "split_after")


def class_rows(before: Dataset, after: Dataset) -> list[tuple[str, int, int, int]]:
    """(class, images before, images after, change) for every class of both datasets, in the order of the second one."""
    old, new = (Counter(record.class_name for record in dataset.records) for dataset in (before, after))
    names = dict.fromkeys((*after.class_names, *before.class_names))
    return [(name, old[name], new[name], new[name] - old[name]) for name in names]


def relabeled_rows(found: Difference) -> list[tuple[str, str, int]]:
    """(class before, class after, images), the most frequent change first."""
    counts = Counter((one.class_name, two.class_name) for one, two in found.relabeled)
    return [(*names, count) for names, count in counts.most_common()]


def moved_rows(found: Difference) -> list[tuple[str, str, int]]:
    """(split before, split after, images), the most frequent change first."""
    counts = Counter((one.split, two.split) for one, two in found.moved)
    return [(*names, count) for names, count in counts.most_common()]


def held_out_moved(found: Difference) -> int:
    """Number of images that were held out (val or test) before and are in train now."""
    return sum(one.split != SPLITS[0] and two.split == SPLITS[0] for one, two in found.moved)


def image_rows(found: Difference) -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` for each image that differs. An image may be relabeled and moved: it has one row."""
    for record in found.added:
        yield ("added", record.path, record.sha256, "", record.class_name, "", record.split)
    for record in found.removed:
        yield ("removed", record.path, record.sha256, record.class_name, "", record.split, "")
    moved = {one.sha256 for one, _ in found.moved}
    relabeled = {one.sha256 for one, _ in found.relabeled}
    for one, two in (*found.relabeled, *(pair for pair in found.moved if pair[0].sha256 not in relabeled)):
        kinds = [name for name, among in (("relabeled", relabeled), ("moved", moved)) if one.sha256 in among]
        change = " and ".join(kinds)
        yield (change, two.path, two.sha256, one.class_name, two.class_name, one.split, two.split)


def write_images(found: Difference, out: Path) -> None:
    """Writes the table of the images that differ."""
    write_table(out, COLUMNS, image_rows(found), guard_formulas=False)


def as_json(before: Dataset, after: Dataset) -> dict[str, Any]:
    """Everything that differs, for a program."""
    found = compare(before.records, after.records)
    return {
        "before": {"name": before.meta.name, "fingerprint": before.meta.fingerprint, "images": before.meta.images},
        "after": {"name": after.meta.name, "fingerprint": after.meta.fingerprint, "images": after.meta.images},
        "counts": {
            "added": len(found.added),
            "removed": len(found.removed),
            "relabeled": len(found.relabeled),
            "moved": len(found.moved),
            "unchanged": found.unchanged,
        },
        "classes": {name: {"before": old, "after": new} for name, old, new, _ in class_rows(before, after)},
        "images": [dict(zip(COLUMNS, row, strict=True)) for row in image_rows(found)],
    }
