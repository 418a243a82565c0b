"""What the rows of a survey say about its samples, and the counts do not keep: times, positions, depths, and people.

Invariant: one pass over the survey; the memory grows with the number of samples, not of images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pelagia.survey.additions import Beside, Confirmed, confirmed_rows, empty_samples
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia.tables.values import is_missing, number
from pelagia_inference.counts.samples import Grouping

_ROWS_AT_ONCE = 4096
_EARTH_RADIUS_M = 6_371_000.0
_NUMBERS = ("decimalLatitude", "decimalLongitude", "minimumDepthInMeters", "maximumDepthInMeters")


@dataclass
class Details:
    """What the images of one sample say.

    Attributes:
        first, last: the earliest and the latest time, each as the number to compare and the text; None: none is given.
        ranges: lowest and highest value of a column of numbers.
        wrong: column -> the first text in it that is no time or number.
        people: class -> the people who confirmed images of it; a dictionary keeps them in order.
        sources: class -> where the confirmed labels come from.
    """

    first: tuple[float, str] | None = None
    last: tuple[float, str] | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    people: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    sources: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    _seen: dict[str, str] = field(default_factory=dict)

    @property
    def date(self) -> str:
        """The eventDate of the sample: a time, or ``first/last``; empty if no image has one."""
        return interval(self.first, self.last)

    def add(self, columns: Mapping[str, str]) -> None:
        """Takes the columns of an image."""
        for name in ("eventDate", *_NUMBERS):
            text = columns.get(name, "")
            if self._seen.get(name) == text or is_missing(text):
                continue
            self._seen[name] = text
            try:
                self._add_date(text) if name == "eventDate" else self._add_number(name, text)
            except ValueError:
                self.wrong.setdefault(name, text)

    def add_label(self, label: Confirmed) -> None:
        """Takes the label that people gave an image."""
        people = [name for part in label.people.split("|") if (name := part.strip())]
        self.people[label.class_name].update(dict.fromkeys(people))
        if label.source:
            self.sources[label.class_name][label.source] = None

    def _add_date(self, text: str) -> None:
        """ISO 8601 has a T between day and time; `datetime` also takes a space."""
        for part in text.split("/"):
            value = seconds_of(part), part.strip().replace(" ", "T")
            self.first = value if self.first is None else min(self.first, value)
            self.last = value if self.last is None else max(self.last, value)

    def _add_number(self, name: str, text: str) -> None:
        value = number(text)
        if value is None:
            raise ValueError(text)
        low, high = self.ranges.get(name, (value, value))
        self.ranges[name] = min(low, value), max(high, value)


def interval(first: tuple[float, str] | None, last: tuple[float, str] | None) -> str:
    """ISO 8601: one time, or an interval; empty if there is no time."""
    if first is None or last is None:
        return ""
    return first[1] if first[0] == last[0] else f"{first[1]}/{last[1]}"


def seconds_of(text: str) -> float:
    """A time of ISO 8601 as seconds, to compare it with others; without a zone it counts as UTC.

    Raises:
        ValueError: it is not a year, month, day or time of ISO 8601.
    """
    text = text.strip()
    if len(text) in (4, 7):  # a year, or a month
        text = f"{text}-01-01"[:10]
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def distance_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The distance between two positions (latitude, longitude in degrees) in meters, on a sphere (haversine)."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, place)) for place in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def details_of(
    survey: Survey,
    grouping: Grouping,
    excluded: Container[str] = (),
    progress: ProgressCallback = lambda done, total: None,
) -> dict[tuple[str, ...], Details]:
    """The details of each sample.

    Args:
        survey: the open survey.
        grouping: how the images are put into samples, as in the counts.
        excluded: images that are left out.
        progress: called with (images done, all images).

    Returns:
        The key of the sample -> its details.
    """
    labels: Beside[Confirmed] = Beside(confirmed_rows(survey), lambda label: label.path)
    found: dict[tuple[str, ...], Details] = defaultdict(Details)
    total = len(survey)
    for done, row in enumerate(survey, 1):
        if done % _ROWS_AT_ONCE == 0:
            progress(done, total)
        if row.path in excluded:
            continue
        details = found[grouping.key(row.columns)]
        details.add(row.columns)
        for label in labels.of(row.path):
            if row.probabilities is not None:
                details.add_label(label)
    for columns in empty_samples(survey):
        found[grouping.key(columns)].add(columns)
    return dict(found)
