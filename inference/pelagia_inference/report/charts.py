"""The charts of a survey's report, as SVG text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia_inference.report.plot import COLORS, OTHERS, Plot, names_below, room_below, safe, short

Real = NDArray[np.float64]
Ends = tuple[float, float]
Place = Callable[[Ends], tuple[Ends, Ends]]
"""From the ends of a part of a bar to its ends in x and in y."""
MOST_COLORS = len(COLORS)
_SMALL = (350.0, 240.0)
"""Size of a chart that stands beside others."""
_MOST_NAMES = 24


def colors_of(names: Sequence[str]) -> list[str]:
    """A color for each name; those after the tenth share one."""
    return [*COLORS, *[OTHERS] * len(names)][: len(names)]


def stacked(bars: Sequence[str], names: Sequence[str], shares: Real, label: str) -> str:
    """Bars side by side, each with the shares of the names.

    Args:
        bars: the names of the bars, from left to right.
        names: what the parts of a bar are, from the bottom up.
        shares: float64, bars x names, 0..1.
        label: label of the axis of the bars.
    """
    plot = Plot((900, 290 + room_below(bars)), (0, len(bars)), (0, 100), margins=(56, 10, 10, 24 + room_below(bars)))
    plot.axes(label, "% of the sample", x_ticks=False)
    for index, (bar, row) in enumerate(zip(bars, shares, strict=True)):
        plot.add(f"<g><title>{safe(_told(bar, names, row))}</title>")
        _stack(plot, row, colors_of(names), _upright(index))
        plot.add("</g>")
    names_below(plot, [index + 0.5 for index in range(len(bars))], bars)
    return plot.svg()


def by_depth(bands: Sequence[str], names: Sequence[str], shares: Real) -> str:
    """Bars one below the other, the shallowest at the top; the arguments are those of `stacked`."""
    height = 26 * len(bands) + 60
    plot = Plot((460, height), (0, 100), (0, len(bands)), margins=(110, 14, 8, 40), down=True)
    plot.axes("% of the images", y_ticks=False)
    for index, (band, row) in enumerate(zip(bands, shares, strict=True)):
        plot.add(f"<g><title>{safe(_told(band, names, row))}</title>")
        _stack(plot, row, colors_of(names), _lying(index))
        plot.add("</g>")
        plot.text(plot.left - 6, plot.y(index + 0.5) + 4, short(band, 17), "end")
    return plot.svg()


def _upright(at: int) -> Place:
    return lambda part: ((at, at + 1), part)


def _lying(at: int) -> Place:
    return lambda part: (part, (at + 0.08, at + 0.92))


def _stack(plot: Plot, row: Real, colors: Sequence[str], place: Place) -> None:
    ends = np.concatenate(([0.0], np.cumsum(row))) * 100
    for color, low, high in zip(colors, ends, ends[1:], strict=False):
        if high > low:
            x, y = place((float(low), float(high)))
            plot.bar(x, y, color, gap=0.6)


def _told(bar: str, names: Sequence[str], row: Real) -> str:
    order = [int(index) for index in np.argsort(-row, kind="stable")[:3] if row[index] > 0]
    return f"{bar}: {', '.join(f'{names[index]} {row[index]:.0%}' for index in order)}"


def intervals(samples: Sequence[str], values: Real, low: Real, high: Real, color: str, label: str) -> str:
    """A value with its interval for each sample, from left to right.

    Args:
        values, low, high: float64, one for each sample; not a number: not known.
    """
    top = float(np.nanmax(np.concatenate((values, high, [0.0])))) or 1.0
    named = samples if len(samples) <= _MOST_NAMES else ()
    room = room_below(named) if named else 22.0
    plot = Plot((_SMALL[0], 170 + room), (0, len(samples)), (0, top * 1.05), margins=(60, 8, 8, 8 + room))
    plot.axes("" if named else "samples", label, x_ticks=False)
    radius = 3.0 if len(samples) <= 60 else 1.8
    for index, (value, least, most) in enumerate(zip(values, low, high, strict=True)):
        if np.isfinite(least) and np.isfinite(most):
            plot.line((index + 0.5, index + 0.5), (float(least), float(most)), color, 1.2)
        if np.isfinite(value):
            plot.dot(index + 0.5, float(value), color, radius)
    names_below(plot, [index + 0.5 for index in range(len(named))], named)
    return plot.svg()


def histogram(
    edges: Sequence[float], parts: Mapping[str, Sequence[float]], x_label: str, y_label: str, *, log: bool = False
) -> str:
    """A histogram whose bars are divided.

    Args:
        edges: the ends of the bars, one more than there are bars.
        parts: what the bars are made of, from the bottom up -> its part of each bar.
        log: whether the x axis has logarithms.
    """
    counts = np.array(list(parts.values()), np.float64)
    top = float(counts.sum(axis=0).max()) or 1.0
    plot = Plot(_SMALL, (float(edges[0]), float(edges[-1])), (0, top * 1.05), log="x" * log)
    plot.axes(x_label, y_label)
    for column in range(counts.shape[1]):
        base = 0.0
        for color, count in zip(colors_of(list(parts)), counts[:, column], strict=True):
            plot.bar((float(edges[column]), float(edges[column + 1])), (base, base + float(count)), color, gap=0.5)
            base += float(count)
    return plot.svg()


def spectrum(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str) -> str:
    """Dots on two axes with logarithms; all values are above 0."""
    x_range = (min(x) / 1.6, max(x) * 1.6)
    plot = Plot(_SMALL, x_range, (min(y) / 2, max(y) * 2), log="xy", margins=(66, 10, 10, 40))
    plot.axes(x_label, y_label)
    for one, other in zip(x, y, strict=True):
        plot.dot(one, other, COLORS[0], 3.5)
    return plot.svg()


def ranges(names: Sequence[str], low: Real, middle: Real, high: Real, x_label: str) -> str:
    """For each name a line from ``low`` to ``high`` (0..1), with a dot in the middle."""
    left = 14 + 6.2 * min(24, max(map(len, names)))
    plot = Plot((_SMALL[0], 18 * len(names) + 56), (0, 1), (0, len(names)), margins=(left, 14, 6, 40), down=True)
    plot.axes(x_label, y_ticks=False)
    for index, name in enumerate(names):
        at = index + 0.5
        plot.line((float(low[index]), float(high[index])), (at, at), COLORS[0], 2)
        plot.dot(float(middle[index]), at, COLORS[0], 4)
        plot.text(plot.left - 6, plot.y(at) + 4, short(name, 24), "end")
    return plot.svg()
