"""Numbers and ticks of charts, as people write them."""

from __future__ import annotations

import pytest

from pelagia_inference.report.plot import Plot, names_below, number_text, powers, ticks


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (0.25, "0.25"), (1234.4, "1,234"), (1e6, "10⁶"), (2.5e7, "2.5·10⁷"), (1e-5, "10⁻⁵")],
)
def test_a_number_is_written_as_people_do(value: float, text: str) -> None:
    assert number_text(value) == text


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.3, 0.35, 4) == pytest.approx([-0.2, 0, 0.2])
    assert powers(3, 900) == [5, 10, 20, 50, 100, 200, 500]
    assert powers(1, 1e8) == [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]


def test_names_are_short_and_escaped() -> None:
    plot = Plot((400, 200), (0, 2), (0, 1))
    names_below(plot, [0.5, 1.5], ["CRUISE_<b>1", "CRUISE_<b>2"])
    assert "&lt;b&gt;1<" in plot.svg()
    assert "CRUISE" not in plot.svg()
