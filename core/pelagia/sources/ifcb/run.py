"""What the files of a bin say about its run: times, sensors, and where its images were in the view of the camera.

Units: seconds, percent, degrees Celsius, milliliters. The volume is the one that `pelagia.sources.ifcb.volume` computes
from the ``.adc``; the header has run time and inhibit time of its own, for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb import bin_of, files_at
from pelagia.sources.ifcb.adc import Adc, Roi
from pelagia.sources.ifcb.hdr import number
from pelagia.sources.ifcb.volume import ML_PER_MINUTE, volume

_BEADS = "beads"


@dataclass(frozen=True)
class BinRun:
    """The run of one bin. None stands for a value that its files lack.

    Attributes:
        run_time, inhibit_time: of the header, or of the last row of the ``.adc``, in seconds.
        volume_ml: the analyzed volume from the ``.adc``.
        header_volume_ml: the flow times run time minus inhibit time of the header.
        syringe_ml: the volume that was to be drawn from the syringe.
        humidity, humidity_limit: in percent: measured, and the instrument's own alarm threshold.
        temperature: in degrees Celsius, inside the instrument.
        is_beads: whether the header says that beads were run, for calibration.
        trigger_times: float64, seconds from the start, one for each trigger, ascending.
        rois: target number -> the rectangle of the image; joined images have that of the first part.
    """

    run_time: float | None = None
    inhibit_time: float | None = None
    volume_ml: float | None = None
    header_volume_ml: float | None = None
    syringe_ml: float | None = None
    humidity: float | None = None
    humidity_limit: float | None = None
    temperature: float | None = None
    is_beads: bool = False
    trigger_times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    rois: Mapping[int, Roi] = field(default_factory=dict)


def read_run(roi: Path) -> BinRun | None:
    """The run of the bin that a file belongs to; None if it is no bin, or its ``.adc`` cannot be read.

    Args:
        roi: one of the bin's files.
    """
    base = bin_of(roi)
    files = None if base is None else files_at(base)
    if files is None:
        return None
    try:
        adc = files.read_adc()
    except (OSError, ImageError):
        return None
    header = files.read_hdr()
    run, inhibit = number(header, "runtime"), number(header, "inhibittime")
    from_header = None if run is None or inhibit is None else ML_PER_MINUTE / 60 * (run - inhibit)
    last = _last_times(adc)
    return BinRun(
        run_time=last[0] if run is None else run,
        inhibit_time=last[1] if inhibit is None else inhibit,
        volume_ml=volume(files.bin_id, adc, header),
        header_volume_ml=from_header,
        syringe_ml=number(header, "syringesamplevolume"),
        humidity=number(header, "humidity"),
        humidity_limit=number(header, "humidityalarmthreshold(%)"),
        temperature=number(header, "temperature"),
        is_beads=_has_beads(header),
        trigger_times=_trigger_times(adc),
        rois={roi.target: roi for roi in adc.rois() if not roi.is_empty and not roi.fault},
    )


def _has_beads(header: Mapping[str, str]) -> bool:
    """Whether the header names beads as the sample, or says that a beads run was on."""
    named = any(_BEADS[:-1] in header.get(name, "").lower() for name in ("sampletype", "runtype"))
    return named or header.get("runbeads", "").strip().lower() in ("true", "1")


def _last_times(adc: Adc) -> tuple[float | None, float | None]:
    """Run time and inhibit time of the last row."""
    columns = adc.columns
    if columns.run_time < 0 or not adc.is_wide:
        return None, None
    table = adc.numbers(columns.run_time, columns.inhibit_time)
    return (float(table[-1, 0]), float(table[-1, 1])) if len(table) else (None, None)


def _trigger_times(adc: Adc) -> NDArray[np.float64]:
    """When the instrument was triggered, in seconds, each trigger once."""
    column = adc.columns.adc_time if adc.columns.adc_time >= 0 else adc.columns.trigger_open
    table = adc.numbers(adc.columns.trigger, column)
    return np.sort(table[np.unique(table[:, 0], return_index=True)[1], 1])
