"""Intervals of figures by resampling groups: what another choice of stations would have given.

Images of one station are not independent: drawing images anew would pretend that there are more of them than there
are, and the intervals would be too narrow. So whole groups are drawn, with replacement, as many as there are (the
cluster bootstrap; Efron & Tibshirani 1993, chapters 8 and 13); an interval holds the middle 95% of the draws.

Invariant: the same answers, labels and groups give the same intervals. Intervals say what the choice of test groups
does; another training run, or another instrument, is not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia_training.figures.metrics import BINS, Matrix, Real, figures_of, reliability_of

DRAWS = 2000
LEVEL = 0.95
FEW_GROUPS = 10
"""Below this many groups the draws are too alike, and the intervals too narrow."""

_HEADLINE = ("accuracy", "macro_f1", "balanced_accuracy")
_PER_CLASS = ("precision", "recall", "f1")
_CELLS = 1 << 22  # of the matrices that are in memory at once


@dataclass(frozen=True)
class Interval:
    """The middle 95% of a figure's draws."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of one evaluation. None where they say nothing: all images, or all of a class, are of one group.

    Attributes:
        headline: ``accuracy``, ``macro_f1``, ``balanced_accuracy``, ``ece``.
        per_class: ``precision``, ``recall``, ``f1``, one value a class. Draws without the class are passed over.
    """

    groups: int
    headline: dict[str, Interval | None]
    per_class: dict[str, tuple[Interval | None, ...]]


def intervals_of(
    probabilities: NDArray[np.floating],
    targets: NDArray[np.int64],
    groups: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Intervals:
    """Intervals of every figure by resampling groups.

    The bins of the calibration error stay those of all images. A draw's error is never below 0 and adds the draw's own
    scatter, so its interval lies a little high.

    Args:
        probabilities: N x classes, rows sum to 1.
        targets: int64, N, the labels' class indices.
        groups: the group of each image.
    """
    classes = probabilities.shape[1]
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    groups_of_class = [len(np.unique(group_of[targets == index])) for index in range(classes)]
    if len(names) < 2:
        nothing: tuple[Interval | None, ...] = (None,) * classes
        return Intervals(len(names), dict.fromkeys((*_HEADLINE, "ece")), dict.fromkeys(_PER_CLASS, nothing))
    drawn = _draw(probabilities, targets, group_of, len(names), draws, seed)
    return Intervals(
        len(names),
        {name: _middle(drawn[name]) for name in (*_HEADLINE, "ece")},
        {
            name: tuple(
                _middle(drawn[name][:, index][drawn["present"][:, index] > 0]) if groups_of_class[index] > 1 else None
                for index in range(classes)
            )
            for name in _PER_CLASS
        },
    )


def _draw(
    probabilities: NDArray[np.floating], targets: Matrix, group_of: Matrix, groups: int, draws: int, seed: int
) -> dict[str, Real]:
    """Figures of each draw: draws, or draws x classes. ``present`` is the images of each class."""
    classes = probabilities.shape[1]
    cells = targets * classes + probabilities.argmax(axis=1)
    pairs, images = np.unique(group_of * classes**2 + cells, return_counts=True)  # the groups' matrices, without zeros
    pair_group, pair_cell = np.divmod(pairs, classes**2)
    gap_group, gap_bin, gaps = _gaps(probabilities, targets, group_of)
    random = np.random.default_rng(seed)
    parts: list[dict[str, Real]] = []
    size = max(1, _CELLS // classes**2)
    for start in range(0, draws, size):
        matrices = np.empty((min(size, draws - start), classes**2), np.int64)
        errors = np.empty(len(matrices))
        for index in range(len(matrices)):
            times = np.bincount(random.integers(0, groups, groups), minlength=groups)
            matrices[index] = np.bincount(pair_cell, images * times[pair_group], minlength=classes**2)
            errors[index] = np.abs(np.bincount(gap_bin, gaps * times[gap_group], minlength=BINS)).sum()
        confusion = matrices.reshape(-1, classes, classes)
        part = figures_of(confusion)
        part["ece"] = errors / matrices.sum(axis=1)
        part["present"] = confusion.sum(axis=2).astype(np.float64)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _gaps(probabilities: NDArray[np.floating], targets: Matrix, group_of: Matrix) -> tuple[Matrix, Matrix, Real]:
    """Group, bin, and the sum of confidence less correctness over the group's images in the bin."""
    bin_of = reliability_of(probabilities, targets).bin_of
    gap = probabilities.max(axis=1).astype(np.float64) - (probabilities.argmax(axis=1) == targets)
    pairs, where = np.unique(group_of * BINS + bin_of, return_inverse=True)
    group, bin_ = np.divmod(pairs, BINS)
    return group, bin_, np.bincount(where, gap).astype(np.float64)


def _middle(draws: Real) -> Interval:
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
