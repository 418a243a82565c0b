"""The analyzed volume of a bin in milliliters, computed as the IFCB community does (pyifcb's ``ml_analyzed``).

The syringe delivers 0.25 ml per minute. While the instrument processes a trigger it records nothing; so the volume is
the flow times the look time, which is the run time minus the inhibit time. Both are in the ``.adc``, in different
columns for styles I and D. The values of the header are used only if the ``.adc`` lacks them, because they include the
time after the last trigger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from pelagia.sources.ifcb.adc import Adc
from pelagia.sources.ifcb.bin_id import BinId
from pelagia.sources.ifcb.hdr import number

ML_PER_MINUTE = 0.25
"""What the syringe delivers."""
_STYLE_I_ML_PER_SECOND = 40 * 5 / 48000  # steps per second x milliliters per step
_DAY = 24 * 60 * 60
_IFCB5_CHANGED = datetime(2015, 6, 1, tzinfo=UTC)

Column = NDArray[np.float64]


def volume(bin_id: BinId, adc: Adc, header: Mapping[str, str]) -> float | None:
    """The analyzed volume in milliliters; None if it is unknown: no trigger, or values that contradict each other."""
    columns = adc.columns
    if not len(adc):
        found = None
    elif bin_id.style == "I":
        changed = bin_id.instrument == 5 and bin_id.start is not None and bin_id.start >= _IFCB5_CHANGED
        table = adc.numbers(columns.trigger, columns.trigger_open, columns.frame_grab)
        found = _style_i(table, least=0.05 if changed else 0.073)
    elif len(adc) == 1 or not adc.is_wide:
        found = _from_header(header)
    else:
        found = _style_d(*adc.numbers(columns.adc_time, columns.run_time, columns.inhibit_time).T)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def _style_i(table: Column, least: float) -> float | None:
    """Style I: between a frame and the next trigger the instrument is busy, for at least ``least`` seconds.

    Args:
        table: float64, rows x 3: trigger number, trigger open time and frame grab time in seconds. A trigger with two
            images counts once; negative times are after midnight.
    """
    if not len(table):
        return None
    trigger, opened, grabbed = table.T
    first = np.sort(np.unique(trigger, return_index=True)[1])
    opened, grabbed = opened[first], grabbed[first]
    opened = np.where(opened < 0, opened + _DAY, opened)
    grabbed = np.where(grabbed < 0, grabbed + _DAY, grabbed)
    busy = np.maximum(opened[1:] - grabbed[:-1], least).sum() + least
    return float((grabbed[-1] - busy) * _STYLE_I_ML_PER_SECOND)


def _style_d(adc_time: Column, run_time: Column, inhibit: Column) -> float | None:
    """Style D: run time minus inhibit time of the last row, corrected if the clock of a row has jumped.

    Args:
        adc_time, run_time, inhibit: float64, one value for each row, in seconds.
    """
    if len(adc_time) < 2 or not inhibit.sum():
        return None
    step = np.diff(inhibit)
    good = np.concatenate(([0], np.flatnonzero((inhibit[1:] > 0) & (step > -0.1) & (step < 5)) + 1))
    if len(good) < 2:
        return None
    steps, counts = np.unique(np.round(np.diff(inhibit[good]), 4), return_counts=True)
    usual = steps[counts.argmax()]
    late = run_time[1] - adc_time[1]
    run_offset, inhibit_offset = (late, inhibit[1] + 2 * usual) if late > 10 else (0.0, 0.0)
    inhibited = inhibit[good[-1]] + (len(inhibit) - len(good)) * usual - inhibit_offset
    run = run_time[-1] - run_offset
    estimate = adc_time[-1] + np.median(run_time[:50] - adc_time[:50]) - run_offset
    if abs(run - estimate) > 0.2:
        run = estimate
    return float(ML_PER_MINUTE / 60 * (run - inhibited))


def _from_header(header: Mapping[str, str]) -> float | None:
    run, inhibited = number(header, "runtime"), number(header, "inhibittime")
    return None if run is None or inhibited is None else ML_PER_MINUTE / 60 * (run - inhibited)
