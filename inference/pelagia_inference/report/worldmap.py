"""A map of positions with the coast, without a network.

The coast is Natural Earth's land at 1:50 million (public domain), simplified to 0.02 degrees by `scripts/coastline.py`.
The projection is equirectangular, true to scale at the middle latitude of the map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia_inference.report.plot import COLORS, Plot, safe, ticks

Position = tuple[float, float]
"""Longitude and latitude in degrees."""
Real = NDArray[np.float64]
_WIDTH = 640.0
_TEXT = 13.0
_ROOMS = (1.35, 2.7, 5.4)
"""How much larger than the positions the map is: the first with land, so that one sees where it is."""
_TOLERANCE = 0.7
"""How far a coast may be from where it is, in units of the SVG."""
_KM_PER_DEGREE = 111.2
_LEAST_SPAN = 0.5
_HUNDREDTHS = 100.0


def world_map(places: Mapping[Position, tuple[str, float]]) -> str:
    """A map as SVG.

    Args:
        places: position -> its name, and the number that the area of its dot stands for.
    """
    lon, lat = around([place[0] for place in places]), [place[1] for place in places]
    plots = [_plot(lon, lat, room) for room in _ROOMS]
    plot, land = next(((plot, land) for plot in plots if (land := _land(plot))), (plots[0], ""))
    _grid(plot)
    plot.add(
        f'<path d="{land}" fill="currentColor" fill-opacity=".16" stroke="currentColor" '
        'stroke-opacity=".55" stroke-width=".8" fill-rule="evenodd"/>'
    )
    largest = 9.0 if len(places) <= 60 else 5.0
    most = max(number for _, number in places.values()) or 1.0
    for (name, number), x, y in sorted(zip(places.values(), lon, lat, strict=True), key=lambda one: -one[0][1]):
        radius = 2.5 + largest * math.sqrt(number / most)
        plot.add(
            f'<circle cx="{plot.x(x):.1f}" cy="{plot.y(y):.1f}" r="{radius:.1f}" fill="{COLORS[1]}" fill-opacity=".65" '
            f'stroke="currentColor" stroke-width=".8"><title>{safe(name)}</title></circle>'
        )
    _scale_bar(plot)
    return plot.svg()


def _plot(lon: list[float], lat: list[float], room: float) -> Plot:
    west, east, south, north = _frame(lon, lat, room)
    height = min(600.0, _WIDTH * (north - south) / ((east - west) * _flat(south, north)))
    return Plot((_WIDTH, height + 34), (west, east), (south, north), margins=(58, 8, 8, 26))


def around(longitudes: list[float]) -> list[float]:
    """Longitudes without a jump at the date line: they begin after the widest gap between two of them."""
    order = sorted({longitude % 360 for longitude in longitudes})
    gaps = [after - before for before, after in zip(order, [*order[1:], order[0] + 360], strict=True)]
    start = order[(gaps.index(max(gaps)) + 1) % len(order)]
    turned = [start + (longitude - start) % 360 for longitude in longitudes]
    middle = (min(turned) + max(turned)) / 2
    return [longitude - 360 * round(middle / 360) for longitude in turned]


def _flat(south: float, north: float) -> float:
    """How long a degree of longitude is in the middle of the map, compared with one of latitude."""
    return max(math.cos(math.radians((south + north) / 2)), 0.1)


def _frame(lon: list[float], lat: list[float], room: float) -> tuple[float, float, float, float]:
    """West, east, south and north of the map: the positions with room around them, not too narrow."""
    middle_x, middle_y = (min(lon) + max(lon)) / 2, (min(lat) + max(lat)) / 2
    flat = _flat(middle_y, middle_y)
    wide = max(max(lon) - min(lon), _LEAST_SPAN / flat) * room
    high = max(max(lat) - min(lat), _LEAST_SPAN) * room
    high = max(high, wide * flat * 0.4)
    wide = max(wide, high / flat / 0.66)
    south, north = max(middle_y - high / 2, -90.0), min(middle_y + high / 2, 90.0)
    wide = min(wide, 360.0)
    return middle_x - wide / 2, middle_x + wide / 2, south, north


@cache
def _rings() -> list[Real]:
    """The rings of the land, each float64, N x 2: longitude and latitude in degrees."""
    with files("pelagia_inference.report").joinpath("coastline.npz").open("rb") as file, np.load(file) as stored:
        points = stored["points"].astype(np.float64) / _HUNDREDTHS
        return np.split(points, stored["starts"][1:-1])


def _land(plot: Plot) -> str:
    """The land inside a map as the text of a path; empty if there is none."""
    box = (*plot.x_range, *plot.y_range)
    corner = np.array((plot.x_range[0], plot.y_range[0]))
    scale = np.array((plot.right - plot.left, plot.top - plot.bottom)) / (np.array(box[1::2]) - corner)
    shown = (_inside(ring + np.array((turn, 0.0)), box) for ring in _rings() for turn in (-360.0, 0.0, 360.0))
    return "".join(_path((ring - corner) * scale + (plot.left, plot.bottom)) for ring in shown if len(ring) > 2)


def _path(units: Real) -> str:
    """A closed path in whole units, with no more points than one can see."""
    kept = np.round(cv2.approxPolyDP(units.astype(np.float32), _TOLERANCE, closed=True)[:, 0]).astype(int)
    steps = np.diff(kept, axis=0)
    return f"M{kept[0][0]} {kept[0][1]}l{' '.join(f'{dx} {dy}' for dx, dy in steps)}z" if len(steps) > 1 else ""


def _inside(ring: Real, box: tuple[float, float, float, float]) -> Real:
    """The part of a ring inside west, east, south and north (Sutherland and Hodgman, 1974)."""
    west, east, south, north = box
    low, high = ring.min(axis=0), ring.max(axis=0)
    if low[0] > east or high[0] < west or low[1] > north or high[1] < south:
        return ring[:0]
    for axis, sign, limit in ((0, 1, west), (0, -1, east), (1, 1, south), (1, -1, north)):
        distance = sign * (ring[:, axis] - limit)
        if (distance >= 0).all():
            continue
        ring = _cut(ring, distance)
        if len(ring) < 3:
            return ring[:0]
    return ring


def _cut(ring: Real, distance: Real) -> Real:
    """The part of a ring whose points have a distance of 0 or more, with the points where it crosses the line."""
    kept = []
    for index in range(len(ring)):
        here, before = distance[index], distance[index - 1]
        if (here >= 0) != (before >= 0):
            kept.append(ring[index - 1] + (ring[index] - ring[index - 1]) * (before / (before - here)))
        if here >= 0:
            kept.append(ring[index])
    return np.array(kept).reshape(-1, 2)


def _grid(plot: Plot) -> None:
    plot.add(
        f'<path d="M{plot.left:.1f} {plot.top:.1f}H{plot.right:.1f}V{plot.bottom:.1f}H{plot.left:.1f}z" fill="#4477aa" '
        'fill-opacity=".1" stroke="currentColor" stroke-opacity=".5"/>'
    )
    for value in ticks(*plot.x_range, 6):
        x, degrees = plot.x(value), (value + 180) % 360 - 180
        plot.add(f'<path stroke="currentColor" stroke-opacity=".2" d="M{x:.1f} {plot.top:.1f}V{plot.bottom:.1f}"/>')
        plot.text(x, plot.bottom + 17, _degrees(degrees, "E", "W"), size=_TEXT)
    for value in ticks(*plot.y_range, 5):
        y = plot.y(value)
        plot.add(f'<path stroke="currentColor" stroke-opacity=".2" d="M{plot.left:.1f} {y:.1f}H{plot.right:.1f}"/>')
        plot.text(plot.left - 5, y + 4, _degrees(value, "N", "S"), "end", size=_TEXT)


def _degrees(value: float, positive: str, negative: str) -> str:
    side = "" if value in (0, -180) else positive if value > 0 else negative
    return f"{abs(value):.4g}°{side}"


def _scale_bar(plot: Plot) -> None:
    south, north = plot.y_range
    km_per_unit = (north - south) * _KM_PER_DEGREE / (plot.bottom - plot.top)
    km = ticks(0, 180 * km_per_unit, 3)[-1]
    x, y, length = plot.left + 12, plot.bottom - 12, km / km_per_unit
    plot.add(f'<path stroke="currentColor" stroke-width="2" fill="none" d="M{x:.1f} {y - 4:.1f}v4h{length:.1f}v-4"/>')
    plot.text(x + length / 2, y - 6, f"{km:g} km", size=_TEXT)
