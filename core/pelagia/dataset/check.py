"""Finds faults of a DATASET, and problems that affect training on it: leaks between splits, missing classes.

`check` compares a dataset with itself. `leaks` finds near-duplicates in two splits. `split_warnings` names classes that
a split lacks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pelagia.dataset.near_duplicates import FITTED, SIGNATURE_BYTES, find_near_duplicates, signature_of
from pelagia.dataset.schema import MANIFEST_FILE, META_FILE, Dataset, Record, SplitMeta, class_counts
from pelagia.dataset.splits import SPLITS, classes_missing_from_splits
from pelagia.errors import PelagiaError, first_few
from pelagia.images.preprocess import ImageError, load
from pelagia.system.cores import thread_pool
from pelagia.system.files import sha256_of_file

_MOST_CLASSES = 10
_FEW_GROUPS = 2


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
    if cut and dataset.meta.split.method != "published":  # there, `dataset.meta.warnings` has them
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


def split_warnings(records: Sequence[Record], split: SplitMeta | None = None) -> list[str]:
    """Splits without images and classes that a split lacks, one sentence each. Their metrics are less reliable.

    Args:
        records: the rows of the dataset.
        split: how it was split; by default as `SplitMeta` says.
    """
    split = split or SplitMeta()
    columns = [[getattr(record, name) for record in records] for name in ("class_name", "group", "split")]
    wanted = (
        SPLITS
        if split.method == "published"
        else [name for name, share in zip(SPLITS, split.fractions, strict=True) if share]
    )
    empty = [name for name in wanted if name not in columns[2]]
    if empty:
        return [_empty_warning(empty, len(set(columns[1])), split)]
    missing = classes_missing_from_splits(*columns)
    found = [
        f"class '{name}' has {groups} group{'s' * (groups != 1)}: it has no image in {' and '.join(lacking)}"
        for name, (groups, lacking) in missing.items()
    ]
    if len(found) > _MOST_CLASSES:
        found = [*found[:_MOST_CLASSES], f"{len(found) - _MOST_CLASSES} more classes have no image in a split"]
    return found + _few_groups_warning(columns[1], columns[2], len(missing), split)


def _empty_warning(empty: Sequence[str], groups: int, split: SplitMeta) -> str:
    names, have = " and ".join(empty), "has" if len(empty) == 1 else "have"
    if split.method == "published":
        remedy = "; import again with --val-from-train 0.15" if "val" in empty else ""
        return f"{names} {have} no images in the published split: training needs val, and evaluation needs test{remedy}"
    there = "is only 1 group" if groups == 1 else f"are only {groups} groups"
    return f"{names} {have} no images: there {there}; give a column with more values with --group-column"


def _few_groups_warning(groups: Sequence[str], splits: Sequence[str], missing: int, split: SplitMeta) -> list[str]:
    """A warning if the test split holds so few groups that its metrics depend on which groups they are."""
    tested = {group for group, name in zip(groups, splits, strict=True) if name == "test"}
    if split.group_column is None or not 0 < len(tested) <= _FEW_GROUPS:
        return []
    classes = f", and {missing} classes are missing from a split" if missing else ""
    return [
        f"test holds only {len(tested)} of the {len(set(groups))} values of {split.group_column} "
        f"({first_few(sorted(tested))}){classes}: its metrics depend on which ones they are; test on all of them with "
        f"`pelagia train CONFIG --folds {min(5, len(set(groups)))}`"
    ]
