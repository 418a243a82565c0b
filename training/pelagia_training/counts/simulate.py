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


@dataclass(frozen=True)
class Trial:
    """A calibration without some groups, and surveys of these groups.

    Attributes:
        number: of the trial, from 0.
        calibration: the images of the other groups.
        left_out: the images of the left-out groups.
        surveys: see `Drawn`.
    """

    number: int
    calibration: Calibration
    left_out: Calibration
    surveys: tuple[Drawn, ...]


@dataclass(frozen=True)
class Drawn:
    """A simulated survey.

    Attributes:
        kind: a key of `COMPOSITIONS`.
        probabilities: float32, N x K.
        truth: float64, K: the share of each class among the images.
        present: bool, K: the classes that the left-out groups have.
    """

    kind: str
    probabilities: NDArray[np.float32]
    truth: Real
    present: NDArray[np.bool_]


def trials(calibration: Calibration, count: int, surveys: int, images: int = IMAGES, seed: int = 0) -> Iterator[Trial]:
    """Leaves out a quarter of the groups in each trial, and draws surveys of them.

    Args:
        calibration: all images.
        count: number of trials.
        surveys: surveys of each kind in each trial.
        images: images of a survey.
        seed: of the random choices.
    """
    random = np.random.default_rng(seed)
    classes = calibration.probabilities.shape[1]
    for number, left_out in enumerate(_parts(calibration.groups, count, random)):
        pool = Pool(calibration.part(left_out), classes)
        inside = calibration.part(left_out).probabilities
        drawn = [
            _draw(kind, parameter, pool, inside, images, random)
            for kind, parameter in COMPOSITIONS.items()
            for _ in range(surveys)
        ]
        yield Trial(number, calibration.part(~left_out), calibration.part(left_out), tuple(drawn))


def _draw(
    kind: str,
    parameter: float,
    pool: Pool,
    probabilities: NDArray[np.float32],
    images: int,
    random: np.random.Generator,
) -> Drawn:
    composition = random.dirichlet(np.full(pool.classes, parameter)) + 1e-12
    rows, truth = pool.draw(composition, images, 1.0, random)
    return Drawn(kind, probabilities[rows], truth, pool.present)


def _parts(groups: NDArray[np.int64], count: int, random: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """The images of the left-out groups of each trial; each group is left out about equally often."""
    names = np.unique(groups)
    parts = max(2, round(1 / SHARE_OF_GROUPS))
    for number in range(count):
        if number % parts == 0:
            order = random.permutation(names)
        yield np.isin(groups, order[number % parts :: parts])
