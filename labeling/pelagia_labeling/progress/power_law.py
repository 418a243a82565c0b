"""Power laws through learning curves: score = a - b * labels ** -c (Cortes et al. 1993, NIPS 6: 327-334).

Larger numbers of labels weigh more in the fit, as in Figueroa et al. 2012 (BMC Medical Informatics and Decision Making
12: 8). For each ``c`` of a grid, ``a`` and ``b`` follow from a linear regression; the ``c`` with the smallest weighted
error is taken. So the fit has no starting values and always succeeds, and thousands of curves are fitted at once.

Invariant: a fitted curve never falls (``b`` >= 0) and stays at or below 1 (``a`` <= 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

EXPONENTS: Real = np.geomspace(0.1, 1.5, 30).astype(np.float64)
"""The values of ``c`` that are tried. Published learning curves have exponents in this range."""


@dataclass(frozen=True)
class PowerLaws:
    """Fitted curves.

    Attributes:
        a: float64, the limit of each curve, 0..1.
        b: float64, same shape.
        c: float64, same shape.
        scale: number of labels that is 1 in the formula.
        error: float64, same shape: root of the mean weighted squared distance to the points.
    """

    a: Real
    b: Real
    c: Real
    scale: float
    error: Real

    def at(self, labels: float) -> Real:
        """The score of each curve with this number of labels."""
        value: Real = self.a - self.b * (labels / self.scale) ** -self.c
        return value


def fit(labels: Real, scores: Real) -> PowerLaws:
    """Fits one curve to each row.

    Args:
        labels: float64, P, numbers of labels, ascending, P >= 3.
        scores: float64, ... x P, scores 0..1.
    """
    scale = float(labels[-1])
    weights = np.arange(1, len(labels) + 1) / len(labels)
    weights = weights / weights.sum()
    limits, slopes, errors = (np.empty((len(EXPONENTS), *scores.shape[:-1])) for _ in range(3))
    for index, exponent in enumerate(EXPONENTS):
        limits[index], slopes[index], errors[index] = _line((labels / scale) ** -exponent, scores, weights)
    best = errors.argmin(axis=0)[None]
    a, b, error = (np.take_along_axis(values, best, axis=0)[0] for values in (limits, slopes, errors))
    return PowerLaws(a, b, EXPONENTS[best[0]], scale, np.sqrt(error))


def _line(x: Real, scores: Real, weights: Real) -> tuple[Real, Real, Real]:
    """``a``, ``b`` and the mean weighted squared error of the best ``a - b * x`` with ``a`` <= 1 and ``b`` >= 0."""
    mean_x, mean_y = (weights * x).sum(), (scores * weights).sum(axis=-1)
    variance = (weights * (x - mean_x) ** 2).sum()
    slope = -(weights * (x - mean_x) * (scores - mean_y[..., None])).sum(axis=-1) / variance
    slope = np.maximum(slope, 0.0)
    limit = mean_y + slope * mean_x
    through_one = np.maximum(((1 - scores) * weights * x).sum(axis=-1) / (weights * x**2).sum(), 0.0)
    slope, limit = np.where(limit > 1, through_one, slope), np.minimum(limit, 1.0)
    error = (weights * (scores - (limit[..., None] - slope[..., None] * x)) ** 2).sum(axis=-1)
    return limit, slope, error
