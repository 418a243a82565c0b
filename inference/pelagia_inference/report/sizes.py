"""Size spectra, biovolume and carbon of a survey whose objects were measured by `pelagia check`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.pages.page import Cell, Chart, Table, count_cell
from pelagia.survey.additions import measures_of
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Count, Counts
from pelagia_inference.counts.samples import Sample
from pelagia_inference.report.charts import histogram, spectrum
from pelagia_inference.report.composition import MOST_CLASSES, MOST_ROWS, class_counts
from pelagia_inference.report.plot import number_text

_PER_DECADE = 20
_LOW, _HIGH = -1, 6
"""Powers of ten of the equivalent spherical diameter in micrometers; what is outside is counted at the ends."""
_OCTAVES = range(-10, 60)
"""Powers of two of the volume in cubic micrometers."""


def size_charts(survey: Survey, samples: Sequence[Sample], excluded: Container[str] = ()) -> list[Chart]:
    """The distribution of diameters, and the normalized biovolume size spectrum; empty if nothing was measured.

    The spectrum is that of Platt and Denman (1977): the biovolume in an octave of volume, divided by the width of the
    octave, and by the volume of water if it is known for every sample and all of it was imaged.

    Args:
        survey: the open survey.
        samples: its samples, as they are counted.
        excluded: the paths of images that are not counted.
    """
    diameters = np.zeros((_HIGH - _LOW) * _PER_DECADE, np.int64)
    volumes = np.zeros(len(_OCTAVES))
    for one in measures_of(survey):
        if one.path in excluded:
            continue
        if 0 < (esd := one.values.get("esd_um", 0.0)) < math.inf:
            at = int((np.log10(esd) - _LOW) * _PER_DECADE)
            diameters[min(max(at, 0), len(diameters) - 1)] += 1
        if 0 < (volume := one.values.get("biovolume_um3", 0.0)) < math.inf:
            octave = min(max(int(np.floor(np.log2(volume))) - _OCTAVES[0], 0), len(volumes) - 1)
            volumes[octave] += volume
    charts = []
    if diameters.any():
        charts.append(_diameters(diameters))
    if np.count_nonzero(volumes) > 1:
        charts.append(_spectrum(volumes, samples))
    return charts


def _diameters(counts: NDArray[np.int64]) -> Chart:
    edges = 10.0 ** (_LOW + np.arange(len(counts) + 1) / _PER_DECADE)
    found = np.flatnonzero(counts)
    first, last = int(found[0]), int(found[-1]) + 1
    middle = edges[int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1]
    svg = histogram(
        edges[first : last + 1].tolist(),
        {"images": counts[first:last].tolist()},
        "equivalent spherical diameter, µm",
        "images",
        log=True,
    )
    ends = f"from {number_text(float(edges[first]))} to {number_text(float(edges[last]))} µm"
    return Chart(
        svg,
        f"Diameters {ends}, median about {number_text(float(middle))} µm",
        f"Equivalent spherical diameter of {counts.sum():,} objects, {ends}.",
    )


_NO_WATER = "The volume of water is not known for every sample."
_PARTS = "Of some samples only a part was imaged, so it is that of the images, not of the water."


def _spectrum(volumes: NDArray[np.float64], samples: Sequence[Sample]) -> Chart:
    counted = [sample for sample in samples if sample.images]
    liters = [sample.volume_l for sample in counted]
    part = any(abs(sample.fraction - 1) > 1e-6 for sample in counted)
    known = all(liters) and not part
    water = sum(one for one in liters if one) if known else 1.0
    widths = 2.0 ** np.array(_OCTAVES)
    found = np.flatnonzero(volumes)
    x, y = (widths * 1.5)[found], (volumes / widths / water)[found]
    unit = "per liter" if known else "of the images"
    return Chart(
        spectrum(x.tolist(), y.tolist(), "volume of an object, µm³", f"normalized biovolume {unit}"),
        f"Normalized biovolume size spectrum: from {number_text(float(y[0]))} in the smallest octave to "
        f"{number_text(float(y[-1]))} in the largest",
        "Normalized biovolume size spectrum (Platt and Denman 1977): biovolume in an octave, divided by the octave's "
        + ("width and the volume of water." if known else f"width. {_PARTS if part else _NO_WATER}"),
    )


_IN_WATER = (("Biovolume, mm³/m³", "biovolume_mm3_per_m3"), ("Carbon, µg/L", "carbon_ug_per_liter"))
_ON_IMAGES = (("Biovolume, µm³", "biovolume_um3"), ("Carbon, pg", "carbon_pg"))


@dataclass(frozen=True)
class Amounts:
    """Biovolume and carbon, in the water if its volume is known for every sample, else on the images.

    Attributes:
        classes: one row for each class with images. Several samples: the mean in the water, or the sum on the images.
        samples: title and table of each amount, one row for each sample; empty if there is one sample.
        in_water: whether the amounts are those in the water.
    """

    classes: Table
    samples: tuple[tuple[str, Table], ...]
    in_water: bool


def amounts_of(counts: Counts, order: Sequence[str]) -> Amounts | None:
    """The biovolume and the carbon of the classes; None if nothing was measured.

    Args:
        order: the names of the samples in the order of the transect.
    """
    rows: dict[str, dict[str, Count]] = defaultdict(dict)
    for count in class_counts(counts):
        rows[count.name][count.sample] = count
    found = {name: group for name, group in rows.items() if any(one.raw or one.confirmed for one in group.values())}
    if not any(one.measured for group in found.values() for one in group.values()):
        return None
    in_water = all(sample.volume_l for sample in counts.samples if sample.images)
    tables = []
    for title, field in _IN_WATER if in_water else _ON_IMAGES:
        known = {name: group for name, group in found.items() if getattr(next(iter(group.values())), field) is not None}
        if known:
            tables.append((title, field, known))
    share = 1 / len(order) if in_water else 1.0
    classes = [
        [
            Cell(name),
            count_cell(sum(one.measured for one in group.values())),
            *(_amount([group[sample] for sample in order], field, share) for _, field, _ in tables),
        ]
        for name, group in found.items()
    ]
    header = ("Class", "Measured", *(title for title, _, _ in tables))
    by_sample = tuple((_titled(title, known), _by_sample(known, field, order)) for title, field, known in tables)
    return Amounts(
        Table(header, sorted(classes, key=lambda row: -row[2].value)), by_sample if len(order) > 1 else (), in_water
    )


def _amount(group: Sequence[Count], field: str, share: float = 1.0) -> Cell:
    """A share of the sum over samples; empty if it is not known. One sample has an interval: those of several do not
    add.
    """
    values = [getattr(one, field) for one in group]
    if None in values:
        return Cell("", -1.0)
    total = share * sum(values)
    ends = [getattr(one, f"{field}_{end}") for one in group for end in ("low", "high")]
    shown = len(group) == 1 and None not in ends
    return Cell(number_text(total), total, "–".join(map(number_text, ends)) if shown else "")


def _titled(title: str, classes: Sized) -> str:
    of = f" of the {MOST_CLASSES} classes with the most" if len(classes) > MOST_CLASSES else ""
    return f"{title}{of}, by sample"


def _by_sample(known: Mapping[str, Mapping[str, Count]], field: str, order: Sequence[str]) -> Table:
    """One row for each sample; the classes with the largest amounts are columns."""
    total = {name: sum(getattr(one, field) for one in group.values()) for name, group in known.items()}
    shown = sorted(known, key=lambda name: -total[name])[:MOST_CLASSES]
    rows = [[Cell(sample), *(_amount([known[name][sample]], field) for name in shown)] for sample in order[:MOST_ROWS]]
    return Table(("Sample", *shown), rows)
