"""The difference of two models on the same images, with its interval.

Complete groups are drawn with replacement, as for the intervals of one model (`pelagia_training.figures.bootstrap`).
Both models get the same draws, so what makes a group easy or hard for both does not widen the interval. The interval
holds the middle 95% of the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pelagia_training.figures.bootstrap import CELLS, DRAWS, Interval, draw_groups, group_matrices, middle
from pelagia_training.figures.metrics import Matrix, Real, confusion_matrix, metric_arrays

METRICS = ("macro_f1", "accuracy", "balanced_accuracy")


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
        name: Difference(float(values[0][name]), float(values[1][name]), None if drawn is None else middle(drawn[name]))
        for name in METRICS
    }


def _draw(
    targets: Matrix, predicted: tuple[Matrix, Matrix], group_of: Matrix, classes: int, draws: int, seed: int
) -> dict[str, Real]:
    """The differences of each draw: float64, draws."""
    groups = int(group_of.max()) + 1
    sparse = [group_matrices(group_of, targets * classes + one, classes) for one in predicted]
    random = np.random.default_rng(seed)
    parts: dict[str, list[Real]] = {name: [] for name in METRICS}
    size = max(1, CELLS // classes**2)
    for start in range(0, draws, size):
        matrices = np.empty((2, min(size, draws - start), classes**2), np.int64)
        for index in range(matrices.shape[1]):
            times = draw_groups(random, groups)
            for drawn, (group, cell, images) in zip(matrices, sparse, strict=True):
                drawn[index] = np.bincount(cell, images * times[group], minlength=classes**2)
        first, second = (metric_arrays(drawn.reshape(-1, classes, classes)) for drawn in matrices)
        for name in METRICS:
            parts[name].append(second[name] - first[name])
    return {name: np.concatenate(values) for name, values in parts.items()}
