"""Warnings where corrected counts may be wrong: the sample differs from the calibration in more than its composition.

The statistic is the two-sample distance of Kolmogorov and Smirnov between the probabilities of the likeliest class in
the sample and in the calibration, whose images are weighted so that its composition is the estimated one. So another
composition alone is no drift. The distance that two samples of one kind have by chance (1.36 / sqrt(N), 5% level) is
subtracted. The limit was set at export so that few left-out groups (such as stations) exceed it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Calibration, Counting, Drift
from pelagia_inference.counts.correction import Corrected
from pelagia_inference.counts.estimators import Known, Real, estimate

LEAST_IMAGES = 20
"""A smaller sample is not compared: chance hides any difference."""
_BY_CHANCE = 1.36
_LEAST_CHANGE = 0.2
_LEAST_SHARE = 0.02


def distance(calibration: Calibration, probabilities: NDArray[np.float32], shares: Real) -> float:
    """How far the sample's probabilities are from those of the calibration, at most 1; 0 or less: as by chance.

    Args:
        calibration: labeled images.
        probabilities: float32, N x K: of the images of the sample.
        shares: float64, K: the estimated composition of the sample.
    """
    classes = len(shares)
    of_class = np.bincount(calibration.labels, minlength=classes)
    weights = np.where(of_class > 0, shares / np.maximum(of_class, 1), 0)[calibration.labels]
    if not weights.sum():
        return 0.0
    known, found = calibration.probabilities.max(axis=1), probabilities.max(axis=1)
    order = np.argsort(known, kind="stable")
    cumulative = np.concatenate(([0.0], np.cumsum(weights[order]))) / weights.sum()
    places = np.linspace(0, 1, 201, dtype=np.float32)
    expected = cumulative[np.searchsorted(known[order], places, side="right")]
    seen = np.searchsorted(np.sort(found), places, side="right") / len(found)
    return float(np.abs(expected - seen).max() - _BY_CHANCE / np.sqrt(len(found)))


def drift_warnings(
    counting: Counting,
    probabilities: NDArray[np.float32],
    corrected: Corrected,
    unknown_share: float | None = None,
) -> list[str]:
    """What the user must know of a sample before its corrected counts are used, one sentence each.

    Args:
        counting: the model's document.
        probabilities: float32, N x K, of the images of the sample.
        corrected: the corrected counts of the same images.
        unknown_share: share of the images whose out-of-distribution score is above the model's threshold, 0..1; None:
            not known.
    """
    images = len(probabilities)
    if images < LEAST_IMAGES:
        return []
    shares = corrected.estimate / images
    found = []
    if counting.drift is not None:
        measured = distance(counting.calibration, probabilities, shares)
        if measured > counting.drift.limit:
            found.append(different(measured, counting.drift))
    if text := many_unknown(counting, images, unknown_share):
        found.append(text)
    if text := unsure_bias(counting, shares):
        found.append(text)
    return found


def different(measured: float, drift: Drift) -> str:
    """The warning that a sample is different."""
    return (
        f"the probabilities are not like those of the labeled images (distance {measured:.2f}, limit "
        f"{drift.limit:.2f}), "
        "so the corrected counts and their intervals may be wrong: look at the least sure images, and label some of "
        f"this sample. {drift.false_warnings:.0%} of {drift.groups} labeled groups would be warned of, too"
    )


def many_unknown(counting: Counting, images: int, unknown_share: float | None) -> str:
    """A warning if more images are unlike all classes than chance and the groups of the model explain; else empty.

    The limit already holds the chance of groups of the size of those of the model, so the chance of this sample is
    added to the usual share, and the larger of both counts. A model without the usual share adds it to the limit.
    """
    limit, usual = counting.unknown_limit, counting.unknown_usual
    if limit is None or unknown_share is None:
        return ""
    base = limit if usual is None else usual
    chance = 2 * np.sqrt(max(base, 1 / images) * (1 - base) / images)
    if unknown_share <= max(limit, base + chance):
        return ""
    return (
        f"{unknown_share:.0%} of the images are like none of the classes (usual: up to {limit:.0%}), and the corrected "
        "counts spread them over the classes: look at them, and label them as a class of their own if they are one"
    )


def unsure_bias(counting: Counting, shares: Real) -> str:
    """A warning if leaving out the images without a name would change the composition; empty if it would not.

    Args:
        shares: float64, K: the estimated composition.
    """
    if not counting.unsure_loss:
        return ""
    named = shares * (1 - np.asarray(counting.unsure_loss))
    if not named.sum():
        return ""
    left = named / named.sum()
    change = np.where(shares >= _LEAST_SHARE, np.abs(left - shares) / np.maximum(shares, _LEAST_SHARE), 0)
    worst = int(change.argmax())
    if change[worst] < _LEAST_CHANGE:
        return ""
    return (
        f"if you counted only the images that the model named, '{counting.classes[worst]}' would be {left[worst]:.1%} "
        f"of the organisms instead of {shares[worst]:.1%}, because the model leaves {counting.unsure_loss[worst]:.0%} "
        "of its images without a name: count all images, as here"
    )


def group_distances(known: Known, rest: Calibration, left_out: Calibration) -> list[float]:
    """The distance of each left-out group with `LEAST_IMAGES` images or more from the other groups."""
    found = []
    for group in np.unique(left_out.groups):
        inside = left_out.part(left_out.groups == group).probabilities
        if len(inside) >= LEAST_IMAGES:
            found.append(distance(rest, inside, estimate(known, inside)))
    return found
