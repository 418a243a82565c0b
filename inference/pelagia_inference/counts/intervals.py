"""Intervals of corrected counts, by simulated surveys.

Each simulated survey has about the estimated composition. Its images are drawn from some groups (such as stations) of
the calibration, so its errors vary as those of real surveys do: by the choice of the images, and by the stations that
they come from. If the sample is of one station, the images of a class are drawn from one group. The simulated surveys
are corrected as the real one was, and their errors give the interval, as in a basic bootstrap. A factor for each class,
`Counting.spread`, was found at export: with it, the nominal share of the intervals of left-out groups covered the
truth.

Invariant: the same sample has the same interval, on every machine with the same NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Calibration, Counting
from pelagia_inference.counts.estimators import Known, Real, adjusted, maximize, ratios_of

NOMINAL = 0.9
"""The share of the intervals that cover the truth."""
SURVEYS = 120
"""Simulated surveys of one interval."""
SHARE_OF_GROUPS = 0.25
"""The largest share of the groups of a class from which a simulated survey draws the images of the class."""
_MOST_IMAGES = 500
"""Largest number of images of a simulated survey. The interval of a larger sample is a little too wide."""
_ROUGH = 3e-5
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Scores:
    """What a recipe computes once of the images that simulated surveys are drawn from.

    Attributes:
        known: the recipe, and what it knows.
        likeliest: int64, N: the likeliest class.
        probabilities: float32, N x K.
        ratios: float32, N x K: for "em", as in `maximize`; else empty.
    """

    known: Known
    likeliest: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    ratios: NDArray[np.float32]

    @classmethod
    def of(cls, known: Known, probabilities: NDArray[np.float32]) -> Scores:
        """The scores of these images."""
        ratios = probabilities
        if known.recipe.method == "em":
            ratios = ratios_of(known, probabilities)
        return cls(known, probabilities.argmax(axis=1), probabilities, ratios)

    def estimate(self, rows: NDArray[np.int64], start: Real) -> Real:
        """The same as `correction.estimate` of these rows, to 1e-3 of a share; ``start``: where the search starts."""
        recipe, classes = self.known.recipe, len(start)
        raw = np.bincount(self.likeliest[rows], minlength=classes) / len(rows)
        if recipe.method == "raw":
            return raw
        if recipe.method == "acc":
            shares = adjusted(self.known.rates, raw)
        elif recipe.method == "em":
            start = np.maximum(start, 1e-4)
            shares = maximize(self.ratios[rows], start, recipe.prior_images * raw, _ROUGH)
        else:
            shares = self.probabilities[rows].mean(axis=0, dtype=np.float64)
            shares = adjusted(self.known.rates, shares) if recipe.method == "pacc" else shares
        mixed: Real = recipe.raw_weight * raw + (1 - recipe.raw_weight) * shares
        return mixed


class Pool:
    """Images by class and group, to draw surveys from.

    Attributes:
        classes: number of classes.
        groups: number of groups.
        rows: for each class, and each group that has it, the rows of its images: int64.
        present: bool, K: the classes that have images.
    """

    def __init__(self, calibration: Calibration, classes: int) -> None:
        self.classes = classes
        self.groups = len(np.unique(calibration.groups))
        self.rows: list[list[NDArray[np.int64]]] = []
        for number in range(classes):
            mine = np.flatnonzero(calibration.labels == number)
            groups = calibration.groups[mine]
            self.rows.append([mine[groups == group] for group in np.unique(groups)])
        self.present = np.array([bool(groups) for groups in self.rows])

    def draw(
        self, composition: Real, images: int, share: float, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], Real]:
        """The rows of one survey, int64, N, and its true composition, float64, K.

        Args:
            composition: float64, K: the expected composition; classes without images are left out.
            images: number of images.
            share: share of the groups of each class that images are drawn from, at least one; images may repeat. One
                group of several is chosen with a probability proportional to its images of the class.
        """
        expected = np.where(self.present, composition, 0)
        counts = random.multinomial(images, expected / expected.sum())
        rows = []
        for number in np.flatnonzero(counts):
            candidates = _some(self.rows[number], share, random)
            rows.append(candidates[random.integers(len(candidates), size=counts[number])])
        return np.concatenate(rows), counts / images


def _some(groups: list[NDArray[np.int64]], share: float, random: np.random.Generator) -> NDArray[np.int64]:
    """The rows of a share of the groups, at least one."""
    count = max(1, round(share * len(groups)))
    if count == 1 < len(groups):
        sizes = np.array([len(group) for group in groups])
        return groups[random.choice(len(groups), p=sizes / sizes.sum())]
    return np.concatenate([groups[index] for index in random.permutation(len(groups))[:count]])


def interval(counting: Counting, known: Known, shares: Real, images: int, groups: int = 1) -> tuple[Real, Real]:
    """The ends of the interval of each class's share: float64, K, 0..1.

    Args:
        known: what the recipe knows.
        shares: float64, K: the estimated composition.
        images: number of images of the sample.
        groups: number of groups (such as stations) that they come from.
    """
    scores = Scores.of(known, counting.calibration.probabilities)
    pool = Pool(counting.calibration, len(shares))
    spread = np.asarray(counting.spread) if counting.spread else np.ones(len(shares))
    return spread_interval(*simulated_interval(scores, pool, shares, images, groups), shares, spread)


def simulated_interval(scores: Scores, pool: Pool, shares: Real, images: int, groups: int = 1) -> tuple[Real, Real]:
    """The distances of the interval's ends from the estimate, below and above it: float64, K, of a share.

    A sample of one group has images of each class from one group. A sample of several groups has a class from as large
    a share of the groups of this class as it has of all groups, at most from `SHARE_OF_GROUPS`. A class without labeled
    images has distances of 0.

    Args:
        scores: what the recipe computed of the images of ``pool``.
        pool: the images that simulated surveys are drawn from.
        shares: float64, K: the estimated composition.
        images: number of images of the sample.
        groups: number of groups that they come from, at least 1.
    """
    random = np.random.default_rng(0)
    size, share = min(images, _MOST_IMAGES), min(groups / pool.groups, SHARE_OF_GROUPS)
    errors = np.empty((SURVEYS, len(shares)))
    for number in range(SURVEYS):
        composition = random.dirichlet(size * shares + 0.5)
        rows, truth = pool.draw(composition, size, share, random)
        errors[number] = scores.estimate(rows, shares) - truth
    tail = (1 - NOMINAL) / 2
    below, above = np.quantile(errors, (1 - tail, tail), axis=0)
    least = 0.5 / images
    return np.maximum(below, least), np.maximum(-above, least)


def spread_interval(below: Real, above: Real, shares: Real, spread: Real) -> tuple[Real, Real]:
    """The ends of the intervals, from the distances and a factor for each class."""
    return np.clip(shares - spread * below, 0, 1), np.clip(shares + spread * above, 0, 1)
