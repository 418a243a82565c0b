"""Draws axes, bars, dots and lines as SVG text.

Invariant: every text in a chart is escaped here. A chart takes its text color and font from the page, so it is readable
in light and in dark mode. The same data give the same text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from pelagia.system.files import printable
from pelagia_inference.counts.table import amount

COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#ffaabb", "#997700")
"""Colors that people with color blindness can tell apart, mostly after Paul Tol's schemes."""
OTHERS = "#9aa5b1"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CHARACTER = 6.2
"""About how wide a character of 11 units is."""


def safe(text: str) -> str:
    """A text that may stand in the markup of a chart."""
    return escape(printable(text))


def number_text(value: float) -> str:
    """A number as a person writes it: at most three digits that count, or a power of ten."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        digits, _, power = f"{value:.1e}".partition("e")
        ten = "10" + str(int(power)).translate(_RAISED)
        return ten if digits == "1.0" else f"{digits}·{ten}"
    return amount(value)


def short(text: str, most: int) -> str:
    """A text of at most ``most`` characters; what is cut is an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``: steps of 1, 2 or 5."""
    if high <= low:
        return [low]
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= raw)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


_MOST_TICKS = 7


def powers(low: float, high: float) -> list[float]:
    """The powers of ten from ``low`` to ``high``, both above 0; 1, 2 and 5 of each if they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [part * 10.0**power for power in range(first, last + 1) for part in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    if len(inside) <= _MOST_TICKS:
        return inside
    every = math.ceil((last - first) / 8)
    return [value for value in found[:: 3 * every] if low <= value <= high]


class Plot:
    """A chart with two axes.

    Args:
        size: width and height in units of the SVG; a unit is a pixel of a chart at its natural size.
        x, y: the values at the ends of the axes, low and high; both above 0 on an axis with logarithms.
        log: the axes with logarithms: "", "x", "y" or "xy".
        margins: room at the left, right, top and bottom.
        down: whether the values of y grow downwards.
    """

    def __init__(
        self,
        size: tuple[float, float],
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        log: str = "",
        margins: tuple[float, float, float, float] = (56, 10, 10, 40),
        down: bool = False,
    ) -> None:
        self.width, self.height = size
        self.left, self.top = margins[0], margins[2]
        self.right, self.bottom = self.width - margins[1], self.height - margins[3]
        self._log = log
        self.x_range, self.y_range = x, y
        ends = (self.top, self.bottom) if down else (self.bottom, self.top)
        self.x = _scale(x, (self.left, self.right), "x" in log)
        self.y = _scale(y, ends, "y" in log)
        self._parts: list[str] = []

    def add(self, markup: str) -> None:
        """Adds SVG whose text is escaped already."""
        self._parts.append(markup)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", turn: float = 0, size: float = 11) -> None:
        """Writes a text; the place is in units of the SVG."""
        turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self.add(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:g}" fill="currentColor"{turned}>'
            f"{safe(text)}</text>"
        )

    def bar(self, x: tuple[float, float], y: tuple[float, float], color: str, gap: float = 0.0) -> None:
        """Draws a bar between two values of x and of y. ``gap``: units to leave free at the right and the bottom."""
        left, right = sorted((self.x(x[0]), self.x(x[1])))
        top, bottom = sorted((self.y(y[0]), self.y(y[1])))
        if right - left > 0.05 and bottom - top > 0.05:
            width, height = max(right - left - gap, 0.3), max(bottom - top, 0.3)
            self.add(f'<path fill="{color}" d="M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z"/>')

    def dot(self, x: float, y: float, color: str, radius: float = 3) -> None:
        """Draws a dot at a value of x and of y."""
        self.add(f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius:g}" fill="{color}"/>')

    def line(self, x: tuple[float, float], y: tuple[float, float], color: str, width: float = 1.5) -> None:
        """Draws a line between two points."""
        start, end = (self.x(x[0]), self.y(y[0])), (self.x(x[1]), self.y(y[1]))
        self.add(
            f'<path stroke="{color}" stroke-width="{width:g}" d="M{start[0]:.1f} {start[1]:.1f}'
            f'L{end[0]:.1f} {end[1]:.1f}"/>'
        )

    def axes(self, x_label: str = "", y_label: str = "", *, x_ticks: bool = True, y_ticks: bool = True) -> None:
        """Draws both axes with round numbers."""
        for value in self._ticks("x") if x_ticks else ():
            self.add(f'<path stroke="currentColor" d="M{self.x(value):.1f} {self.bottom:.1f}v4"/>')
            self.text(self.x(value), self.bottom + 16, number_text(value))
        for value in self._ticks("y") if y_ticks else ():
            y = self.y(value)
            self.add(
                f'<path stroke="currentColor" stroke-opacity=".15" d="M{self.left:.1f} {y:.1f}H{self.right:.1f}"/>'
            )
            self.text(self.left - 6, y + 4, number_text(value), "end")
        self.add(
            f'<path stroke="currentColor" fill="none" d="M{self.left:.1f} {self.top:.1f}V{self.bottom:.1f}'
            f'H{self.right:.1f}"/>'
        )
        if x_label:
            self.text((self.left + self.right) / 2, self.height - 6, x_label)
        if y_label:
            self.text(12, (self.top + self.bottom) / 2, y_label, turn=-90)

    def _ticks(self, axis: str) -> list[float]:
        low, high = self.x_range if axis == "x" else self.y_range
        room = (self.right - self.left) / 90 if axis == "x" else (self.bottom - self.top) / 45
        return powers(low, high) if axis in self._log else ticks(low, high, max(2, int(room)))

    def svg(self) -> str:
        """The chart as SVG text."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" font-size="11" aria-hidden="true">'
            f"{''.join(self._parts)}</svg>"
        )


def names_below(plot: Plot, centers: Sequence[float], names: Sequence[str], most: int = 16) -> None:
    """Writes names below the x axis, turned, as many as there is room for, without what all of them begin with."""
    every = max(1, math.ceil(len(names) * 14 / (plot.right - plot.left)))
    for center, name in list(zip(centers, _without_start(names), strict=True))[::every]:
        plot.text(plot.x(center) + 4, plot.bottom + 12, short(name, most), "end", -45)


def room_below(names: Sequence[str], most: int = 16) -> float:
    """The room that `names_below` needs."""
    return 22 + 0.72 * _CHARACTER * min(most, max(map(len, _without_start(names)), default=0))


def _without_start(names: Sequence[str]) -> list[str]:
    """The names without the words that all of them begin with."""
    if len(names) < 2:
        return list(names)
    first, last = min(names), max(names)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    cut = max(first.rfind(sign, 0, same) for sign in "_-/. ") + 1
    return [name[cut:] or name for name in names]


def _scale(values: tuple[float, float], places: tuple[float, float], log: bool) -> Callable[[float], float]:
    low, high = map(math.log10, values) if log else values
    span = high - low or 1.0

    def place(value: float) -> float:
        at = math.log10(max(value, 1e-300)) if log else value
        return places[0] + (at - low) / span * (places[1] - places[0])

    return place
