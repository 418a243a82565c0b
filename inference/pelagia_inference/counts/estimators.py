"""Estimators of the composition of a sample, from the probabilities of its images.

The methods:

    raw    classify and count
    mean   sum of the probabilities (probabilistic classify and count)
    acc    adjusted count: the composition that gives these counts, with the known rates of confusion (Forman 2008)
    pacc   the same with sums of probabilities (Bella et al. 2010)
    em     expectation-maximization: the composition under which the probabilities are most likely (Saerens, Latinne
           and Decaestecker 2002, Neural Computation 14, 21-41)

Invariant: every estimate is a composition: no share is negative, and the shares sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.model.counting import Calibration, Counting, Recipe

Real = NDArray[np.float64]

_MOST_ITERATIONS = 500
_TOLERANCE = 1e-5
_PRECISE = 1e-14
_MOST_IN_FLOAT64 = 1_000_000
_IMAGES_AT_ONCE = 4096
_SMALLEST = 1e-12


@dataclass(frozen=True)
class Known:
    """What a recipe needs to know of the calibration.

    Attributes:
        recipe: the recipe.
        prior: float64, K: the composition that the probabilities (raised to the recipe's power) assume.
        rates: float64, K x K: row: true class; column: share of its images that are counted as a class. Sums to 1.
    """

    recipe: Recipe
    prior: Real
    rates: Real


def weights_of(counting: Counting) -> Real:
    """The number of labeled images that each stored image stands for: float64, N."""
    labels = counting.calibration.labels
    stored = np.maximum(np.bincount(labels, minlength=len(counting.classes)), 1)
    weights: Real = (np.asarray(counting.images, np.float64) / stored)[labels]
    return weights


def known_of(recipe: Recipe, calibration: Calibration, weights: Real | None = None) -> Known:
    """What the recipe needs to know of a calibration.

    Args:
        weights: float64, N: how many images each image of the calibration stands for; None: one.
    """
    probabilities, labels = calibration.probabilities, calibration.labels
    classes = probabilities.shape[1]
    prior = np.average(powered(probabilities, recipe.power), axis=0, weights=weights)
    counted = one_hot(probabilities) if recipe.method == "acc" else probabilities
    sums = one_hot_of(labels, classes).T @ counted
    sums += recipe.smoothing * np.eye(classes)
    total = sums.sum(axis=1, keepdims=True)
    rates = np.where(total > 0, sums / np.maximum(total, _SMALLEST), np.eye(classes))
    return Known(recipe, np.maximum(prior, _SMALLEST), rates)


def estimate(known: Known, probabilities: NDArray[np.float32]) -> Real:
    """The estimated composition: float64, K, sums to 1.

    Args:
        probabilities: float32, N x K, N at least 1.
    """
    recipe = known.recipe
    raw = raw_shares(probabilities)
    if recipe.method == "raw" or recipe.raw_weight == 1:
        return raw
    if recipe.method == "mean":
        shares: Real = probabilities.mean(axis=0, dtype=np.float64)
    elif recipe.method == "acc":
        shares = adjusted(known.rates, raw)
    elif recipe.method == "pacc":
        shares = adjusted(known.rates, probabilities.mean(axis=0, dtype=np.float64))
    else:
        shares = maximize(ratios_of(known, probabilities), known.prior, recipe.prior_images * raw)
    mixed: Real = recipe.raw_weight * raw + (1 - recipe.raw_weight) * shares
    return np.asarray(mixed / mixed.sum())


def ratios_of(known: Known, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probabilities, raised to the power of the recipe, divided by the prior: float32, N x K, as in `maximize`."""
    return np.asarray(powered(probabilities, known.recipe.power) / known.prior, np.float32)


def raw_shares(probabilities: NDArray[np.float32]) -> Real:
    """The share of each class among the likeliest classes: float64, K."""
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    shares: Real = counts / len(probabilities)
    return shares


def maximize(
    ratios: NDArray[np.float32],
    start: Real,
    pseudo: Real | float = 0.0,
    tolerance: float = _TOLERANCE,
    iterations: int = _MOST_ITERATIONS,
) -> Real:
    """The composition q that maximizes the likelihood of the images, by expectation-maximization.

    q is the maximum of sum_i log(sum_k q_k ratios_ik), plus sum_k pseudo_k log(q_k) if there is a prior.

    Args:
        ratios: float32, N x K: probability of class k given image i, divided by the prior of k; any factor per image.
        start: float64, K: where to start; every class above 0.
        pseudo: float64, K: the prior, as a number of images of each class.
        tolerance: the search ends if no share changes more than this in one step.
        iterations: largest number of steps.
    """
    shares: Real = start / start.sum()
    images = len(ratios) + float(np.sum(pseudo))
    parts = [ratios.astype(np.float64)] if ratios.size <= _MOST_IN_FLOAT64 else list(_parts(ratios))
    for _ in range(iterations):
        sums = np.zeros(len(shares))
        for part in parts:
            sums += (1 / np.maximum(part @ shares.astype(part.dtype), _SMALLEST)) @ part
        updated = (shares * sums + pseudo) / images
        updated /= updated.sum()
        change = float(np.abs(updated - shares).max())
        shares = updated
        if change < tolerance:
            break
    return shares


def adjusted(rates: Real, observed: Real) -> Real:
    """The composition q >= 0, with sum 1, whose expected counts q @ rates are nearest to the observed ones.

    Least squares by accelerated projected gradients (FISTA, Beck and Teboulle 2009).

    Args:
        rates: float64, K x K, rows: true class; each sums to 1.
        observed: float64, K, sums to 1.
    """
    matrix, target = rates @ rates.T, rates @ observed
    step = 1 / float(np.linalg.eigvalsh(matrix)[-1])
    shares: Real = observed / observed.sum()
    ahead = shares
    inertia = 1.0
    for _ in range(40 * _MOST_ITERATIONS):
        updated = on_simplex(ahead - step * (matrix @ ahead - target))
        following = (1 + np.sqrt(1 + 4 * inertia * inertia)) / 2
        if (updated - shares) @ (ahead - updated) > 0:  # it went past the minimum: start again without inertia
            following = 1.0
        ahead = updated + (inertia - 1) / following * (updated - shares)
        change = float(np.abs(updated - shares).max())
        shares, inertia = updated, following
        if change < _PRECISE:
            break
    return shares


def on_simplex(values: Real) -> Real:
    """The nearest point with no value below 0 and the sum 1 (Duchi et al. 2008)."""
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(values) + 1)
    kept = int(np.flatnonzero(ordered > excess)[-1])
    nearest: Real = np.maximum(values - excess[kept], 0)
    return nearest


def powered(probabilities: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """The probabilities raised to a power, with rows that sum to 1: above 1 they are surer, below 1 less sure."""
    if power == 1:
        return probabilities
    raised = probabilities ** np.float32(power)
    surer: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return surer


def one_hot(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 for the likeliest class of each image, 0 for the others: float32, N x K."""
    return one_hot_of(probabilities.argmax(axis=1), probabilities.shape[1])


def one_hot_of(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """1 for the class of each image, 0 for the others: float32, N x K."""
    return np.eye(classes, dtype=np.float32)[labels]


def _parts(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), _IMAGES_AT_ONCE):
        yield rows[start : start + _IMAGES_AT_ONCE]
