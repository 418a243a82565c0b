"""Which runs of an IFCB are not fit for counting, by the values of its sensors and the times of its triggers."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pelagia.sources.ifcb.run import BinRun
from pelagia.survey.additions import Flag

_CHANCE = 1e-4
_LEAST_GAP_S = 30.0
_ALARM_HUMIDITY, _HOT = 75.0, 50.0


def run_flags(name: str, run: BinRun) -> Iterator[Flag]:
    """Flags for the run of the bin that is the sample ``name``."""
    if run.is_beads:
        yield Flag(name, "beads_run", "the header names beads as the sample")
    limit = run.humidity_limit or _ALARM_HUMIDITY
    if run.humidity is not None and run.humidity > limit:
        yield Flag(name, "humid", f"{run.humidity:.0f}%, the limit is {limit:.0f}%")
    if run.temperature is not None and run.temperature > _HOT:
        yield Flag(name, "hot", f"{run.temperature:.0f} degrees Celsius")
    yield from _time_flags(name, run)


def _time_flags(name: str, run: BinRun) -> Iterator[Flag]:
    """Flags for the times of a run."""
    if not run.run_time:
        return
    if run.inhibit_time is not None and run.inhibit_time > 0.5 * run.run_time:
        yield Flag(name, "high_inhibit", f"{run.inhibit_time:.0f} of {run.run_time:.0f} s")
    if run.syringe_ml and run.run_time < 0.5 * run.syringe_ml / 0.25 * 60:
        yield Flag(name, "short_run", f"{run.run_time:.0f} s for a syringe of {run.syringe_ml:g} ml")
    gap, at = longest_gap(run.trigger_times, run.run_time)
    triggers = len(run.trigger_times)
    if triggers and gap >= _LEAST_GAP_S and triggers * (1 - gap / run.run_time) ** triggers < _CHANCE:
        yield Flag(name, "clogged_run", f"no trigger for {gap:.0f} s from {at:.0f} s on, {triggers} triggers in all")


def longest_gap(times: NDArray[np.float64], run_time: float) -> tuple[float, float]:
    """The longest time without a trigger, from the start to the end of the run, and when it begins; in seconds.

    The chance of such a gap: if N triggers come at random in the time T, one of the gaps is longer than g with a
    probability of at most N (1 - g / T)^N.
    """
    edges = np.concatenate(([0.0], np.clip(times, 0, run_time), [run_time]))
    gaps = np.diff(edges)
    longest = int(gaps.argmax())
    return float(gaps[longest]), float(edges[longest])


def center_of(run: BinRun) -> float | None:
    """The median of the horizontal centers of its images in the view of the camera, in pixels; None without images."""
    return median(roi.x + roi.width / 2 for roi in run.rois.values()) if run.rois else None
