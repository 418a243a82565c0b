"""Intervals of coefficients, by drawing groups of images with replacement (the cluster bootstrap; Efron & Tibshirani
1993, chapters 8 and 13).

Each coefficient of this folder is a function of sums over the images. So a coefficient is two things: what one image
adds to the sums, and the function of the sums. Images that add the same are drawn together, which gives the same
distribution as drawing them one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pelagia_labeling.agreement.table import Codes, Real

DRAWS, LEVEL = 2000, 0.95
_CELLS = 1 << 22  # largest number of draws x groups in memory at once

Value = Callable[[Real], Real]
"""A function: sums over the images, float64, ... x terms -> the coefficients, float64, ... x coefficients."""


@dataclass(frozen=True)
class Estimate:
    """A coefficient and the middle 95% of its draws.

    Attributes:
        value: None if the coefficient is not defined, for example because everybody always named one class.
        low: lower end of the interval; None without an interval: all images are of one group, or most draws have no
            defined value.
        high: upper end of the interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def as_json(self) -> dict[str, object]:
        """Value and interval as plain values, with six digits."""
        ends = None if self.low is None or self.high is None else [round(self.low, 6), round(self.high, 6)]
        return {"value": None if self.value is None else round(self.value, 6), "interval": ends}

    def text(self) -> str:
        """Such as ``0.743 (0.612-0.850)``."""
        if self.value is None:
            return "not defined"
        interval = "" if self.low is None or self.high is None else f" ({self.low:.3f}\u2013{self.high:.3f})"
        return f"{self.value:.3f}{interval}"


def estimate(terms: Real, value: Value, groups: Codes, *, seed: int = 0, draws: int = DRAWS) -> list[Estimate]:
    """The coefficients of all images, each with its interval.

    Args:
        terms: float64, images x terms: what each image adds to the sums.
        value: the coefficients, as a function of the sums.
        groups: int64, images: the index of the group of each image.
        seed: seed of the random draws.
        draws: number of bootstrap samples.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.atleast_1d(value(terms.sum(axis=0)))
        parts = [np.atleast_2d(value(sums)) for sums in _drawn(terms, groups, seed, draws)]
    if not parts:
        return [Estimate(_defined(number)) for number in whole]
    drawn = np.concatenate(parts).reshape(-1, len(whole))
    return [_with_interval(number, column) for number, column in zip(whole, drawn.T, strict=True)]


def _drawn(terms: Real, groups: Codes, seed: int, draws: int) -> Iterator[Real]:
    """The sums of each draw, float64, draws x terms, in parts that fit into the memory."""
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return
    sums = np.zeros((len(names), terms.shape[1]))
    np.add.at(sums, group_of, terms)
    alike, number = _distinct_rows(sums)
    random = np.random.default_rng(seed)
    at_once = max(1, _CELLS // len(alike))
    for start in range(0, draws, at_once):
        times = random.multinomial(len(names), number / len(names), size=min(at_once, draws - start))
        yield times @ alike


def _distinct_rows(rows: Real) -> tuple[Real, Codes]:
    """The distinct rows, and how often each occurs. Rows are compared as bytes: `np.unique` by columns is slow."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, number = np.unique(whole, return_index=True, return_counts=True)
    return rows[first], number


def _defined(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _with_interval(number: float, drawn: Real) -> Estimate:
    finite = drawn[np.isfinite(drawn)]
    if _defined(number) is None or len(finite) < len(drawn) / 2:
        return Estimate(_defined(number))
    low, high = np.quantile(finite, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(float(number), float(low), float(high))
