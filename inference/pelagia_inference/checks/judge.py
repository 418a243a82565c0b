"""The flags of each image of a survey that was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pelagia.survey.additions import Flag
from pelagia_inference.checks.clipping import CLIPPED
from pelagia_inference.checks.gather import Gathered
from pelagia_inference.checks.rules import (
    BAD_PIXEL_SIZE,
    BLURRED,
    CLIPPED_FLAG,
    DUPLICATE,
    LARGEST_PIXEL_UM,
    NO_PIXEL_SIZE,
    SMALLEST_PIXEL_UM,
    blurred,
)


class Judge:
    """Gives the flags of images, in the order in which the survey was read."""

    def __init__(self, data: Gathered) -> None:
        self._data = data
        sized = [any(state.pixel_sizes.keys() - {0.0}) for state in data.samples]
        has_size, pixel = np.array([*sized, False], np.bool_)[data.sample], data.pixel_um
        self._marks = {
            BLURRED: blurred(data.sharpness, data.classes),
            CLIPPED_FLAG: data.contact >= CLIPPED,
            NO_PIXEL_SIZE: (pixel == 0) & has_size,
            BAD_PIXEL_SIZE: (pixel > 0) & ((pixel < SMALLEST_PIXEL_UM) | (pixel > LARGEST_PIXEL_UM)),
        }

    def counts(self) -> list[Counter[str]]:
        """For each sample, the number of images by flag."""
        found = [Counter[str]() for _ in self._data.samples]
        for flag, mark in self._marks.items():
            for sample, count in enumerate(np.bincount(self._data.sample[mark]).tolist()):
                found[sample][flag] += count
        for repeat in self._data.repeats.values():
            found[repeat.sample][DUPLICATE] += 1
        return found

    def flags(self, index: int, path: str) -> Iterator[Flag]:
        """The flags of the image at ``index``, which has this path."""
        data = self._data
        details = {
            BLURRED: f"sharpness {data.sharpness[index]:.2f}",
            CLIPPED_FLAG: f"contact {data.contact[index]:.2f}",
            BAD_PIXEL_SIZE: f"{data.pixel_um[index]:g} micrometers",
        }
        for flag, mark in self._marks.items():
            if mark[index]:
                yield Flag(path, flag, details.get(flag, ""))
        if repeat := data.repeats.get(path):
            apart = "" if repeat.pixels is None else f", {repeat.pixels:.0f} pixels away"
            yield Flag(path, DUPLICATE, f"as {repeat.first}{apart}")
