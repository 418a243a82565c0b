"""Intervals of Poisson counts against the gamma distribution of SciPy."""

import pytest
from scipy.stats import gamma

from pelagia_inference.counts.poisson import interval


@pytest.mark.parametrize("count", [0, 1, 2, 5, 50, 999, 1000, 20_000])
def test_an_interval_is_that_of_garwood(count: int) -> None:
    low, high = interval(count)
    assert low == pytest.approx(gamma.ppf(0.05, count) if count else 0.0, rel=2e-5)
    assert high == pytest.approx(gamma.ppf(0.95, count + 1), rel=2e-5)


def test_it_is_interpolated_between_whole_numbers() -> None:
    assert interval(2.25)[0] == pytest.approx(interval(2)[0] + 0.25 * (interval(3)[0] - interval(2)[0]))
