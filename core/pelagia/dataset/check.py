"""Finds faults of a DATASET, and problems that affect training on it: leaks between splits, missing classes.

`check` compares a dataset with itself. `leaks` finds near-duplicates in two splits. `split_warnings` names classes that
a split lacks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pelagia.dataset.near_duplicates import FITTED, SIGNATURE_BYTES, find_near_duplicates, signature_of
from pelagia.dataset.schema import MANIFEST_FILE, META_FILE, Dataset, Record, class_counts
from pelagia.dataset.splits import SPLITS, classes_missing_from_splits
from pelagia.errors import PelagiaError, first_few
from pelagia.images.preprocess import ImageError, load
from pelagia.system.cores import thread_pool
from pelagia.system.files import sha256_of_file


def check(root: Path) -> list[str]:
    """The faults of the dataset in ``root``, one sentence each; empty if it has no faults. Reads every image."""
    try:
        dataset = Dataset.read(root)
    except PelagiaError as error:
        return [str(error)]
    faults = []
    if dataset.meta.counts != class_counts(dataset.records, dataset.class_names):
        faults.append(f"the counts in {META_FILE} are not those of {MANIFEST_FILE}")
    splits_of: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        splits_of[record.group].add(record.split)
        if record.class_name not in dataset.class_names:
            faults.append(f"{record.path}: the class '{record.class_name}' is not in the taxonomy")
        try:
            if sha256_of_file(dataset.file(record)) != record.sha256:
                faults.append(f"{record.path}: the image's bytes have changed")
        except FileNotFoundError:
            faults.append(f"{record.path}: the image is missing")
        except OSError as error:
            faults.append(f"{record.path}: the image cannot be read ({error.strerror})")
    cut = sorted(group for group, splits in splits_of.items() if len(splits) > 1)
    if cut:
        faults.append(f"groups that are in more than one split: {first_few(cut)}")
    return faults


def leaks(dataset: Dataset) -> list[tuple[Record, Record]]:
    """Pairs of near-duplicates in two different splits. Reads every image; skips those that cannot be read."""

    def signature(record: Record) -> bytes:
        try:
            return signature_of(load(dataset.file(record).read_bytes(), FITTED))
        except (OSError, ImageError):
            return bytes(SIGNATURE_BYTES)

    with thread_pool() as pool:
        signatures = list(pool.map(signature, dataset.records))
    pairs = find_near_duplicates(signatures, [record.split for record in dataset.records])
    return [(dataset.records[pair.first], dataset.records[pair.second]) for pair in pairs]


def split_warnings(records: Sequence[Record]) -> list[str]:
    """Splits without images and classes that a split lacks, one sentence each. Their metrics are less reliable."""
    columns = [[getattr(record, name) for record in records] for name in ("class_name", "group", "split")]
    empty = [split for split in SPLITS if split not in columns[2]]
    if empty:
        groups = len(set(columns[1]))
        have, verb = "has" if len(empty) == 1 else "have", "is" if groups == 1 else "are"
        return [
            f"{' and '.join(empty)} {have} no images: there {verb} only {groups} group{'s' * (groups != 1)}; "
            "give a column with more values with --group-column"
        ]
    return [
        f"class '{name}' has {groups} group{'s' * (groups != 1)}: it has no image in {' and '.join(lacking)}"
        for name, (groups, lacking) in classes_missing_from_splits(*columns).items()
    ]
