"""The composition by depth, of the same counts as the tables: corrected if the model has statistics for it.

Invariant: all images of a depth band are counted as one sample, by `CountOptions.count`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pelagia.pages.page import Chart
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia_inference.counts.counts import Counts
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.counts.samples import DEPTH
from pelagia_inference.report.charts import by_depth
from pelagia_inference.report.composition import Matrix, matrix_of, numbers_shown, parts_of
from pelagia_inference.report.gather import Gathered
from pelagia_inference.report.plot import ticks

_MOST_BANDS = 10
_HALF = 0.5


def count_bands(
    survey: Survey, data: Gathered, counting: CountOptions, progress: ProgressCallback | None = None
) -> Counts | None:
    """The counts of each depth band, from the top down; None if there are not two depths.

    Args:
        data: what was gathered of the survey.
        counting: how images are counted; its samples are replaced by the bands.
        progress: called with (rows done, all rows).
    """
    if len(data.depths) < 2:
        return None
    edges = tuple(_edges(sorted(data.depths)))
    return replace(counting, by=(DEPTH,), depth_bins=edges).count(survey, progress)


def depth_chart(data: Gathered, bands: Counts, matrix: Matrix) -> Chart:
    """The composition of each depth band.

    Args:
        data: what was gathered of the survey.
        bands: the counts of `count_bands`.
        matrix: the counts by sample, whose classes and colors are shown.
    """
    found = sorted((one for one in bands.samples if one.images and one.key[0]), key=lambda one: _top(one.key[0]))
    counted = matrix_of(bands, [one.name for one in found])
    names, shares_of = parts_of(matrix)
    order = [counted.classes.index(name) for name in matrix.classes]
    shares = np.array([shares_of(row[order]) for row in counted.values])
    labels = [f"{_label(one.key[0])} ({one.images:,})" for one in found]
    alt = "; ".join(
        f"{label}: {', '.join(f'{names[at]} {row[at]:.0%}' for at in np.argsort(-row)[:3])}"
        for label, row in zip(labels, shares, strict=True)
    )
    caption = (
        f"{numbers_shown(bands)} By the middle of the depth range of each image, with the number of "
        "images. All images of a depth are counted as one sample."
    )
    if data.no_depth:
        caption += f" {data.no_depth:,} images have no depth and are left out here."
    return Chart(by_depth(labels, names, shares), f"Composition by depth. {alt}", caption)


def _edges(depths: Sequence[int]) -> list[float]:
    """The ends of the depth bands: each whole meter apart if there are few depths, else round numbers."""
    if len(depths) <= _MOST_BANDS:
        return sorted({end for depth in depths for end in (depth - _HALF, depth + _HALF)})
    found = ticks(float(depths[0]), float(depths[-1]), _MOST_BANDS - 2)
    step = found[1] - found[0]
    return [found[0] - step, *found, found[-1] + step]


def _ends(band: str) -> tuple[float, float]:
    """The ends of a band such as ``10-20`` or ``-0.5-0.5``."""
    top, _, bottom = band.rpartition("-")
    if top.endswith("-"):  # the lower end is above the surface
        return float(top[:-1]), -float(bottom)
    return float(top), float(bottom)


def _top(band: str) -> float:
    return _ends(band)[0]


def _label(band: str) -> str:
    top, bottom = _ends(band)
    return f"{top + _HALF:g} m" if bottom - top == 1 and top % 1 else f"{top:g}\u2013{bottom:g} m"
