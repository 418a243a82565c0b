"""A dataset beside its parent: images keep the group and the split that the parent gave them.

Invariant: an image of the parent never changes its split, so a model that learned from the parent is never tested on
what it learned from. A new image gets the split of its group, or of the image that looks the same; only groups that the
parent does not know are assigned, by the rule of `pelagia.dataset.splits`.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from pelagia.dataset.assignment import Assignment, Labeled, class_warning
from pelagia.dataset.differences import compare
from pelagia.dataset.near_duplicates import NearDuplicates, find_near_duplicates, join_groups
from pelagia.dataset.schema import NEAR_DUPLICATES_FILE, Dataset, ParentMeta, Record, SplitMeta
from pelagia.dataset.splits import SPLITS, assign_splits
from pelagia.errors import InputError, first_few
from pelagia.system.files import printable


def parent_meta(parent: Dataset, root: Path, records: Iterable[Record]) -> ParentMeta:
    """What `dataset.yaml` says of a parent.

    Args:
        parent: the parent.
        root: the folder of the new dataset.
        records: the rows of the new dataset.
    """
    found = compare(parent.records, records)
    return ParentMeta(
        path=printable(_relative(parent.root, root)),
        name=parent.meta.name,
        fingerprint=parent.meta.fingerprint,
        images=parent.meta.images,
        added=len(found.added),
        removed=len(found.removed),
        relabeled=len(found.relabeled),
        moved=len(found.moved),
    )


def _relative(path: Path, start: Path) -> str:
    try:
        return PurePath(os.path.relpath(path.absolute(), start.absolute())).as_posix()
    except ValueError:  # another drive of Windows
        return path.absolute().as_posix()


def assign_beside(images: Sequence[Labeled], sha256: Sequence[str], parent: Dataset, split: SplitMeta) -> Assignment:
    """The groups and splits of the images of a new version of ``parent``.

    Args:
        images: the images; their ``group`` is the value of the group column, before any groups were joined.
        sha256: the SHA-256 of each image.
        parent: the version before.
        split: how the parent was split, and whether near-duplicates are looked for.
    """
    known = {record.sha256: record for record in parent.records}
    old = [known.get(digest) for digest in sha256]
    names = _group_names(parent)
    groups = [
        record.group if record else names.get(image.group, image.group)
        for image, record in zip(images, old, strict=True)
    ]
    fixed, cut = _splits_of_groups(parent)
    is_new = [record is None for record in old]
    pairs = _pairs_of_new(images, groups, is_new) if split.join_near_duplicates else []
    groups = join_groups(groups, pairs, fixed=fixed).groups
    assigned = assign_splits([image.class_name for image in images], groups, split.fractions, split.seed, fixed)
    splits = [record.split if record else name for record, name in zip(old, assigned, strict=True)]
    moved = _follow_twins(groups, splits, pairs, is_new)
    apart = [pair for pair in pairs if splits[pair.first] != splits[pair.second]]
    said = [
        *class_warning(images, pairs),
        *_twins_warning([images[index] for index in moved]),
        *_apart_warning(images, apart),
        *_cut_warning({group for group, new in zip(groups, is_new, strict=True) if new and group in cut}),
    ]
    found = split.model_copy(update={"near_duplicates": split.near_duplicates + len(pairs)})
    return Assignment(groups, splits, found, pairs, tuple(said))


def group_column_beside(
    parent: Dataset | None, named: str | None, choose: Callable[[str | None], str | None]
) -> str | None:
    """The group column of a pull: that of the parent, if there is one.

    Args:
        parent: the parent of the new dataset.
        named: the column that a person named.
        choose: checks a named column, or finds one for None.

    Raises:
        InputError: the person named another column than that of the parent.
    """
    if parent is None:
        return choose(named)
    column = parent.meta.split.group_column
    if named not in (None, column):
        raise InputError(
            f"the groups of the parent {parent.root} are those of {column or 'each image'}, not of {named}: leave "
            "--group-column out, or make a new split with --no-parent"
        )
    return None if column is None else choose(column)


def keep_all(images: Sequence[Labeled], split: SplitMeta) -> Assignment:
    """The groups and splits that the images have, as in a merged dataset; near-duplicates in two splits are said."""
    groups, splits = [image.group for image in images], [image.split for image in images]
    pairs = find_near_duplicates([image.signature for image in images], splits) if split.join_near_duplicates else []
    return Assignment(groups, splits, split, pairs, (*class_warning(images, pairs), *_apart_warning(images, pairs)))


def _group_names(parent: Dataset) -> dict[str, str]:
    """Value of the group column -> the parent's group, which has another name if groups were joined."""
    column = parent.meta.split.group_column
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in parent.records:
        found[record.group][record.group] += 1
        stated = record.extra.get(column, record.extra.get(f"survey_{column}", "")).strip() if column else ""
        if stated:
            found[stated][record.group] += 1
    return {stated: groups.most_common(1)[0][0] for stated, groups in found.items()}


