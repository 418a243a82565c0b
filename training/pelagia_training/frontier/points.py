"""The points of a frontier: one or more networks with a number of orientations, their accuracy and their speed.

Invariant: a point is on the frontier if no other point is both at least as fast and better by the macro-F1 on the
validation split. The test split chooses nothing: it only measures the points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pelagia_training.ensemble.members import misfit
from pelagia_training.figures.bootstrap import Interval, intervals_of
from pelagia_training.figures.calibrate import softmax
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.frontier.candidates import Candidate, HeldOut
from pelagia_training.frontier.outputs import Logits
from pelagia_training.network.ensemble import pooled_arrays


@dataclass(frozen=True)
class Figures:
    """How good a point is on one split.

    Attributes:
        macro_f1: 0..1.
        accuracy: 0..1.
        interval: of the macro-F1, by resampling groups; None if all images are of one group.
        predicted: int64, N, the index of the predicted class of each image.
    """

    macro_f1: float
    accuracy: float
    interval: Interval | None
    predicted: NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """What a point is made of: its networks, and the number of orientations of each."""

    members: tuple[Candidate, ...]
    views: int

    @property
    def name(self) -> str:
        """The name of the point in tables, such as ``(a-128 + b-128) x 8``."""
        names = " + ".join(one.name for one in self.members)
        if self.views == 1:
            return names
        return f"({names}) x {self.views}" if len(self.members) > 1 else f"{names} x {self.views}"

    @property
    def size(self) -> int:
        return self.members[0].size


@dataclass(frozen=True)
class Point:
    """A choice with what was measured.

    Attributes:
        network_rate: images/s of the network, every core busy.
        rate: images/s with the decoding of the images.
        timed: whether the speed of just this point was measured; else it is the sum of the times of its networks.
        val: the figures on the validation split, by which points are chosen.
        test: the figures on the test split; None if the dataset has none.
    """

    choice: Choice
    network_rate: float
    rate: float
    timed: bool
    val: Figures
    test: Figures | None

    @property
    def epochs(self) -> list[int]:
        return [one.member.state.epoch for one in self.choice.members]

    @property
    def minutes(self) -> float:
        """The training time of all its networks."""
        return sum(one.member.state.seconds for one in self.choice.members) / 60


def choices_of(candidates: Sequence[Candidate], orientations: Sequence[int], most: int) -> Iterator[Choice]:
    """Each network, and each ensemble of up to ``most`` networks that one model can be made of, at each orientation."""
    for count in range(1, most + 1):
        for members in combinations(candidates, count):
            if any(misfit(members[0].member, other.member) for other in members[1:]):
                continue
            for views in orientations:
                if all(views in one.views([views]) for one in members):
                    yield Choice(members, views)


def figures_of(choice: Choice, logits: Mapping[tuple[str, int], Logits], split: HeldOut) -> Figures:
    """The figures of a choice on one split; an ensemble answers with the mean of its networks' probabilities."""
    given = [logits[one.name, choice.views][split.name] for one in choice.members]
    together = given[0] if len(given) == 1 else pooled_arrays(given, "probabilities")
    probabilities = softmax(together)
    predicted = np.asarray(probabilities.argmax(axis=1), np.int64)
    metrics = metrics_of(confusion_matrix(split.targets, predicted, probabilities.shape[1]))
    interval = intervals_of(probabilities, split.targets, split.groups).headline["macro_f1"]
    return Figures(metrics.macro_f1, metrics.accuracy, interval, predicted)


def with_decoding(network: float, decode: float) -> float:
    """Images/s of decoding and network together, which share the cores, as `pelagia bench` computes it."""
    return 1 / (1 / network + 1 / decode)


def frontier_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats in both speed and validation macro-F1, the fastest first."""
    ranked = sorted(points, key=lambda point: (-point.rate, -point.val.macro_f1))
    found: list[Point] = []
    for point in ranked:
        if not found or point.val.macro_f1 > found[-1].val.macro_f1:
            found.append(point)
    return found
