"""Confidence intervals of metrics, computed by resampling groups.

An interval shows how much a metric depends on which groups, such as stations, were sampled. Images of one station are
not independent. Resampling single images would treat them as independent, and the intervals would be too narrow. So
complete groups are drawn with replacement, as many as the dataset has (the cluster bootstrap; Efron & Tibshirani 1993,
chapters 8 and 13). An interval holds the middle 95% of the draws.

The calibration error is a sum of absolute values, so random scatter raises it: in almost every draw it is larger than
in the dataset, and the middle 95% of the draws may not even hold the reported value. This bias is estimated as the mean
of the draws minus the reported value (Efron & Tibshirani 1993, chapter 10) and subtracted from the draws.

Invariant: the same predictions, labels and groups give the same intervals. An interval includes only the choice of the
test groups; it does not include the differences between training runs or between instruments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia_training.figures.metrics import BINS, Matrix, Real, metric_arrays, reliability_diagram

DRAWS = 2000
LEVEL = 0.95
FEW_GROUPS = 10
"""With fewer groups than this, the draws are too similar to each other, and the intervals are too narrow."""

_HEADLINE = ("accuracy", "macro_f1", "balanced_accuracy")
_PER_CLASS = ("precision", "recall", "f1")
CELLS = 1 << 22
"""Largest number of cells of confusion matrices in memory at once."""


@dataclass(frozen=True)
class Interval:
    """The middle 95% of a metric's draws."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """The intervals of one evaluation.

    An interval is None if all images, or all images of its class, are of one group.

    Attributes:
        groups: number of groups that were resampled.
        headline: name of a metric -> its interval, for ``accuracy``, ``macro_f1``, ``balanced_accuracy`` and ``ece``.
        per_class: name of a metric -> one interval per class, for ``precision``, ``recall`` and ``f1``. Draws without
            images of the class are ignored.
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
    """Computes the intervals of all metrics by resampling groups.

    The bins of the calibration error are made once from all images, and every draw uses them. The bias of the draws of
    this error is subtracted, and its interval holds the value that `reliability_diagram` gives.

    Args:
        probabilities: float, N x classes, rows sum to 1.
        targets: int64, N, the labels' class indices.
        groups: the group of each image, N.
        draws: number of bootstrap samples.
        seed: seed of the random draws.
    """
    classes = probabilities.shape[1]
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    groups_of_class = [len(np.unique(group_of[targets == index])) for index in range(classes)]
    if len(names) < 2:
        no_intervals: tuple[Interval | None, ...] = (None,) * classes
        return Intervals(len(names), dict.fromkeys((*_HEADLINE, "ece")), dict.fromkeys(_PER_CLASS, no_intervals))
    drawn = _draw(probabilities, targets, group_of, len(names), draws, seed)
    error = _without_bias(drawn["ece"], reliability_diagram(probabilities, targets).error)
    return Intervals(
        len(names),
        {**{name: middle(drawn[name]) for name in _HEADLINE}, "ece": error},
        {
            name: tuple(
                middle(drawn[name][:, index][drawn["present"][:, index] > 0]) if groups_of_class[index] > 1 else None
                for index in range(classes)
            )
            for name in _PER_CLASS
        },
    )


def _draw(
    probabilities: NDArray[np.floating], targets: Matrix, group_of: Matrix, groups: int, draws: int, seed: int
) -> dict[str, Real]:
    """The metrics of each draw, float64, of shape draws or draws x classes; ``present``: images of each class."""
    classes = probabilities.shape[1]
    cells = targets * classes + probabilities.argmax(axis=1)
    pair_group, pair_cell, images = group_matrices(group_of, cells, classes)
    gap_group, gap_bin, gaps = _gaps(probabilities, targets, group_of)
    random = np.random.default_rng(seed)
    parts: list[dict[str, Real]] = []
    size = max(1, CELLS // classes**2)
    for start in range(0, draws, size):
        matrices = np.empty((min(size, draws - start), classes**2), np.int64)
        errors = np.empty(len(matrices))
        for index in range(len(matrices)):
            times = draw_groups(random, groups)
            matrices[index] = np.bincount(pair_cell, images * times[pair_group], minlength=classes**2)
            errors[index] = np.abs(np.bincount(gap_bin, gaps * times[gap_group], minlength=BINS)).sum()
        confusion = matrices.reshape(-1, classes, classes)
        part = metric_arrays(confusion)
        part["ece"] = errors / matrices.sum(axis=1)
        part["present"] = confusion.sum(axis=2).astype(np.float64)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draw_groups(random: np.random.Generator, groups: int) -> Matrix:
    """How often each group is drawn, if as many are drawn as there are, with replacement: int64, groups."""
    return np.bincount(random.integers(0, groups, groups), minlength=groups)


def group_matrices(group_of: Matrix, cells: Matrix, classes: int) -> tuple[Matrix, Matrix, Matrix]:
    """Each group's confusion matrix, sparse: group, cell, and the number of images in the cell.

    Args:
        group_of: int64, N, the index of each image's group.
        cells: int64, N, label times ``classes`` plus prediction.
    """
    pairs, images = np.unique(group_of * classes**2 + cells, return_counts=True)
    group, cell = np.divmod(pairs, classes**2)
    return group, cell, images


def _gaps(probabilities: NDArray[np.floating], targets: Matrix, group_of: Matrix) -> tuple[Matrix, Matrix, Real]:
    """Three arrays: group, bin, and the sum of (confidence - correctness) over the group's images in the bin."""
    bin_of = reliability_diagram(probabilities, targets).bin_of
    gap = probabilities.max(axis=1).astype(np.float64) - (probabilities.argmax(axis=1) == targets)
    pairs, where = np.unique(group_of * BINS + bin_of, return_inverse=True)
    group, bin_ = np.divmod(pairs, BINS)
    return group, bin_, np.bincount(where, gap).astype(np.float64)


def _without_bias(draws: Real, value: float) -> Interval:
    """The middle of the draws after subtraction of their bias; at least 0, and around ``value``."""
    around = middle(draws - (draws.mean() - value))
    return Interval(max(0.0, min(around.low, value)), max(around.high, value))


def middle(draws: Real) -> Interval:
    """The middle 95% of the draws."""
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