def _splits_of_groups(parent: Dataset) -> tuple[dict[str, str], set[str]]:
    """The split of each group of the parent (the one with most of its images), and the groups with two splits."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for record in parent.records:
        found[record.group][record.split] += 1
    splits = {group: counts.most_common(1)[0][0] for group, counts in found.items()}
    return splits, {group for group, counts in found.items() if len(counts) > 1}


def _pairs_of_new(images: Sequence[Labeled], groups: Sequence[str], is_new: Sequence[bool]) -> list[NearDuplicates]:
    pairs = find_near_duplicates([image.signature for image in images], groups)
    return [pair for pair in pairs if is_new[pair.first] or is_new[pair.second]]


def _follow_twins(
    groups: list[str], splits: list[str], pairs: Sequence[NearDuplicates], is_new: Sequence[bool]
) -> list[int]:
    """Puts each new image that looks like one of the parent's into the group and split of that image, in place.

    The images of test come first, then those of val: what looks like a held-out image is held out.

    Returns:
        The indices of the images that got another split.
    """
    twins: dict[int, list[int]] = defaultdict(list)
    for pair in pairs:
        twins[pair.first].append(pair.second)
        twins[pair.second].append(pair.first)
    waiting = deque(sorted((at for at in twins if not is_new[at]), key=lambda at: -SPLITS.index(splits[at])))
    settled = set(waiting)
    moved = []
    while waiting:
        at = waiting.popleft()
        for twin in twins[at]:
            if twin in settled:
                continue
            settled.add(twin)
            waiting.append(twin)
            if splits[twin] != splits[at]:
                groups[twin], splits[twin] = groups[at], splits[at]
                moved.append(twin)
    return moved


def _twins_warning(moved: Sequence[Labeled]) -> list[str]:
    if not moved:
        return []
    return [
        f"{len(moved)} new images look the same as an image in another split than that of their own group: they are in "
        f"the group and the split of that image: {first_few([image.source for image in moved], 3)} "
        f"({NEAR_DUPLICATES_FILE}); if they are no copies, use --no-near-duplicates"
    ]


def _apart_warning(images: Sequence[Labeled], apart: Sequence[NearDuplicates]) -> list[str]:
    if not apart:
        return []
    example = f"{images[apart[0].first].source} and {images[apart[0].second].source}"
    return [f"{len(apart)} pairs that look the same are in two splits, such as {example}: see {NEAR_DUPLICATES_FILE}"]


def _cut_warning(cut: set[str]) -> list[str]:
    if not cut:
        return []
    return [
        f"{len(cut)} groups of new images are in two splits of the parent ({first_few(sorted(cut))}): the new images "
        "are in the split with most images of their group"
    ]


def counts_of_parent(meta: ParentMeta) -> Mapping[str, int]:
    """What changed since the parent, in words -> number of images; only what is not 0."""
    named = {
        "added": meta.added,
        "removed": meta.removed,
        "with another class": meta.relabeled,
        "in another split": meta.moved,
    }
    return {text: count for text, count in named.items() if count}
