"""How far a count of organisms in a sample may be from the mean of the water, because a sample is small.

Organisms that are spread at random give Poisson counts. The exact interval of a count n has the ends L and U with
P(X >= n | L) = P(X <= n | U) = 0.05 (F. Garwood, 1936, "Fiducial limits for the Poisson distribution", Biometrika 28).
Patchy water has wider intervals.

A sum of unequal values, such as the volumes of the organisms, is compound Poisson: see `of_sums`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
LEVEL = 0.9
"""The intervals of this module hold the mean with this probability."""
_TAIL = (1 - LEVEL) / 2
_Z = 1.6448536269514722  # the 0.95 quantile of the normal distribution
_LARGE = 1000  # from this count, the approximation is exact to 1e-5


def interval(count: float) -> tuple[float, float]:
    """The ends of the 90% interval of the mean of a count, 0 or more. Between whole numbers they are interpolated."""
    below = math.floor(count)
    low, high = _whole(below)
    if (part := count - below) > 0:
        next_low, next_high = _whole(below + 1)
        return low + part * (next_low - low), high + part * (next_high - high)
    return low, high


def intervals(counts: Values) -> tuple[Values, Values]:
    """The low and the high ends for counts of any shape, float64."""
    ends = np.array([interval(count) for count in counts.ravel().tolist()], np.float64).reshape(-1, 2)
    return ends[:, 0].reshape(counts.shape), ends[:, 1].reshape(counts.shape)


def of_sums(totals: Values, variances: Values, usual: Values) -> tuple[Values, Values]:
    """The low and the high ends for sums of unequal values over organisms, such as their volumes.

    A sum S with variance W is close to W/S times a Poisson count, also if the values are skewed (G. Bohm and G. Zech,
    2013, "Statistics of weighted Poisson events and its applications", arXiv:1309.1287: the scaled Poisson
    distribution). So the interval is W/S times that of the count S^2/W. It is the gamma interval of M. P. Fay and E. J.
    Feuer (1997, "Confidence intervals for directly standardized rates", Statistics in Medicine 16, 791-801) with W/S as
    the weight of one more organism. If all values are equal, it is the value times the interval of the count.

    The variance of the sum of n values with mean v and relative variance c is ``n v^2 (1 + c)``. If v is the mean of m
    of them, or of m others, it is ``n v^2 (1 + n c / m)``, which is the same for m = n.

    Args:
        totals: float64, any shape: the sums, 0 or more.
        variances: their variances.
        usual: the value of one organism, for sums of 0.

    Returns:
        The ends; not-a-number where a sum or a value is not known.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        units = np.where(totals > 0, variances / totals, usual)
        counts = totals / units
    known = np.isfinite(counts)
    low, high = intervals(np.where(known, counts, 0.0))
    return np.where(known, units * low, np.nan), np.where(known, units * high, np.nan)


@dataclass(frozen=True)
class Amount:
    """A number or an amount of a fraction, by row.

    Attributes:
        value: the best estimate.
        low, high: its interval with the chance alone.
        below, above: how far the errors of the machine reach.
    """

    value: Values
    low: Values
    high: Values
    below: Values
    above: Values


def together(sums: Sequence[Amount], factors: Sequence[float]) -> tuple[Values, Values, Values]:
    """The sum over fractions, each times its factor, and the ends of its interval.

    The chance is independent in each fraction, and the errors of the machine are the same in all. The two are added in
    quadrature.
    """
    value, chance_low, chance_high, below, above = np.zeros((5, len(sums[0].value)))
    for one, factor in zip(sums, factors, strict=True):
        value += factor * one.value
        chance_low += (factor * (one.value - one.low)) ** 2
        chance_high += (factor * (one.high - one.value)) ** 2
        below += factor * one.below
        above += factor * one.above
    low = value - np.sqrt(chance_low + below**2)
    return value, np.maximum(low, 0.0), value + np.sqrt(chance_high + above**2)


@lru_cache(maxsize=1 << 16)
def _whole(count: int) -> tuple[float, float]:
    if count >= _LARGE:
        return _gamma(count, -_Z), _gamma(count + 1, _Z)
    low = _mean_where(count - 1, 1 - _TAIL) if count else 0.0  # P(X >= n) = 1 - P(X <= n - 1)
    return low, _mean_where(count, _TAIL)


def _gamma(shape: int, z: float) -> float:
    """A quantile of the gamma distribution: the approximation of Wilson and Hilferty (1931)."""
    return float(shape * (1 - 1 / (9 * shape) + z / (3 * math.sqrt(shape))) ** 3)


def _mean_where(count: int, probability: float) -> float:
    """The mean with P(X <= count) = probability, by bisection."""
    low, high = 0.0, count + 6 * math.sqrt(count + 1) + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, middle) > probability else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=_LARGE)
def _log_factorials(count: int) -> NDArray[np.float64]:
    return np.array([math.lgamma(k + 1) for k in range(count + 1)])


def _at_most(count: int, mean: float) -> float:
    numbers = np.arange(count + 1)
    return float(np.exp(numbers * math.log(max(mean, 1e-300)) - mean - _log_factorials(count)).sum())
