"""The samples of a survey: the images that belong together, and what their columns say about the sample.

Invariant: a sample is what the named columns say, and nothing is guessed: a column of a sample has a value only if all
its images have the same value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from pelagia.errors import InputError, did_you_mean
from pelagia.tables.values import is_missing, number

SAMPLE_COLUMNS = ("sample", "eventID", "station", "locationID")
"""The columns that may name a sample. The first that a survey has is used if no columns are named."""

PLACES = ("station", "locationID")
"""The columns that name a place, where more than one sample may be taken."""

DEPTH = "depth"
"""A name for the two columns of `DEPTHS`, or for the intervals of ``--depth-bins``."""
DEPTHS = ("minimumDepthInMeters", "maximumDepthInMeters")
DAY, POSITIONS = "eventDate", ("decimalLatitude", "decimalLongitude")
WHERE = {
    **dict.fromkeys(PLACES, "places"),
    **dict.fromkeys(DEPTHS, "depths"),
    **dict.fromkeys(POSITIONS, "positions"),
    DAY: "days",
}
"""Columns whose values may show that images of one name are of several samples -> what the values are."""
NO_VALUE = "(none)"
"""What the name of a sample has where an image has no value."""


@dataclass(frozen=True)
class Sample:
    """A sample of a survey.

    Attributes:
        name: the values of the columns that name it, joined by ``/``; "all images" if no column names samples.
        key: these values.
        columns: the columns of the input that have one value in all images of the sample, with this value.
        images: number of images that were classified or confirmed, and are counted.
        failed: number of images that could not be classified.
        volume_l: the volume of water in liters that the sample stands for; None: unknown.
        fraction: the part of the sample that was analyzed, above 0 and at most 1; 1 if nothing says otherwise. If its
            sub-samples have different fractions: images divided by the organisms that they stand for.
        excluded: number of images that are left out because of their flags.
        abstained: number of images that the model did not name.
        unknown: number of images that the model took for none of its classes.
        pooled: number of the survey's own samples in it; above 1 if ``--by`` puts several together.
        flags: the flags of `pelagia check` on it or on one of the survey's own samples in it, joined by ``|``.
        no_volume: why there is no concentration, in words; empty if there is one.
        assumed: what was assumed of its volume, in words.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    images: int = 0
    failed: int = 0
    volume_l: float | None = None
    fraction: float = 1.0
    excluded: int = 0
    abstained: int = 0
    unknown: int = 0
    pooled: int = 1
    flags: str = ""
    no_volume: str = ""
    assumed: str = ""


@dataclass(frozen=True)
class Grouping:
    """How images are put into samples.

    Attributes:
        columns: the columns that name a sample; `DEPTH` may be one, with ``edges``.
        own: the column with the survey's own samples, whose volumes are known; empty if it has none.
        edges: the ends of the depth intervals in meters, increasing; empty: none.
    """

    columns: tuple[str, ...]
    own: str = ""
    edges: tuple[float, ...] = ()

    def key(self, columns: Mapping[str, str]) -> tuple[str, ...]:
        """The values that name the sample of an image with these columns; empty where there is none."""
        return tuple(
            self._depth(columns) if name == DEPTH and self.edges else _value(columns, name) for name in self.columns
        )

    def own_sample(self, columns: Mapping[str, str]) -> str:
        """The survey's own sample of an image; empty if it has none."""
        return _value(columns, self.own) if self.own else ""

    @property
    def divides(self) -> bool:
        """Whether the columns divide the images of a name in the column `own` into samples with their own volumes.

        So it is if the user named that column and another one: ``--by station,sample``, ``--by station,depth``. But the
        depths and days of one sample (of a profile) share its volume, and so do the depths inside an interval.
        """
        shared = any(name == DEPTH or (name in WHERE and name not in PLACES) for name in self.columns)
        return self.own in self.columns and not self.edges and (self.own in PLACES or not shared)

    def spans(self, columns: Mapping[str, str]) -> bool:
        """Whether the depth range of an image goes beyond one interval."""
        found = _depths(columns)
        return len(found) == 2 and any(min(found) < edge < max(found) for edge in self.edges)

    def is_reversed(self, columns: Mapping[str, str]) -> bool:
        """Whether the minimum depth of an image is more than its maximum depth, and intervals of depth are counted."""
        found = _depths(columns)
        return bool(self.edges) and len(found) == 2 and found[0] > found[1]

    def _depth(self, columns: Mapping[str, str]) -> str:
        """The interval with the middle of the depth range; the last interval includes its end."""
        found = _depths(columns)
        if not found:
            return ""
        middle = sum(found) / len(found)
        for top, bottom in pairwise(self.edges):
            if top <= middle < bottom or middle == bottom == self.edges[-1]:
                return f"{top:g}-{bottom:g}"
        return ""


