"""`pelagia dataset merge`: one dataset of two. Images keep their splits.

Invariant: nothing is decided in silence. An image with two classes, and an image or a group that is in two splits, is
refused unless an option says which dataset is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pelagia.dataset.label_columns import CELL_COLUMNS, CELLS_COUNTED, LABEL_COLUMNS
from pelagia.dataset.schema import Dataset, Record, SplitMeta
from pelagia.dataset.splits import SPLITS
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError, first_few
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.importers.corrections import counted_cells, label_of, relabeled
from pelagia_labeling.importers.own_dataset import candidate_of

CONFLICTS = ("refuse", "first", "second", "drop")
"""What to do with an image that has another class in each dataset."""

SPLIT_CONFLICTS = ("refuse", "first", "second", "held-out")
"""What to do with an image or a group that is in another split in each dataset."""

Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Merged:
    """A merged dataset.

    Attributes:
        dataset: the dataset.
        shared: number of images that both datasets have.
        conflicts: images with another class in each dataset.
        split_conflicts: what is in another split in each dataset: ``group S5`` or the path of an image.
    """

    dataset: Dataset
    shared: int
    conflicts: tuple[Pair, ...]
    split_conflicts: tuple[str, ...]


def merge(
    first: Dataset,
    second: Dataset,
    out: Path,
    *,
    conflicts: str = "refuse",
    splits: str = "refuse",
    progress: Callable[[int], None] = lambda count: None,
) -> Merged:
    """Makes the dataset ``out`` of the images of two datasets.

    Args:
        first, second: the datasets. Groups with the same name are the same group.
        out: the dataset folder to make.
        conflicts: one of `CONFLICTS`.
        splits: one of `SPLIT_CONFLICTS`; ``held-out`` takes test before val before train.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists, or an option is wrong.
        DatasetError: there are conflicts that no option decides, or no image is left.
    """
    _check_options(conflicts, splits)
    others = {record.sha256: record for record in second.records}
    pairs = [(record, others[record.sha256]) for record in first.records if record.sha256 in others]
    labels = [pair for pair in pairs if pair[0].class_name != pair[1].class_name]
    groups = _groups_in_two_splits(first, second)
    images = [pair for pair in pairs if pair[0].split != pair[1].split and pair[0].group not in groups]
    said = [*(f"group {group} ({one} and {two})" for group, (one, two) in groups.items()), *map(_split_text, images)]
    _refuse(first, second, labels if conflicts == "refuse" else [], said if splits == "refuse" else [])
    decided = {group: _decide(two_splits, splits) for group, two_splits in groups.items()}
    candidates = [
        replace(entry, split=decided.get(entry.group, entry.split))
        for entry in _candidates(first, second, pairs, conflicts, splits)
    ]
    dataset = write_dataset(
        out,
        candidates,
        source={
            "kind": "merge",
            "of": [first.meta.fingerprint, second.meta.fingerprint],
            "origins": [first.meta.source, second.meta.source],
        },
        taxonomy=_taxonomy(first.meta.taxonomy, second.meta.taxonomy),
        split=_split_meta(first, second),
        left_out={"conflict": len(labels)} if labels and conflicts == "drop" else {},
        warnings=_warnings(first, second),
        parents=[first, second],
        progress=progress,
    )
    return Merged(dataset, len(pairs), tuple(labels), tuple(said))


def _candidates(
    first: Dataset, second: Dataset, pairs: Sequence[Pair], conflicts: str, splits: str
) -> Iterable[Candidate]:
    """The images of the first dataset, then those that only the second one has."""
    of_second = {one.sha256: two for one, two in pairs}
    for record in first.records:
        entry, other = candidate_of(first, record), of_second.get(record.sha256)
        if other is None:
            yield entry
            continue
        added = {name: value for name, value in other.extra.items() if name not in (*LABEL_COLUMNS, *CELL_COLUMNS)}
        cells = {} if entry.extra.get(CELLS_COUNTED) else counted_cells(other)
        entry = replace(entry, extra=added | entry.extra | cells)
        if record.class_name != other.class_name:
            if conflicts == "drop":
                continue
            if conflicts == "second":
                entry = relabeled(entry, label_of(other))
        if record.split != other.split and _decide((record.split, other.split), splits) == other.split:
            entry = replace(entry, group=other.group, split=other.split)
        yield entry
    for record in second.records:
        if record.sha256 not in of_second:
            yield candidate_of(second, record)


def _groups_in_two_splits(first: Dataset, second: Dataset) -> dict[str, tuple[str, str]]:
    """Group -> its split in each dataset, for the groups whose split differs; without groups that a dataset cuts."""
    one, two = _splits_of_groups(first), _splits_of_groups(second)
    return {group: (one[group], two[group]) for group in one if group in two and one[group] != two[group]}


def _splits_of_groups(dataset: Dataset) -> dict[str, str]:
    found: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        found[record.group].add(record.split)
    return {group: next(iter(splits)) for group, splits in found.items() if len(splits) == 1}


def _decide(splits: tuple[str, str], rule: str) -> str:
    if rule == "held-out":
        return max(splits, key=SPLITS.index)
    return splits[1] if rule == "second" else splits[0]


def _split_text(pair: Pair) -> str:
    return f"{pair[0].path} ({pair[0].split} and {pair[1].split})"


def _check_options(conflicts: str, splits: str) -> None:
    for option, value, known in (("--conflicts", conflicts, CONFLICTS), ("--splits", splits, SPLIT_CONFLICTS)):
        if value not in known:
            raise InputError(f"{option} {value} must be one of {', '.join(known)}")


def _refuse(first: Dataset, second: Dataset, labels: Sequence[Pair], splits: Sequence[str]) -> None:
    """Raises DatasetError if there are conflicts that no option decides."""
    faults = []
    names = f"first ({first.meta.name}), second ({second.meta.name})"
    if labels:
        listed = first_few((f"{one.path} ({one.class_name} and {two.class_name})" for one, two in labels), 3)
        faults.append(
            f"{len(labels)} images have another class in each dataset: {listed}; decide with --conflicts {names} or "
            "drop"
        )
    if splits:
        faults.append(
            f"{len(splits)} groups or images are in another split in each dataset: {first_few(splits)}; decide with "
            f"--splits {names} or held-out (test, val, train)"
        )
    if faults:
        raise DatasetError("; and ".join(faults))


def _taxonomy(one: Taxonomy, two: Taxonomy) -> Taxonomy:
    """The classes and taxa of both, those of the first one first. A key that is taken is not given twice."""
    taxa = {taxon.name: taxon for taxon in (*two.taxa, *one.taxa)}
    keys = {entry.hotkey for entry in one.classes}
    classes: list[LabelClass] = list(one.classes)
    for entry in two.classes:
        if entry.name not in one.names:
            classes.append(entry.model_copy(update={"hotkey": None}) if entry.hotkey in keys else entry)
            keys.add(entry.hotkey)
    return Taxonomy(name=one.name, taxa=tuple(taxa.values()), classes=tuple(classes))


def _split_meta(first: Dataset, second: Dataset) -> SplitMeta:
    one, two = first.meta.split, second.meta.split
    published = one if one.method == "published" else two
    return published.model_copy(
        update={
            "group_column": one.group_column or two.group_column,
            "val_from_train": 0,
            "near_duplicates": one.near_duplicates + two.near_duplicates,
            "largest_joined": max(one.largest_joined, two.largest_joined),
        }
    )


def _warnings(first: Dataset, second: Dataset) -> list[str]:
    one, two = first.meta.split.group_column, second.meta.split.group_column
    if one == two:
        return []
    return [
        f"the groups of {first.meta.name} are those of {one or 'each image'}, and those of {second.meta.name} of "
        f"{two or 'each image'}: images of one sample may be in two splits"
    ]
