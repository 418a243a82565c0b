"""What a report needs of the rows of a survey: one pass over them.

Invariant: memory does not grow with the number of images, except by one number for each out-of-distribution score.
Images for the gallery are chosen in the same pass, so the choice depends on the rows alone.
"""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pelagia.survey.additions import Confirmed, confirmed_of
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.console import ProgressCallback
from pelagia.tables.values import number
from pelagia_inference.counts.counts import excluded_images
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.counts.samples import DEPTHS, Grouping, sample_name
from pelagia_inference.report.worldmap import Position

BINS = 20
"""Bins of the probability of the likeliest class, 0..1."""
NO_DECISION = "classified"
"""What images are called whose model has no decision rule."""
MOST_POSITIONS = 2000
MOST_FAILED = 20
_EVERY = 1000
_DECIMALS = 6
"""Of a mean position, so that samples of one station have the same one."""
SUREST, LEAST_SURE, RANDOM = "surest", "least sure", "random"
KINDS = (SUREST, LEAST_SURE, RANDOM)


@dataclass
class SampleRows:
    """The images of a sample: decisions, the smallest and largest date, and sums for the mean position."""

    decisions: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    first: str = ""
    last: str = ""
    lat: float = 0.0
    cos: float = 0.0
    sin: float = 0.0
    placed: int = 0

    @property
    def position(self) -> Position | None:
        """The mean position of its images, on whichever side of the date line; None if none has one."""
        if not self.placed:
            return None
        lon = math.degrees(math.atan2(self.sin, self.cos))
        return round(lon, _DECIMALS), round(self.lat / self.placed, _DECIMALS)

    def place(self, lon: float, lat: float) -> None:
        """Adds the position of an image, in degrees."""
        turn = math.radians(lon)
        self.cos, self.sin = self.cos + math.cos(turn), self.sin + math.sin(turn)
        self.lat, self.placed = self.lat + lat, self.placed + 1


class Choice:
    """Images of one class: the surest, the least sure, and some at random.

    Args:
        each: the number of each kind.
        seed: the seed of the random ones.
    """

    def __init__(self, each: int, seed: str) -> None:
        self._each = each
        self._ends: tuple[list[tuple[float, int, Prediction]], ...] = ([], [])
        self._random: list[Prediction] = []
        self._seen = 0
        self._numbers = random.Random(seed)  # noqa: S311 - which images are shown is no secret

    def offer(self, row: Prediction, probability: float) -> None:
        """Takes an image if it is one of those to show."""
        self._seen += 1
        for heap, value in zip(self._ends, (probability, -probability), strict=True):
            item = (value, -self._seen, row)
            if len(heap) < self._each:
                heapq.heappush(heap, item)
            elif item > heap[0]:
                heapq.heapreplace(heap, item)
        if len(self._random) < self._each:
            self._random.append(row)
        elif (at := self._numbers.randrange(self._seen)) < self._each:
            self._random[at] = row

    def chosen(self) -> dict[str, list[Prediction]]:
        """Kind -> its images, the surest or least sure first. An image is in one kind only."""
        surest, least = ([row for _, _, row in sorted(heap, reverse=True)] for heap in self._ends)
        taken: set[str] = set()
        found = {}
        for kind, rows in zip(KINDS, (surest, least, self._random), strict=True):
            found[kind] = [row for row in rows if row.path not in taken]
            taken.update(row.path for row in rows)
        return found


