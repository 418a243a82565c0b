"""What more labels are expected to give: a power law through the learning curve, with an interval.

The interval comes from draws of groups with replacement (the cluster bootstrap; Efron & Tibshirani 1993, chapter 8) and
of repeats of the cross-validation. A draw gives one curve, to which a power law is fitted. The middle 95% of the draws
is the interval. Draws repeat groups, so their macro-F1 is a little too low; this bias is subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pelagia_labeling.progress.power_law import PowerLaws, Real, fit
from pelagia_labeling.progress.probe import LearningCurve

DRAWS, LEVEL = 300, 0.95
FEW_GROUPS, FEW_LABELS, FARTHEST, POOR_FIT = 10, 500, 4.0, 0.015


@dataclass(frozen=True)
class Estimate:
    """A value, and the middle 95% of its draws."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassGain:
    """What more labels, spread over the classes as the present ones are, give one class.

    Attributes:
        name: the class.
        labels: its labels now.
        f1: its F1 now, 0..1.
        gain: the expected rise of its F1 with the additional labels.
    """

    name: str
    labels: int
    f1: float
    gain: float


@dataclass(frozen=True)
class Forecast:
    """The learning curve so far, and its continuation.

    Attributes:
        labels: numbers of labels, ascending; the last one is the present number.
        scores: macro-F1 of the probe at these numbers, 0..1.
        more: number of additional labels.
        now: macro-F1 at the present number of labels.
        then: expected macro-F1 with the additional labels.
        gain: the expected rise, with its own interval: both ends of the rise share the same images.
        limit: the height that the curve approaches.
        exponent: the exponent ``c`` of the power law.
        classes: the classes, largest expected gain first.
        left_out: class -> labels, of classes that are too rare for the curve.
        warnings: why the forecast may be wrong, one sentence each.
    """

    labels: tuple[float, ...]
    scores: tuple[float, ...]
    more: int
    now: Estimate
    then: Estimate
    gain: Estimate
    limit: float
    exponent: float
    classes: tuple[ClassGain, ...]
    left_out: dict[str, int]
    warnings: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The forecast in one line of text."""
        then = f"{self.then.value:.2f} ({self.then.low:.2f} to {self.then.high:.2f})"
        return f"{self.more} more labels: expected macro-F1 {self.now.value:.2f} -> {then}"


def forecast(curve: LearningCurve, more: int, *, seed: int = 0) -> Forecast:
    """Continues a learning curve.

    Args:
        curve: the curve so far.
        more: number of additional labels.
        seed: seed of the draws.
    """
    counts = _count(curve)
    groups = int(curve.groups.max()) + 1
    f1, macro = _scores(counts, np.ones((1, groups)))
    points, per_class = macro[0].mean(axis=0), f1[0].mean(axis=0)
    law, present = fit(curve.labels, points), float(curve.labels[-1])
    draws = _draw(counts, groups, seed)
    drawn = fit(curve.labels, draws)
    ends = law.at(present), law.at(present + more)
    rises = drawn.at(present + more) - drawn.at(present)
    then = _around(float(ends[1]), drawn.at(present + more))
    return Forecast(
        labels=tuple(curve.labels.tolist()),
        scores=tuple(points.tolist()),
        more=more,
        now=_around(float(ends[0]), draws[:, -1]),
        then=then,
        gain=_around(float(ends[1] - ends[0]), rises),
        limit=float(law.a),
        exponent=float(law.c),
        classes=_gains(curve, per_class, more),
        left_out=curve.left_out,
        warnings=_warnings(curve, law, groups, more),
    )


_Counts = tuple[Real, Real, Real]


def _count(curve: LearningCurve) -> _Counts:
    """Right answers and predictions, float64, repeats x sizes x groups x classes; labels, float64, groups x classes."""
    classes, groups = len(curve.names), int(curve.groups.max()) + 1
    shape = (*curve.predicted.shape[:2], groups, classes)
    right, given, labels = np.zeros(shape), np.zeros(shape), np.zeros((groups, classes))
    np.add.at(labels, (curve.groups, curve.targets), 1)
    for repeat, size in np.ndindex(shape[:2]):
        found = curve.predicted[repeat, size].astype(np.int64)
        hit = found == curve.targets
        np.add.at(given[repeat, size], (curve.groups, found), 1)
        np.add.at(right[repeat, size], (curve.groups[hit], curve.targets[hit]), 1)
    return right, given, labels


def _scores(counts: _Counts, times: Real) -> tuple[Real, Real]:
    """F1, float64, draws x repeats x sizes x classes; and the macro-F1 of the classes that a draw holds.

    Args:
        counts: as `_count` returns them.
        times: float64, draws x groups: how often a draw holds each group.
    """
    right, given = (np.einsum("dg,rsgc->drsc", times, part, optimize=True) for part in counts[:2])
    labels = (times @ counts[2])[:, None, None]
    f1 = 2 * right / np.maximum(labels + given, 1e-9)
    present = labels > 0
    return f1, (f1 * present).sum(axis=-1) / present.sum(axis=-1)


def _draw(counts: _Counts, groups: int, seed: int) -> Real:
    """The macro-F1 of each draw of groups and repeats: float64, draws x sizes."""
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(DRAWS // 50):  # 50 draws at a time keep the memory small
        times = np.stack([np.bincount(random.integers(0, groups, groups), minlength=groups) for _ in range(50)])
        macro = _scores(counts, times.astype(np.float64))[1]
        repeats = macro.shape[1]
        chosen = random.integers(0, repeats, (50, repeats))
        parts.append(np.take_along_axis(macro, chosen[:, :, None], axis=1).mean(axis=1))
    return np.concatenate(parts)


def _around(value: float, draws: Real) -> Estimate:
    """The middle of the draws after subtraction of their bias, 0..1."""
    low, high = np.quantile(draws - (draws.mean() - value), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(value, float(min(low, value)), float(min(max(high, value), 1.0)))


def _gains(curve: LearningCurve, f1: Real, more: int) -> tuple[ClassGain, ...]:
    """The expected gain of each class, from a power law through its own F1; ``f1``: float64, sizes x classes."""
    present = float(curve.labels[-1])
    law = fit(curve.labels, f1.T)
    rises = np.maximum(law.at(present + more) - law.at(present), 0.0)
    counts = np.bincount(curve.targets, minlength=len(curve.names))
    found = [
        ClassGain(name, int(counts[index]), float(f1[-1, index]), float(rises[index]))
        for index, name in enumerate(curve.names)
    ]
    return tuple(sorted(found, key=lambda one: -one.gain))


def _warnings(curve: LearningCurve, law: PowerLaws, groups: int, more: int) -> tuple[str, ...]:
    present = float(curve.labels[-1])
    found = []
    if float(law.error) > POOR_FIT:
        found.append(
            f"the power law fits the curve poorly (it misses the points by {float(law.error):.3f} on average), so the "
            "forecast may be far off"
        )
    if float(law.b) < 1e-6:
        found.append("the curve does not rise with more labels, so there is nothing to forecast: are the labels right?")
    if present < FEW_LABELS:
        found.append(f"{present:.0f} labels are few for a forecast: ask again with {FEW_LABELS} or more")
    if groups < FEW_GROUPS:
        found.append(f"there are only {groups} groups, so the intervals are too narrow")
    if present + more > FARTHEST * present:
        found.append(f"{more} more labels are more than {FARTHEST - 1:.0f} times the present ones: that is far to look")
    if curve.left_out:
        names = ", ".join(f"{name} ({count})" for name, count in list(curve.left_out.items())[:8])
        found.append(
            f"{len(curve.left_out)} classes have too few labels or groups, and are not in the macro-F1: {names}"
        )
    return tuple(found)
