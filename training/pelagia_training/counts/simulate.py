"""Simulated surveys: images of groups that the correction did not use, drawn with a known composition.

Invariant: in each trial, no group gives both images of the survey and images of the calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Calibration
from pelagia_inference.counts.estimators import Real
from pelagia_inference.counts.intervals import SHARE_OF_GROUPS, Pool

COMPOSITIONS = {"even": 1.0, "skewed": 0.2}
"""Kinds of simulated surveys, and the parameter of the Dirichlet distribution of their compositions."""
IMAGES = 500
"""Images of a simulated survey."""
IMAGES_OF_ONE = 100
"""Images of a simulated survey of one group, such as a station."""
LEAST_OF_ONE = 20
"""Images of a left-out group that is a survey as it is."""


@dataclass(frozen=True)
class Trial:
    """A calibration without some groups, and surveys of these groups.

    Attributes:
        number: of the trial, from 0.
        calibration: the images of the other groups.
        left_out: the images of the left-out groups.
        surveys: see `Drawn`; of all left-out groups.
        of_one: surveys of one left-out group: half of them with drawn compositions, where the images of each class are
            of one group; half of them groups as they are. They have a random generator of their own, so that the other
            surveys do not depend on them.
    """

    number: int
    calibration: Calibration
    left_out: Calibration
    surveys: tuple[Drawn, ...]
    of_one: tuple[Drawn, ...]


@dataclass(frozen=True)
class Drawn:
    """A simulated survey.

    Attributes:
        kind: a key of `COMPOSITIONS`, or "as it is".
        probabilities: float32, N x K.
        truth: float64, K: the share of each class among the images.
        present: bool, K: the classes that the left-out groups have.
        groups: number of groups that the images come from.
    """

    kind: str
    probabilities: NDArray[np.float32]
    truth: Real
    present: NDArray[np.bool_]
    groups: int


def trials(calibration: Calibration, count: int, surveys: int, images: int = IMAGES, seed: int = 0) -> Iterator[Trial]:
    """Leaves out a quarter of the groups in each trial, and draws surveys of them.

    Args:
        calibration: all images.
        count: number of trials.
        surveys: surveys of each kind in each trial; of one group, up to twice as many.
        images: images of a survey.
        seed: of the random choices.
    """
    random = np.random.default_rng(seed)
    classes = calibration.probabilities.shape[1]
    for number, left_out in enumerate(_parts(calibration.groups, count, random)):
        outside = calibration.part(left_out)
        pool, apart = Pool(outside, classes), np.random.default_rng((seed, number))
        kinds = [kind for kind in COMPOSITIONS for _ in range(surveys)]
        drawn = tuple(_draw(kind, pool, outside, images, pool.groups, random) for kind in kinds)
        of_one = [_draw(kind, pool, outside, IMAGES_OF_ONE, 1, apart) for kind in kinds]
        of_one += _as_they_are(outside, pool, len(kinds), apart)
        yield Trial(number, calibration.part(~left_out), outside, drawn, tuple(of_one))


def _draw(kind: str, pool: Pool, outside: Calibration, images: int, groups: int, random: np.random.Generator) -> Drawn:
    composition = random.dirichlet(np.full(pool.classes, COMPOSITIONS[kind])) + 1e-12
    rows, truth = pool.draw(composition, images, groups / pool.groups, random)
    return Drawn(kind, outside.probabilities[rows], truth, pool.present, groups)


def _as_they_are(outside: Calibration, pool: Pool, most: int, random: np.random.Generator) -> Iterator[Drawn]:
    names, images = np.unique(outside.groups, return_counts=True)
    for name in random.permutation(names[images >= LEAST_OF_ONE])[:most]:
        survey = outside.part(outside.groups == name)
        truth = np.bincount(survey.labels, minlength=pool.classes) / len(survey.labels)
        yield Drawn("as it is", survey.probabilities, truth, pool.present, 1)


def _parts(groups: NDArray[np.int64], count: int, random: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """The images of the left-out groups of each trial; each group is left out about equally often."""
    names = np.unique(groups)
    parts = max(2, round(1 / SHARE_OF_GROUPS))
    for number in range(count):
        if number % parts == 0:
            order = random.permutation(names)
        yield np.isin(groups, order[number % parts :: parts])
