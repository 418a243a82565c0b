"""Reads a survey once: a few numbers of each image, and what is known of each sample.

Invariant: memory holds 21 bytes of each image; the images are in the order of the journal, sorted by path.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.images.pixel_size import pixel_size_um
from pelagia.model.decision import UNKNOWN
from pelagia.sources.ifcb.run import BinRun, read_run
from pelagia.survey.additions import Flag, Measured, add_measures, measures_of
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.signatures import signatures_of
from pelagia.tables.values import is_missing
from pelagia_inference.checks.repeats import Look, Place, Repeat, Repeats, place_of
from pelagia_inference.checks.rules import is_plausible_pixel
from pelagia_inference.checks.runs import center_of, run_flags
from pelagia_inference.checks.shape import equivalent_diameter
from pelagia_inference.counts.samples import sample_columns, sample_name

_AT_ONCE = 500


@dataclass
class SampleState:
    """What is known of a sample.

    Attributes:
        name: as in `pelagia_inference.counts.samples.Sample`.
        columns: the columns that have one value in all its images.
        images, failed, unknown: numbers of images: classified, failed, taken for none of the classes.
        classes: number of images by most likely class.
        pixel_sizes: number of images by pixel size in micrometers; 0: not known.
        run: the run of its IFCB bin, without triggers and rectangles; None if it is none, or is not on the disk.
        run_flags: the flags of this run.
        center: where its images were in the view of the camera (`pelagia_inference.checks.runs.center_of`).
    """

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    images: int = 0
    failed: int = 0
    unknown: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    pixel_sizes: Counter[float] = field(default_factory=Counter)
    run: BinRun | None = None
    run_flags: tuple[Flag, ...] = ()
    center: float | None = None


@dataclass
class Gathered:
    """A survey that was read.

    Attributes:
        by: the columns that name the samples.
        samples: in the order in which they were found.
        sample: int32, the sample of each classified image.
        classes: int32, its most likely class.
        sharpness, contact: float32, its measures; not a number: not known.
        pixel_um: float32, its pixel size in micrometers; 0: not known.
        repeats: path -> what was found, for images that show the particle of an earlier one.
    """

    by: tuple[str, ...]
    samples: list[SampleState]
    sample: NDArray[np.int32]
    classes: NDArray[np.int32]
    sharpness: NDArray[np.float32]
    contact: NDArray[np.float32]
    pixel_um: NDArray[np.float32]
    repeats: dict[str, Repeat]


def gather(survey: Survey, by: Sequence[str] = (), pixel_size: float = 0.0) -> Gathered:
    """Reads a survey whose objects were measured, and writes the sizes in micrometers that follow from pixel sizes.

    Args:
        survey: opened to add.
        by: the columns that name the samples.
        pixel_size: the size in micrometers for images without one; 0: there is none.

    Raises:
        InputError: the survey lacks a column of ``by``.
    """
    reading = _Reading(survey, sample_columns(survey.columns().own, by), pixel_size)
    rows = with_measures(survey)
    while group := list(islice(rows, _AT_ONCE)):
        reading.read(group)
    return reading.result()


def with_measures(survey: Survey) -> Iterator[tuple[Prediction, Mapping[str, float]]]:
    """The rows of a survey with the measures of each, sorted by path."""
    measures = iter(measures_of(survey))
    at = next(measures, None)
    for row in survey:
        while at is not None and at.path < row.path:
            at = next(measures, None)
        yield row, at.values if at is not None and at.path == row.path else {}


class _Reading:
    def __init__(self, survey: Survey, by: tuple[str, ...], pixel_size: float) -> None:
        self._survey, self._by, self._pixel_size = survey, by, pixel_size
        self._numbers: dict[tuple[str, ...], int] = {}
        self._samples: list[SampleState] = []
        self._runs: dict[str, BinRun | None] = {}
        self._repeats, self._found = Repeats(), dict[str, Repeat]()
        self._sample, self._class = array("i"), array("i")
        self._sharpness, self._contact, self._pixel = array("f"), array("f"), array("f")

    def read(self, group: Sequence[tuple[Prediction, Mapping[str, float]]]) -> None:
        """Reads some rows with their measures."""
        signatures = signatures_of(self._survey, [row.path for row, _ in group])
        changed = []
        for row, values in group:
            number, state = self._sample_of(row)
            if row.probabilities is None:
                state.failed += 1
                continue
            best = int(row.probabilities.argmax())
            size = pixel_size_um(row.columns) or self._pixel_size
            state.images += 1
            state.unknown += row.verdict.decision == UNKNOWN
            state.classes[self._survey.classes[best]] += 1
            state.pixel_sizes[size] += 1
            self._sample.append(number)
            self._class.append(best)
            self._sharpness.append(values.get("sharpness", np.nan))
            self._contact.append(values.get("contact", np.nan))
            self._pixel.append(size)
            if (sized := _sized(values, size)) != values:
                changed.append(Measured(row.path, sized))
            if row.path in signatures:
                length, place = values.get("length_px", 0.0), self._place(row, state)
                look = Look(number, row.path, signatures[row.path], length, place)
                self._keep(self._repeats.add(look))
        add_measures(self._survey, changed)  # of rows that were read already, so the reading is not disturbed

    def result(self) -> Gathered:
        """All that was read."""
        self._keep(self._repeats.rest())
        sample, classes = np.array(self._sample, np.int32), np.array(self._class, np.int32)
        sharpness, contact, pixel = (
            np.array(part, np.float32) for part in (self._sharpness, self._contact, self._pixel)
        )
        return Gathered(self._by, self._samples, sample, classes, sharpness, contact, pixel, self._found)

    def _keep(self, repeats: Iterator[Repeat]) -> None:
        for repeat in repeats:
            self._found.setdefault(repeat.path, repeat)

    def _sample_of(self, row: Prediction) -> tuple[int, SampleState]:
        key = key_of(row.columns, self._by)
        number = self._numbers.setdefault(key, len(self._samples))
        if number == len(self._samples):
            self._samples.append(_state(sample_name(key), row, self._run(row)))
        state = self._samples[number]
        if any(row.columns.get(name) != text for name, text in state.columns.items()):
            state.columns = {name: text for name, text in state.columns.items() if row.columns.get(name) == text}
        return number, state

    def _run(self, row: Prediction) -> BinRun | None:
        """The run of the IFCB bin that an image is in."""
        place = row.file.partition("!/")[0]
        if place not in self._runs:
            self._runs.clear()
            self._runs[place] = read_run(Path(place)) if place.lower().endswith(".roi") else None
        return self._runs[place]

    def _place(self, row: Prediction, state: SampleState) -> Place | None:
        """Where an image of an IFCB bin was in the view of the camera."""
        run = self._run(row)
        if state.run is None or run is None:
            return None
        roi = run.rois.get(int(row.columns.get("target", "0") or 0))
        return None if roi is None else place_of(roi)


def _state(name: str, row: Prediction, run: BinRun | None) -> SampleState:
    """A new sample. Of its run it keeps little, because there may be thousands of bins."""
    if run is None:
        return SampleState(name, dict(row.columns))
    kept = replace(run, rois={}, trigger_times=run.trigger_times[:0])
    return SampleState(name, dict(row.columns), run=kept, run_flags=tuple(run_flags(name, run)), center=center_of(run))


def key_of(columns: Mapping[str, str], by: Sequence[str]) -> tuple[str, ...]:
    """The values that name the sample of an image; empty for a value that is missing."""
    texts = [columns.get(name, "").strip() for name in by]
    return tuple("" if is_missing(text) else text for text in texts)


def _sized(values: Mapping[str, float], pixel: float) -> dict[str, float]:
    """The measures with those in micrometers, which need a pixel size."""
    found = {name: value for name, value in values.items() if name not in ("esd_um", "biovolume_um3")}
    if pixel and is_plausible_pixel(pixel) and "area_px" in found:
        found["esd_um"] = equivalent_diameter(found["area_px"]) * pixel
        found["biovolume_um3"] = found["volume_px3"] * pixel**3
    return found
