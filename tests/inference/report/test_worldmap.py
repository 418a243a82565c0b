"""The map: what is land, and positions on both sides of the date line."""

from __future__ import annotations

import re

import pytest

from pelagia_inference.report.gather import SampleRows
from pelagia_inference.report.worldmap import Position, world_map


def land(svg: str) -> str:
    """The path of the land."""
    found = re.search(r'<path d="([^"]*)" fill="currentColor"', svg)
    assert found
    return found[1]


def degrees(svg: str) -> list[str]:
    return re.findall(r">([\d.]+°[EW]?)<", svg)


def place(*positions: Position) -> dict[Position, tuple[str, float]]:
    return dict.fromkeys(positions, ("S", 1.0))


def test_the_sahara_is_land_and_the_middle_of_the_pacific_is_not() -> None:
    assert land(world_map(place((10.0, 22.0)))).count("M") == 1  # the whole frame
    assert land(world_map(place((-140.0, 30.0)))) == ""


def test_positions_on_both_sides_of_the_date_line_are_neighbors() -> None:
    labels = degrees(world_map(place((179.8, -17.0), (-179.6, -17.4))))
    assert "180°" in labels
    assert not any(label.startswith("0°") for label in labels)


def test_a_transect_across_greenwich_is_not_turned_around() -> None:
    labels = degrees(world_map(place((-2.0, 50.0), (3.0, 51.0))))
    assert {"0°", "2°E"} <= set(labels)


def test_the_largest_number_has_the_largest_dot_and_names_are_escaped() -> None:
    svg = world_map({(3.0, 51.0): ("<b>", 1.0), (3.5, 51.5): ("large", 100.0)})
    found = re.findall(r' r="([\d.]+)".*?<title>(.*?)</title>', svg)
    sizes = {name: float(radius) for radius, name in found}
    assert sizes["large"] > 2 * sizes["&lt;b&gt;"]


@pytest.mark.parametrize("span", [0.1, 0.7, 1.0, 1.7, 3.1, 4.4, 9.0, 30.0, 100.0])
def test_the_scale_bar_has_a_length_at_every_scale(span: float) -> None:
    svg = world_map(place((0.0, 0.0), (span, span / 2)))
    found = re.search(r"v4h([\d.]+)v-4.*?>([\d.]+) km<", svg)
    assert found
    assert 40 < float(found[1]) <= 180
    assert float(found[2]) > 0


def test_the_mean_position_of_a_sample_on_the_date_line_is_on_it() -> None:
    sample = SampleRows()
    sample.place(179.0, -17.0)
    sample.place(-179.0, -18.0)
    assert sample.position is not None
    assert abs(sample.position[0]) == pytest.approx(180)
    assert sample.position[1] == -17.5


def test_a_map_at_sea_is_wide_enough_to_show_the_next_coast() -> None:
    svg = world_map(place((2.5, 54.2), (3.5, 55.0)))
    assert "M" in land(svg)
    assert len(set(degrees(svg))) >= 3
