"""Train, validation and test by group: images of one sample, station or track never stand on two sides.

Split at random, plankton classifiers look 15 points better than they are on a day that they have not seen (ZooLake,
arXiv 2401.14256). The method is the greedy one of stratified group k-fold: groups in an order that puts the most
uneven first, each to the split that it brings closest to the wished class shares; then again, with every other group in
its place, until nothing moves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)
_ABSENT = 0.5
_PASSES = 10
_MANY_GROUPS = 5000  # beyond, one pass is balanced enough and the rest would take minutes


def assign_splits(
    classes: Sequence[str], groups: Sequence[str], fractions: Sequence[float] = DEFAULT_FRACTIONS, seed: int = 0
) -> list[str]:
    """A split name per image; one group has one split. The same arguments give the same answer.

    Args:
        classes: class name of each image.
        groups: group name of each image.
        fractions: shares of train, val and test; they sum to 1. A share of 0 leaves its split out.
        seed: breaks ties.
    """
    used = [(split, share) for split, share in zip(SPLITS, fractions, strict=True) if share > 0]
    return [used[part][0] for part in assign_parts(classes, groups, [share for _, share in used], seed)]


def assign_parts(classes: Sequence[str], groups: Sequence[str], shares: Sequence[float], seed: int = 0) -> list[int]:
    """As `assign_splits`, into parts of any number: the index in ``shares``, which are above 0 and sum to 1."""
    class_index = {name: index for index, name in enumerate(sorted(set(classes)))}
    counts: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(len(class_index)))
    for name, group in zip(classes, groups, strict=True):
        counts[group][class_index[name]] += 1
    total = np.sum(list(counts.values()), axis=0)
    held = {group: count / total for group, count in counts.items()}
    names = sorted(counts)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda group: -float(np.std(held[group])))

    wished = np.asarray(shares)
    filled = np.zeros((len(wished), len(class_index)))
    chosen: dict[str, int] = {}
    for _ in range(_PASSES if len(names) <= _MANY_GROUPS else 1):
        before = dict(chosen)
        for group in names:
            if group in chosen:
                filled[chosen[group]] -= held[group]
            costs = [_imbalance(filled, part, held[group], wished) for part in range(len(wished))]
            chosen[group] = int(np.argmin(costs))
            filled[chosen[group]] += held[group]
        if chosen == before:
            break
    return [chosen[group] for group in groups]


def _imbalance(
    filled: NDArray[np.float64], split: int, added: NDArray[np.float64], wished: NDArray[np.float64]
) -> float:
    """How far the shares are from the wished ones, were ``added`` put into ``split``: each class counts alike.

    A class that a split lacks altogether costs `_ABSENT`, so that three groups of a rare class go one to each split.
    """
    after = filled.copy()
    after[split] += added
    return float(np.mean(np.sum((after - wished[:, None]) ** 2 / wished[:, None] + _ABSENT * (after < 1e-9), axis=0)))


def classes_missing_from_splits(
    classes: Sequence[str], groups: Sequence[str], splits: Sequence[str]
) -> dict[str, tuple[int, list[str]]]:
    """Classes that some split lacks: name -> (how many groups it has, the splits without it)."""
    groups_of: dict[str, set[str]] = defaultdict(set)
    present: Counter[tuple[str, str]] = Counter()
    for name, group, split in zip(classes, groups, splits, strict=True):
        groups_of[name].add(group)
        present[name, split] += 1
    wished = sorted(set(splits), key=SPLITS.index)
    thin = {name: [split for split in wished if not present[name, split]] for name in groups_of}
    return {name: (len(groups_of[name]), lacking) for name, lacking in sorted(thin.items()) if lacking}
