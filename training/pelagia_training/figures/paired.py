"""The difference of two models on the same images, with its interval.

Complete groups are drawn with replacement, as for the intervals of one model (`pelagia_training.figures.bootstrap`).
Both models get the same draws, so what makes a group easy or hard for both does not widen the interval. The interval
holds the middle 95% of the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia_training.figures.bootstrap import DRAWS, LEVEL, Interval
from pelagia_training.figures.metrics import Matrix, Real, confusion_matrix, metric_arrays

METRICS = ("macro_f1", "accuracy", "balanced_accuracy")
_CELLS = 1 << 22  # largest number of cells of confusion matrices in memory at once


@dataclass(frozen=True)
class Difference:
    """A metric of two models, and the second value minus the first.

    Attributes:
        first: value of the first model, 0..1.
        second: value of the second model, 0..1.
        interval: interval of the difference; None if all images are of one group.
    """

    first: float
    second: float
    interval: Interval | None

    @property
    def value(self) -> float:
        """The difference, -1..1."""
        return self.second - self.first

    @property
    def is_better(self) -> bool:
        """Whether the second model is better by more than chance: the whole interval is above 0."""
        return self.interval is not None and self.interval.low > 0

    @property
    def is_worse(self) -> bool:
        """The same for the first model."""
        return self.interval is not None and self.interval.high < 0


def paired_differences(
    targets: Matrix,
    predicted: tuple[Matrix, Matrix],
    groups: Sequence[str],
    classes: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Difference]:
    """The difference of each of `METRICS`.

    Args:
        targets: int64, N, the labels' class indices.
        predicted: for both models, int64, N, the predicted classes' indices.
        groups: the group of each image, N.
        classes: number of classes.
        draws: number of bootstrap samples.
        seed: seed of the random draws.
    """
    values = [metric_arrays(confusion_matrix(targets, one, classes)) for one in predicted]
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    drawn = _draw(targets, predicted, group_of, classes, draws, seed) if len(names) > 1 else None
    return {
        name: Difference(
            float(values[0][name]), float(values[1][name]), None if drawn is None else _middle(drawn[name])
        )
        for name in METRICS
    }


def _draw(
    targets: Matrix, predicted: tuple[Matrix, Matrix], group_of: Matrix, classes: int, draws: int, seed: int
) -> dict[str, Real]:
    """The differences of each draw: float64, draws."""
    groups = int(group_of.max()) + 1
    pairs = [
        np.unique(group_of * classes**2 + targets * classes + one, return_counts=True) for one in predicted
    ]  # the matrix of each group, sparse
    random = np.random.default_rng(seed)
    parts: dict[str, list[Real]] = {name: [] for name in METRICS}
    size = max(1, _CELLS // classes**2)
    for start in range(0, draws, size):
        times = random.multinomial(groups, np.full(groups, 1 / groups), min(size, draws - start))
        first, second = (metric_arrays(_matrices(cells, images, times, classes)) for cells, images in pairs)
        for name in METRICS:
            parts[name].append(second[name] - first[name])
    return {name: np.concatenate(values) for name, values in parts.items()}


def _matrices(pairs: Matrix, images: Matrix, times: NDArray[np.int64], classes: int) -> Matrix:
    """The confusion matrix of each draw: int64, draws x classes x classes."""
    group, cell = np.divmod(pairs, classes**2)
    found = np.empty((len(times), classes**2), np.int64)
    for index, drawn in enumerate(times):
        found[index] = np.bincount(cell, images * drawn[group], minlength=classes**2)
    return found.reshape(-1, classes, classes)


def _middle(draws: Real) -> Interval:
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(low), float(high))
