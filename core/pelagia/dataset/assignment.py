"""Decides the group and the split of each image of a new dataset.

Groups that share near-duplicates (`pelagia.dataset.near_duplicates`) are joined before the split, so that both images
of a pair are in the same split. A published split is kept as it is: nothing is joined or moved, and what it separates
is said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pelagia.dataset.near_duplicates import Joined, NearDuplicates, find_near_duplicates, join_groups
from pelagia.dataset.schema import NEAR_DUPLICATES_FILE, SplitMeta
from pelagia.dataset.splits import SPLITS, assign_splits
from pelagia.errors import DatasetError, first_few


@dataclass(frozen=True, slots=True)
class Labeled:
    """What a split depends on: an image's class, group, split (empty: not decided), origin, signature."""

    class_name: str
    group: str
    split: str
    source: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Assignment:
    """The result of `assign`.

    Attributes:
        groups, splits: the group and the split of each image.
        split: how the images were split.
        pairs: near-duplicates in two groups, or in two splits if the split is published.
        warnings: what looks wrong, one sentence each.
    """

    groups: list[str]
    splits: list[str]
    split: SplitMeta
    pairs: Sequence[NearDuplicates] = ()
    warnings: tuple[str, ...] = ()


def assign(images: Sequence[Labeled], split: SplitMeta) -> Assignment:
    """The groups and splits of images, as `SplitMeta` says; images that all have a split keep it.

    Raises:
        DatasetError: joining the groups of near-duplicates would leave too few groups to split.
    """
    if all(image.split for image in images):
        return _kept(images, split)
    groups = [image.group for image in images]
    pairs = _pairs_across_groups(images, groups) if split.join_near_duplicates else []
    joined = join_groups(groups, pairs)
    splits = assign_splits([image.class_name for image in images], joined.groups, split.fractions, split.seed)
    largest = _largest_joined(groups, joined.groups)
    found = split.model_copy(update={"near_duplicates": len(pairs), "largest_joined": largest})
    return Assignment(joined.groups, splits, found, pairs, (*class_warning(images, pairs), *_apart_warning(joined)))


def _kept(images: Sequence[Labeled], split: SplitMeta) -> Assignment:
    groups, splits = [image.group for image in images], [image.split for image in images]
    if split.method != "published":  # a correction: only its labels are new
        return Assignment(groups, splits, split)
    if split.val_from_train and "val" not in splits:
        splits = _take_val(images, splits, split)
    pairs = find_near_duplicates([image.signature for image in images], splits) if split.join_near_duplicates else []
    warnings = [*_cut_warning(groups, splits), *class_warning(images, pairs)]
    if pairs:
        warnings.append(
            f"the published split has {len(pairs)} pairs of images that look the same in two splits, such as "
            f"{_example(images, pairs[0])} ({NEAR_DUPLICATES_FILE}): test metrics will be too optimistic; import "
            "without the published split to put each pair into one split"
        )
    return Assignment(groups, splits, split.model_copy(update={"near_duplicates": len(pairs)}), pairs, tuple(warnings))


def _take_val(images: Sequence[Labeled], splits: Sequence[str], split: SplitMeta) -> list[str]:
    """The splits after the share ``val_from_train`` of the groups of train, joined by near-duplicates, became val."""
    train = [index for index, name in enumerate(splits) if name == "train"]
    groups = [images[index].group for index in train]
    if split.join_near_duplicates:
        groups = join_groups(groups, find_near_duplicates([images[index].signature for index in train], groups)).groups
    shares = (1 - split.val_from_train, split.val_from_train, 0.0)
    chosen = assign_splits([images[index].class_name for index in train], groups, shares, split.seed)
    moved = list(splits)
    for index, name in zip(train, chosen, strict=True):
        moved[index] = name
    return moved


def _cut_warning(groups: Sequence[str], splits: Sequence[str]) -> list[str]:
    splits_of: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        splits_of[group].add(split)
    cut = sorted(group for group, found in splits_of.items() if len(found) > 1)
    if not cut:
        return []
    return [
        f"the published split has {len(cut)} groups with images in two splits: {first_few(cut)}; test metrics will be "
        "too optimistic; import without the published split to keep each group in one split"
    ]


def _pairs_across_groups(images: Sequence[Labeled], groups: Sequence[str]) -> list[NearDuplicates]:
    """Near-duplicates in different groups. Raises DatasetError if joining their groups leaves too few to split."""
    pairs = find_near_duplicates([image.signature for image in images], groups)
    before, after = len(set(groups)), len(set(join_groups(groups, pairs, largest=1.0).groups))
    if before >= len(SPLITS) > after:
        raise DatasetError(
            f"{len(pairs)} pairs of images look the same, such as {_example(images, pairs[0])}; joining their groups "
            f"would leave {after} of {before} groups, which cannot be split. Frames of a fixed camera and plain round "
            "objects can look the same without being copies: if these are not copies, import with --no-near-duplicates"
        )
    return pairs


def class_warning(images: Sequence[Labeled], pairs: Sequence[NearDuplicates]) -> list[str]:
    """A warning of near-duplicates of two classes: the images are no copies, or one of them has a wrong label."""
    mixed = [pair for pair in pairs if images[pair.first].class_name != images[pair.second].class_name]
    if not mixed:
        return []
    example = " and ".join(
        f"{images[index].source} ({images[index].class_name})" for index in (mixed[0].first, mixed[0].second)
    )
    return [
        f"{len(mixed)} of {len(pairs)} pairs that look the same have two classes, such as {example}: look at them in "
        f"{NEAR_DUPLICATES_FILE}; correct the labels, or import with --no-near-duplicates if the images are no copies"
    ]


def _apart_warning(joined: Joined) -> list[str]:
    if not joined.apart:
        return []
    return [
        f"{len(joined.apart)} pairs that look the same stay in two groups: a joined group would have more than "
        f"{joined.limit} images; look at them in {NEAR_DUPLICATES_FILE}, and import with --no-near-duplicates if they "
        "are no copies"
    ]


def _largest_joined(before: Sequence[str], after: Sequence[str]) -> int:
    sizes = Counter(after)
    parts: dict[str, set[str]] = defaultdict(set)
    for old, new in zip(before, after, strict=True):
        parts[new].add(old)
    return max((sizes[name] for name, names in parts.items() if len(names) > 1), default=0)


def _example(images: Sequence[Labeled], pair: NearDuplicates) -> str:
    return f"{images[pair.first].source} and {images[pair.second].source}"
