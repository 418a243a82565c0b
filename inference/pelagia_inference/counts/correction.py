"""From the probabilities of a sample's images to the number of images of each class, corrected for confusion.

The raw count takes the likeliest class of each image. It is biased if the classifier confuses classes, and the bias
depends on the composition: a rare class receives more images from frequent classes than it loses. The methods are those
of `pelagia_inference.counts.estimators`. Which one a model uses, and how far its result is drawn towards the raw count,
was chosen by simulation when the model was exported.

All methods assume that the images of a class look alike in the calibration and in the sample, and that only the
composition differs (prior probability shift). `pelagia_inference.counts.drift` warns if that is in doubt.

Invariant: estimates are not negative and sum to the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Counting, Recipe
from pelagia_inference.counts.estimators import Real, estimate, known_of, weights_of
from pelagia_inference.counts.intervals import interval

_SMALLEST = 1e-12


@dataclass(frozen=True)
class Corrected:
    """The corrected counts of one sample.

    Attributes:
        estimate: float64, K: estimated number of images of each class; sums to the number of images.
        low, high: float64, K: the ends of the interval of each class (nominally 90%).
        method: how it was corrected, in words.
    """

    estimate: Real
    low: Real
    high: Real
    method: str


def correct(counting: Counting, probabilities: NDArray[np.float32], groups: int = 1) -> Corrected:
    """The corrected counts of one sample, with intervals.

    Args:
        counting: the model's document.
        probabilities: float32, N x K, of the images of the sample; rows sum to 1; K in the order of the model.
        groups: number of groups (such as stations) that the images come from. The interval of one is wider than that of
            several with as many images.

    Raises:
        ValueError: the probabilities have another number of classes than the document.
    """
    images, classes = probabilities.shape
    if classes != len(counting.classes):
        raise ValueError(f"the model has {len(counting.classes)} classes, but the images {classes} probabilities")
    if images == 0:
        nothing = np.zeros(classes)
        return Corrected(nothing, nothing, nothing, describe(counting.recipe))
    known = known_of(counting.recipe, counting.calibration, weights_of(counting))
    shares = estimate(known, probabilities)
    low, high = interval(counting, known, shares, images, groups)
    return Corrected(shares * images, low * images, high * images, describe(counting.recipe))


def describe(recipe: Recipe) -> str:
    """A recipe in words."""
    name = {
        "raw": "raw counts, not corrected",
        "mean": "sums of probabilities",
        "acc": "adjusted counts",
        "pacc": "adjusted sums of probabilities",
        "em": "expectation-maximization (Saerens et al. 2002)",
    }[recipe.method]
    parts = [f"probabilities to the power {recipe.power:g}"] if recipe.power != 1 else []
    parts += [f"raw shares as a prior of {recipe.prior_images:g} images"] if recipe.prior_images else []
    parts += [f"confusion smoothed by {recipe.smoothing:g} images"] if recipe.smoothing else []
    parts += [f"{recipe.raw_weight:.0%} of the raw count mixed in"] if recipe.raw_weight else []
    return ", ".join([name, *parts])


def summary(counting: Counting) -> str:
    """How a model's counts are corrected, and how far that helped in simulated surveys, in one or two sentences."""
    source = f"{sum(counting.images)} labeled images of {counting.groups} groups ({counting.source})"
    if counting.reason:
        return f"counts are not corrected, because {counting.reason}; judged by {source}"
    gains = ", ".join(
        f"{one.corrected_error / max(one.raw_error, _SMALLEST):.2f} of the raw error at {one.composition} composition"
        for one in counting.simulated
    )
    return f"counts are corrected by {describe(counting.recipe)}, with {source}: {gains} in simulated surveys"
