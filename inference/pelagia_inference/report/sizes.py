"""Size spectra of a survey whose objects were measured by `pelagia check`."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia.pages.page import Chart
from pelagia.survey.additions import measures_of
from pelagia.survey.journal import Survey
from pelagia_inference.counts.samples import Sample
from pelagia_inference.report.charts import histogram, spectrum
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