def grouping(own: Sequence[str], by: Sequence[str] = (), edges: Sequence[float] = ()) -> Grouping:
    """How the images of a survey are put into samples.

    Args:
        own: the columns of the survey's input.
        by: the columns that the user named; `DEPTH` stands for the columns of depth.
        edges: the ends of depth intervals in meters.

    Raises:
        InputError: the survey lacks a named column, or the ends do not increase.
    """
    if edges and (len(edges) < 2 or any(top >= bottom for top, bottom in pairwise(edges))):
        raise InputError("--depth-bins: give two or more depths in meters that increase, such as 0,50,100,200")
    if edges and not any(name in own for name in DEPTHS):
        raise InputError(f"--depth-bins: the survey has neither of the columns {' and '.join(DEPTHS)}")
    names = list(by)
    if edges and DEPTH not in names:
        names = [*(names or sample_columns(own)), DEPTH]
    if DEPTH in names and DEPTH not in own and not edges:
        at = names.index(DEPTH)
        names[at : at + 1] = [name for name in DEPTHS if name in own] or [DEPTH]
    sample_columns(own, [name for name in names if not edges or name != DEPTH])  # refuses a name that is not there
    columns = tuple(dict.fromkeys(names)) or sample_columns(own)
    base = next((name for name in SAMPLE_COLUMNS if name in own), "")
    return Grouping(columns, base, tuple(edges))


def sample_columns(own: Sequence[str], by: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that name the samples; empty if there is none, and the survey is one sample.

    Args:
        own: the columns of the survey's input.
        by: the columns that the user named.

    Raises:
        InputError: the survey lacks a named column.
    """
    for name in by:
        if name not in own:
            has = ", ".join(own) or "none"
            raise InputError(f"--by: the survey has no column '{name}'{did_you_mean(name, own)}; its columns: {has}")
    return tuple(dict.fromkeys(by)) or next(((name,) for name in SAMPLE_COLUMNS if name in own), ())


def sample_name(key: Sequence[str]) -> str:
    """The name of a sample with these values."""
    return "/".join(value or NO_VALUE for value in key) or "all images"


def where_of(columns: Mapping[str, str], name: str) -> str:
    """The value of a column of `WHERE`, of a time only its day; empty if it is missing."""
    text = _value(columns, name)
    return text[:10] if name == DAY else text


def are_unlike(name: str, one: str, other: str) -> bool:
    """Whether two values of a column of `WHERE` may be those of two samples.

    A run that goes on after midnight, and a ship that drifts during a station, are one sample: days are unlike if they
    are more than 1 day apart, positions more than 0.05 degrees, depths more than 1 meter. A value that is neither a
    date nor a number tells nothing.
    """
    if one == other or name in PLACES:
        return one != other
    if name == DAY:
        try:
            return abs(date.fromisoformat(one) - date.fromisoformat(other)).days > 1
        except ValueError:
            return False
    first, second = number(one), number(other)
    if first is None or second is None:
        return False
    apart = abs(first - second)
    if name == POSITIONS[1]:
        apart = min(apart, abs(360 - apart))  # 179.99 and -179.99 are neighbors
    return apart > (1.0 if name in DEPTHS else 0.05)


def _depths(columns: Mapping[str, str]) -> list[float]:
    return [depth for name in DEPTHS if (depth := number(columns.get(name, ""))) is not None]


def _value(columns: Mapping[str, str], name: str) -> str:
    text = columns.get(name, "").strip()
    return "" if is_missing(text) else text