@dataclass
class Gathered:
    """What the pass found.

    Attributes:
        grouping: how the images are put into samples.
        confirmed: path -> the label that people gave.
        samples: name -> its images.
        failed: the first failed images.
        scores: decision -> int64, classes x `BINS`: images by the probability of their likeliest class.
        unlabeled: (decision, index of the likeliest class) -> images without a label of people.
        unknown: float32, out-of-distribution scores of all images, the finite ones; empty if the model has none.
        depths: depth, rounded to whole meters -> images that are counted.
        no_depth: images that are counted and have no depth.
        positions: position, rounded -> number of images.
        choices: class -> images for the gallery.
        digits: decimals of the positions; fewer if there are many positions.
        excluded: the images that are left out of the counts because of their flags.
    """

    grouping: Grouping
    confirmed: Mapping[str, Confirmed]
    excluded: frozenset[str] = frozenset()
    samples: dict[str, SampleRows] = field(default_factory=lambda: defaultdict(SampleRows))
    failed: list[Prediction] = field(default_factory=list)
    scores: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    unlabeled: Counter[tuple[str, int]] = field(default_factory=Counter)
    unknown: array[float] = field(default_factory=lambda: array("f"))
    depths: Counter[int] = field(default_factory=Counter)
    no_depth: int = 0
    positions: Counter[Position] = field(default_factory=Counter)
    choices: dict[str, Choice] = field(default_factory=dict)
    digits: int = 3

    @property
    def by(self) -> tuple[str, ...]:
        """The columns that name the samples."""
        return self.grouping.columns

    def sample_of(self, columns: Mapping[str, str]) -> str:
        """The name of the sample of an image with these columns."""
        return sample_name(self.grouping.key(columns))


def gather(survey: Survey, counting: CountOptions, each: int, progress: ProgressCallback | None = None) -> Gathered:
    """Reads all rows of a survey once.

    Args:
        counting: how images are counted.
        each: images of each class and kind for the gallery.
        progress: called with (rows done, all rows).

    Raises:
        InputError: the survey lacks a named column.
        SurveyError: the journal cannot be read.
    """
    excluded = excluded_images(survey, counting.exclude_flags)
    data = Gathered(counting.grouping(survey), confirmed_of(survey), excluded)
    total = len(survey)
    for done, row in enumerate(survey):
        if progress and done % _EVERY == 0:
            progress(done, total)
        sample = data.samples[data.sample_of(row.columns)]
        if row.probabilities is None:
            sample.failed += 1
            data.failed += [row] if len(data.failed) < MOST_FAILED else []
            continue
        best = int(row.probabilities.argmax())
        _count(data, row, sample, best, survey.classes)
        _place(data, row.columns, sample)
        if row.path not in excluded:
            _add_depth(data, row.columns)
        name = survey.classes[best]
        if name not in data.choices:
            data.choices[name] = Choice(each, name)
        data.choices[name].offer(row, float(row.probabilities[best]))
    return data


def depth_of(columns: Mapping[str, str]) -> float | None:
    """The middle of the depth range of an image in meters; None if it has none."""
    found = [depth for name in DEPTHS if (depth := number(columns.get(name, ""))) is not None]
    return sum(found) / len(found) if found else None


def _count(data: Gathered, row: Prediction, sample: SampleRows, best: int, classes: Sequence[str]) -> None:
    decision = row.verdict.decision or NO_DECISION
    sample.decisions[decision] += 1
    table = data.scores.get(decision)
    if table is None:
        table = data.scores[decision] = np.zeros((len(classes), BINS), np.int64)
    assert row.probabilities is not None  # noqa: S101 - the caller saw it
    table[best, min(int(row.probabilities[best] * BINS), BINS - 1)] += 1
    data.unlabeled[decision, best] += row.path not in data.confirmed
    if row.unknown is not None and math.isfinite(row.unknown):
        data.unknown.append(row.unknown)
    if when := row.columns.get("eventDate", "").strip():
        sample.first = min(sample.first or when, when)
        sample.last = max(sample.last, when)


def _add_depth(data: Gathered, columns: Mapping[str, str]) -> None:
    depth = depth_of(columns)
    if depth is None:
        data.no_depth += 1
    else:
        data.depths[math.floor(depth + 0.5)] += 1


def _place(data: Gathered, columns: Mapping[str, str], sample: SampleRows) -> None:
    lon, lat = (number(columns.get(name, "")) for name in ("decimalLongitude", "decimalLatitude"))
    if lon is None or lat is None or not (-180 <= lon <= 360 and -90 <= lat <= 90):
        return
    sample.place(lon, lat)
    data.positions[round(lon, data.digits), round(lat, data.digits)] += 1
    if len(data.positions) > MOST_POSITIONS:
        data.digits -= 1
        data.positions = _coarser(data.positions, data.digits)


def _coarser(positions: Mapping[Position, int], digits: int) -> Counter[Position]:
    found: Counter[Position] = Counter()
    for (lon, lat), images in positions.items():
        found[round(lon, digits), round(lat, digits)] += images
    return found
