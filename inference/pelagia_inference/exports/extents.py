"""Where and when the images of a sample were taken, for formats that need positions and times with a zone.

Invariant: a time zone is never guessed. A time without one gets the zone that the user names, else it is no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from pelagia.errors import InputError
from pelagia.tables.values import number
from pelagia_inference.exports.exporting import Exporting

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)")


@lru_cache(1 << 12)
def interval_of(text: str, zone: tzinfo | None) -> tuple[datetime, datetime] | None:
    """The first and the last moment of an ``eventDate``, with a time zone; None if it has no time or no zone.

    Args:
        text: ISO 8601: a time, or two times with ``/`` between them.
        zone: the zone of times without one; None if it is not known.
    """
    start, _, end = text.partition("/")
    first, last = _moment(start, zone), _moment(end or start, zone)
    return None if first is None or last is None else (first, last)


def _moment(text: str, zone: tzinfo | None) -> datetime | None:
    if "T" not in text and " " not in text.strip():
        return None  # a day
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if found.tzinfo is None:
        return None if zone is None else found.replace(tzinfo=zone)
    return found


def zone_of(text: str) -> tzinfo | None:
    """The time zone that a user names: ``UTC``, ``Z`` or ``+01:00``; None for empty text.

    Raises:
        InputError: the text is none of these.
    """
    plain = text.strip()
    if not plain:
        return None
    if plain.upper() in ("UTC", "Z", "GMT"):
        return UTC
    if found := _OFFSET.fullmatch(plain.upper()):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        if offset < timedelta(hours=24):
            return timezone(-offset if found[1] == "-" else offset)
    raise InputError(f"time_zone '{plain}' is not a time zone: write UTC, or an offset such as +01:00")


def iso(moment: datetime) -> str:
    """A moment as ``2024-05-01T10:20:30+01:00``; ``Z`` for UTC."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class Extent:
    """The times, positions and depths of the images of a sample.

    Attributes:
        images: number of classified images.
        no_time, no_position: number of those without a time that has a zone, or without a position.
        first, last: the first and the last moment; None if no image has a time.
        latitudes, longitudes: the lowest and the highest, in degrees; empty if no image has a position.
        depths: the lowest and the highest depth in meters; empty if no image has one.
    """

    images: int = 0
    no_time: int = 0
    no_position: int = 0
    first: datetime | None = None
    last: datetime | None = None
    latitudes: list[float] = field(default_factory=list)
    longitudes: list[float] = field(default_factory=list)
    depths: list[float] = field(default_factory=list)

    def add(self, columns: Mapping[str, str], zone: tzinfo | None) -> None:
        """Adds an image with these columns."""
        self.images += 1
        if found := interval_of(columns.get("eventDate", ""), zone):
            self.first = found[0] if self.first is None else min(self.first, found[0])
            self.last = found[1] if self.last is None else max(self.last, found[1])
        else:
            self.no_time += 1
        latitude = within(columns.get("decimalLatitude", ""), 90)
        longitude = within(columns.get("decimalLongitude", ""), 180)
        if latitude is None or longitude is None:
            self.no_position += 1
        else:
            self.latitudes = _range([*self.latitudes, latitude])
            self.longitudes = _range([*self.longitudes, longitude])
        for name in ("minimumDepthInMeters", "maximumDepthInMeters"):
            if (depth := within(columns.get(name, ""), 12_000)) is not None:
                self.depths = _range([*self.depths, depth])

    @property
    def has_one_position(self) -> bool:
        """Whether all images that have a position have the same one."""
        return bool(self.latitudes) and len({*self.latitudes}) == len({*self.longitudes}) == 1


def within(text: str, limit: float) -> float | None:
    """A number whose absolute value is at most ``limit``; None if the text is not one."""
    value = number(text)
    return None if value is None or abs(value) > limit else value


def _range(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]


def extents_of(work: Exporting, zone: tzinfo | None) -> dict[str, Extent]:
    """Name of a sample -> extent of its classified images, sorted."""
    found: dict[str, Extent] = {}
    for row in work.survey:
        if work.takes(row):
            found.setdefault(work.sample_of(row.columns), Extent()).add(row.columns, zone)
    return dict(sorted(found.items()))
