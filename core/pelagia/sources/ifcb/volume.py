"""Volume of sea water that a bin looked at, in millilitres, computed as the IFCB community does (pyifcb's ml_analyzed).

The syringe delivers 0.25 ml a minute. While the instrument processes a trigger it sees nothing; so the volume is the
flow times the look time, which is the run time less the time it was inhibited. Both stand in the ``.adc``, in other
columns for old and current instruments; the header's figures are only taken where the ``.adc`` lacks them, as they
include what ran after the last trigger.
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

_ML_PER_MINUTE = 0.25
_OLD_ML_PER_SECOND = 40 * 5 / 48000  # steps a second x millilitres a step
_DAY = 24 * 60 * 60
_IFCB5_CHANGED = datetime(2015, 6, 1, tzinfo=UTC)

Column = NDArray[np.float64]


def volume(bin_id: BinId, adc: Adc, header: Mapping[str, str]) -> float | None:
    """Millilitres, or None where they cannot be known: no trigger, or figures that contradict each other."""
    columns = adc.columns
    if not len(adc):
        found = None
    elif bin_id.old:
        changed = bin_id.instrument == 5 and bin_id.start is not None and bin_id.start >= _IFCB5_CHANGED
        table = adc.numbers(columns.trigger, columns.trigger_open, columns.frame_grab)
        found = _old(table, least=0.05 if changed else 0.073)
    elif len(adc) == 1 or not adc.is_wide:
        found = _from_header(header)
    else:
        found = _current(*adc.numbers(columns.adc_time, columns.run_time, columns.inhibit_time).T)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def _old(table: Column, least: float) -> float | None:
    """Old instruments: between a frame and the next trigger the instrument is busy, ``least`` seconds at any rate.

    ``table`` holds trigger, trigger open and frame grab time in seconds, a row each. A trigger that gave two images
    counts once; times below zero are past midnight.
    """
    if not len(table):
        return None
    trigger, opened, grabbed = table.T
    first = np.sort(np.unique(trigger, return_index=True)[1])
    opened, grabbed = opened[first], grabbed[first]
    opened = np.where(opened < 0, opened + _DAY, opened)
    grabbed = np.where(grabbed < 0, grabbed + _DAY, grabbed)
    busy = np.maximum(opened[1:] - grabbed[:-1], least).sum() + least
    return float((grabbed[-1] - busy) * _OLD_ML_PER_SECOND)


def _current(adc_time: Column, run_time: Column, inhibit: Column) -> float | None:
    """Current instruments: run and inhibit time of the last row, mended where a row's clock has jumped."""
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
    return float(_ML_PER_MINUTE / 60 * (run - inhibited))


def _from_header(header: Mapping[str, str]) -> float | None:
    run, inhibited = number(header, "runtime"), number(header, "inhibittime")
    return None if run is None or inhibited is None else _ML_PER_MINUTE / 60 * (run - inhibited)
