"""Charts as SVG text for an HTML page, drawn by matplotlib; they need no network and no script.

Invariant: a chart takes its text color and its font from the page, so it is readable in light and in dark mode. Its
identifiers begin with the chart's name, so that one page can hold several charts. The same data give the same text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from pelagia_training.figures.metrics import ReliabilityDiagram

_INK = "#010203"  # a placeholder, replaced by the page's text color in the finished SVG
_COLORS = ("#2f7ed8", "#d9822b", "#2a9d6f", "#a05195")
_STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "pelagia",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=_COLORS),
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def reliability_chart(reliability: ReliabilityDiagram) -> str:
    """The reliability diagram: accuracy against confidence, one dot per bin; the diagonal is perfect calibration."""

    def draw(axes: Axes) -> None:
        low = min(0.9, *reliability.confidence, *reliability.accuracy) - 0.03
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle="--", label="perfectly calibrated")
        axes.plot(reliability.confidence, reliability.accuracy, marker="o", markersize=5, label="this model")
        axes.set(xlim=(low, 1.01), ylim=(low, 1.01), xlabel="confidence", ylabel="accuracy")
        axes.legend(loc="upper left")

    return _svg("reliability", draw)


def curves_chart(name: str, curves: Mapping[str, Sequence[float]], ylabel: str) -> str:
    """A chart of one or more curves over the epochs 1, 2, ...

    Args:
        name: prefix of the SVG's identifiers, letters only.
        curves: label of a curve -> its values, one value per epoch.
        ylabel: label of the vertical axis.
    """

    def draw(axes: Axes) -> None:
        for label, values in curves.items():
            axes.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 3 else "", label=label)
        axes.set(xlabel="epoch", ylabel=ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    return _svg(name, draw)


def levels_chart(
    name: str, levels: Sequence[float], curves: Mapping[str, Sequence[float]], unchanged: float, xlabel: str
) -> str:
    """A chart of one or more shares (0..1) against the levels of a disturbance.

    Args:
        name: prefix of the SVG's identifiers, letters and digits only.
        levels: the levels, in the order of the axis.
        curves: label of a curve -> its values, one value per level.
        unchanged: the value of the first curve without a disturbance, drawn as a dashed line.
        xlabel: label of the horizontal axis.
    """

    def draw(axes: Axes) -> None:
        places = range(len(levels))
        axes.axhline(unchanged, color=_INK, linewidth=0.8, linestyle="--")
        for label, values in curves.items():
            axes.plot(places, values, marker="o", markersize=5, label=label)
        axes.set(ylim=(0, 1.02), xlabel=xlabel)
        axes.set_xticks(places, [f"{level:g}" for level in levels])
        axes.legend(loc="lower left")

    return _svg(name, draw)


def speed_chart(
    name: str,
    others: Mapping[str, Sequence[tuple[float, float]]],
    best: Sequence[tuple[float, float]],
    wanted: Sequence[float],
    ylabel: str,
) -> str:
    """A chart of an accuracy against images/s, with a numbered line through the best points.

    Args:
        name: prefix of the SVG's identifiers, letters only.
        others: label of a kind of points -> (images/s, accuracy) of each of the other points.
        best: the points of the line, which are numbered from 1.
        wanted: images/s to mark with a dashed line.
        ylabel: label of the vertical axis.
    """

    def draw(axes: Axes) -> None:
        for label, marker, color in zip(others, "osD", ("#808080", *_COLORS[1:]), strict=False):
            rates, values = zip(*others[label], strict=True)
            axes.plot(rates, values, marker, markersize=3.5, color=color, alpha=0.6, label=label)
        rates, values = zip(*best, strict=True)
        axes.plot(rates, values, marker="o", markersize=5, color=_COLORS[0], label="frontier")
        for number, point in enumerate(best, 1):
            axes.annotate(str(number), point, (0, 5), textcoords="offset points", ha="center")
        axes.set(xscale="log", xlabel="images/s", ylabel=ylabel)
        axes.margins(0.08, 0.12)
        limits = axes.get_xlim()
        for rate in wanted:
            if limits[0] <= rate <= limits[1]:
                axes.axvline(rate, color=_INK, linewidth=0.8, linestyle="--", zorder=0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, columnspacing=1)  # above all points

    return _svg(name, draw)


def sizes_chart(sides: Sequence[int]) -> str:
    """A histogram of the images' longer sides, in pixels."""

    def draw(axes: Axes) -> None:
        low, high = min(sides), max(sides)
        edges = np.geomspace(low, high, 30).tolist() if low < high else 10
        axes.hist(sides, bins=edges)
        axes.set(xscale="log", xlabel="longer side, pixels", ylabel="images")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axes.locator_params(axis="y", nbins=5)

    return _svg("sizes", draw)


def _svg(name: str, draw: Callable[[Axes], None]) -> str:
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.1), layout="constrained")
        draw(figure.subplots())
        page = io.StringIO()
        figure.savefig(page, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = page.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(id="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text).replace(_INK, "currentColor")
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
