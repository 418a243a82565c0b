"""How far a count of organisms in a sample may be from the mean of the water, because a sample is small.

Organisms that are spread at random give Poisson counts. The exact interval of a count n has the ends L and U with
P(X >= n | L) = P(X <= n | U) = 0.05 (F. Garwood, 1936, "Fiducial limits for the Poisson distribution", Biometrika 28).
Patchy water has wider intervals.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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


def intervals(counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The low and the high ends for counts of any shape, float64."""
    ends = np.array([interval(count) for count in counts.ravel().tolist()], np.float64).reshape(-1, 2)
    return ends[:, 0].reshape(counts.shape), ends[:, 1].reshape(counts.shape)


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
