"""Counts by class and sample, and the composition along the transect and by depth."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.pages.page import Cell, Chart, Table, count_cell
from pelagia_inference.counts.counts import Count, Counts
from pelagia_inference.counts.taxa import CLASS, TAXON
from pelagia_inference.report.charts import MOST_COLORS, colors_of, intervals, stacked
from pelagia_inference.report.gather import SampleRows
from pelagia_inference.report.plot import number_text
from pelagia_inference.report.worldmap import around

Real = NDArray[np.float64]
MOST_BARS = 120
MOST_DOTS = 400
MOST_ROWS = 300
MOST_CLASSES = MOST_COLORS
_SMALL = 6
OTHERS = "all others"
_NOTHING = 0.005
"""A corrected number of images below this is shown as 0."""


@dataclass(frozen=True)
class Matrix:
    """Counts as arrays, samples x classes, float64; not a number: not known.

    Attributes:
        samples: the names of the samples in the order of the transect.
        classes: the names of the classes.
        values: the corrected number, or the images that the machine and people gave the class.
        low, high: the ends of the interval.
        per_liter, per_liter_low, per_liter_high: the same in a liter of water.
    """

    samples: tuple[str, ...]
    classes: tuple[str, ...]
    values: Real
    low: Real
    high: Real
    per_liter: Real
    per_liter_low: Real
    per_liter_high: Real

    def with_ends(self, liters: bool) -> tuple[Real, Real, Real]:
        """The numbers with the ends of their intervals: organisms in a liter, or images."""
        if liters:
            return self.per_liter, self.per_liter_low, self.per_liter_high
        return self.values, self.low, self.high

    @property
    def order(self) -> list[int]:
        """The classes that were found, the most frequent first."""
        total = np.nansum(self.values, axis=0)
        return [int(index) for index in np.argsort(-total, kind="stable") if total[index] > 0]


def has_intervals(counts: Counts) -> bool:
    """Whether counts have intervals."""
    return any(ends_of(count)[1] is not None for count in class_counts(counts))


def class_counts(counts: Counts) -> list[Count]:
    """The counts of classes, without those of taxa."""
    return [count for count in counts.counts if count.kind == CLASS]


def taxon_counts(counts: Counts) -> list[Count]:
    """The counts of taxa."""
    return [count for count in counts.counts if count.kind == TAXON]


def matrix_of(counts: Counts, order: Sequence[str]) -> Matrix:
    """The counts of classes as arrays.

    Args:
        order: the names of the samples in the order of the transect; samples that are missing are left out.
    """
    rows = class_counts(counts)
    classes = {name: index for index, name in enumerate(dict.fromkeys(row.name for row in rows))}
    samples = {name: index for index, name in enumerate(order)}
    arrays = np.full((6, len(samples), len(classes)), np.nan)
    for row in rows:
        if row.sample in samples:
            best = row.corrected if row.corrected is not None else float(row.raw + row.confirmed)
            cells = (best, *ends_of(row), row.per_liter, row.per_liter_low, row.per_liter_high)
            arrays[:, samples[row.sample], classes[row.name]] = [np.nan if cell is None else cell for cell in cells]
    return Matrix(tuple(samples), tuple(classes), *arrays)


def transect(counts: Counts, rows: Mapping[str, SampleRows]) -> tuple[list[str], str]:
    """The samples that have images, in order, and what the order is in words."""
    names = [sample.name for sample in counts.samples if sample.images]
    known = {name: rows[name] for name in names if name in rows}
    dates = {name: row.first for name, row in known.items() if row.first}
    if len(dates) == len(names) and len(set(dates.values())) > 1 and all(map(_is_iso, dates.values())):
        return sorted(names, key=lambda name: (dates[name], _natural(name))), "by date"
    places = {name: row.position for name, row in known.items() if row.position}
    if len(places) == len(names) and len(set(places.values())) > 1:
        points = np.array([places[name] for name in names], np.float64)
        points[:, 0] = around(points[:, 0].tolist())
        spread = np.ptp(points, axis=0)
        axis = int(spread[1] > spread[0])
        words = ("from west to east", "from south to north")[axis]
        return [names[index] for index in np.argsort(points[:, axis], kind="stable")], words
    return sorted(names, key=_natural), "by name, because not all samples have different dates or positions"


def _is_iso(text: str) -> bool:
    return re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts station 9 before station 10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name))


def ends_of(count: Count) -> tuple[float | None, float | None]:
    """The interval of a count; without a correction that of chance alone."""
    if count.corrected is not None or count.low is not None:
        return count.low, count.high
    return count.counted_low, count.counted_high


def totals_table(counts: Counts, *, taxa: bool = False) -> Table:
    """One row for each class that was found: its images in all samples. ``taxa``: for each taxon instead."""
    rows: dict[str, list[Count]] = defaultdict(list)
    for count in taxon_counts(counts) if taxa else class_counts(counts):
        rows[f"{count.name} ({count.rank})" if taxa and count.rank else count.name].append(count)
    shown = "Corrected" if counts.method else "Interval" if has_intervals(counts) else ""
    total = sum(map(_best, class_counts(counts))) or 1.0
    with_cells = any(count.cells is not None for count in class_counts(counts))
    cells = []
    for name, group in rows.items():
        raw, people, best = (
            sum(values) for values in zip(*((c.raw, c.confirmed, _best(c)) for c in group), strict=True)
        )
        if not raw and not people and best < 0.5:
            continue
        row = [Cell(name), count_cell(raw), count_cell(people)]
        row += [_with_ends(best, group)] if shown else []
        row += [_cells_on_images(group)] if with_cells else []
        cells.append([*row, Cell(f"{best / total:.1%}", best / total)])
    added = [name for name, is_shown in ((shown, shown), ("Cells", with_cells)) if is_shown]
    columns = ("Taxon" if taxa else "Class", "Machine", "People", *added, "Share")
    return Table(columns, sorted(cells, key=lambda row: -row[-1].value))


def _cells_on_images(group: Sequence[Count]) -> Cell:
    """The cells on the images of a class in all samples; empty if they are not known for one with images."""
    if any(count.cells is None and _best(count) >= 0.5 for count in group):
        return Cell("", -1.0)
    total = sum(count.cells or 0.0 for count in group)
    return Cell(f"{total:,.0f}", total)


def _best(count: Count) -> float:
    return float(count.raw + count.confirmed) if count.corrected is None else count.corrected


def _with_ends(best: float, group: Sequence[Count]) -> Cell:
    """The corrected number of a class. Its interval goes from the sum of the low ends to the sum of the high ends.

    So it is wider than needed if there are several samples, whatever the errors of the samples have in common.
    """
    low, high = ([end for end in ends if end is not None] for ends in zip(*map(ends_of, group), strict=True))
    known = len(low) == len(high) == len(group)
    return Cell(number_text(best), best, f"{number_text(sum(low))}–{number_text(sum(high))}" if known else "")


def samples_table(matrix: Matrix, liters: bool) -> Table:
    """One row for each sample, in the order of the transect; the classes with the most images are columns."""
    values, low, high = matrix.with_ends(liters)
    values = np.where(matrix.values < _NOTHING, values * 0, values)
    shown = matrix.order[:MOST_CLASSES]
    rest = matrix.order[MOST_CLASSES:]
    rows = []
    for index, name in enumerate(matrix.samples[:MOST_ROWS]):
        row = [Cell(name)] + [_cell(values[index, at], low[index, at], high[index, at]) for at in shown]
        rows.append(row + ([_cell(np.nansum(values[index, rest]), np.nan, np.nan)] if rest else []))
    return Table(("Sample", *(matrix.classes[at] for at in shown), *((OTHERS,) if rest else ())), rows)


def _cell(value: float, low: float, high: float) -> Cell:
    if not np.isfinite(value):
        return Cell("–", -1.0)
    ends = f"{number_text(float(low))}–{number_text(float(high))}" if np.isfinite(low) and np.isfinite(high) else ""
    return Cell(number_text(float(value)), float(value), ends)


def legend(matrix: Matrix) -> list[tuple[str, str]]:
    """The colors of the compositions: color and name."""
    names = parts_of(matrix)[0]
    return list(zip(colors_of(names), names, strict=True))


def numbers_shown(counts: Counts) -> str:
    """Which numbers a chart of the composition shows, in one sentence."""
    both = [(one.corrected, one.raw + one.confirmed) for one in class_counts(counts)]
    if any(corrected is not None and abs(corrected - counted) > _NOTHING for corrected, counted in both):
        return "Corrected counts, with the images that people confirmed."
    return "Counts of the machine and of people, not corrected."


def along_transect(matrix: Matrix, words: str, liters: bool) -> Chart:
    """The composition of each sample, or of groups of neighboring samples if there are many.

    Args:
        words: what is shown, and the order of the samples, in sentences.
        liters: whether organisms in a liter are shown, or images.
    """
    names, shares_of = parts_of(matrix)
    values = matrix.with_ends(liters)[0]
    every = -(-len(matrix.samples) // MOST_BARS)
    groups = [values[start : start + every] for start in range(0, len(values), every)]
    bars = [matrix.samples[start] + (" …" if every > 1 else "") for start in range(0, len(matrix.samples), every)]
    shares = np.array([shares_of(np.nansum(group, axis=0)) for group in groups])
    joined = f" Each bar is {every} neighboring samples." if every > 1 else ""
    means = ", ".join(f"{name} {share:.0%}" for name, share in zip(names, shares.mean(axis=0), strict=True))
    return Chart(
        stacked(bars, names, shares, ""),
        f"Composition of {len(matrix.samples)} samples; mean shares: {means}",
        f"{words}{joined} The table of samples has the numbers.",
    )


def parts_of(matrix: Matrix) -> tuple[list[str], Callable[[Real], Real]]:
    """The names of the parts, and a function from counts of all classes to their shares."""
    order = matrix.order
    first, rest = order[:MOST_CLASSES], order[MOST_CLASSES:]
    names = [matrix.classes[at] for at in first] + ([OTHERS] if rest else [])

    def shares(counts: Real) -> Real:
        parts = [counts[at] for at in first] + ([counts[rest].sum()] if rest else [])
        return np.array(parts) / (np.sum(parts) or 1.0)

    return names, shares


def class_charts(matrix: Matrix, liters: bool) -> list[Chart]:
    """The most frequent classes, each with its number and interval along the transect.

    If there are many samples, a dot is the mean of neighboring ones, without an interval.
    """
    values, low, high = matrix.with_ends(liters)
    every = -(-len(matrix.samples) // MOST_DOTS)
    if every > 1:
        starts = range(0, len(matrix.samples), every)
        values = np.array([_mean(values[start : start + every]) for start in starts])
        low = high = np.full_like(values, np.nan)
    samples = matrix.samples[::every]
    charts = []
    for at, color in zip(matrix.order[:_SMALL], colors_of(matrix.classes), strict=False):
        column = values[:, at], low[:, at], high[:, at]
        if not np.isfinite(column[0]).any():
            continue
        text = f"from {number_text(float(np.nanmin(column[0])))} to {number_text(float(np.nanmax(column[0])))}"
        svg = intervals(samples, *column, color, "per liter" if liters else "images")
        charts.append(Chart(svg, f"{matrix.classes[at]} by sample: {text}", matrix.classes[at]))
    return charts


def _mean(rows: Real) -> Real:
    """The means of the columns, of the numbers that are known; not a number: none is."""
    known = np.isfinite(rows).sum(axis=0)
    return np.where(known, np.nansum(rows, axis=0) / np.maximum(known, 1), np.nan)
