"""The list of expected taxa: where and when each of them lives, as a table that a person writes.

| column | what |
| --- | --- |
| ``taxon`` | a class of the model, or a taxon above classes |
| ``min_latitude``, ``max_latitude`` | degrees; empty: any |
| ``min_longitude``, ``max_longitude`` | degrees; a minimum above the maximum: a box across 180 degrees; empty: any |
| ``months`` | such as ``3-9``, ``11-2`` or ``1,2,12``; empty: any |

A taxon may have several rows. A taxon that the list does not name is not judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.survey.additions import Flag
from pelagia.survey.journal import Survey
from pelagia.survey.model_card import names_of_model
from pelagia.tables.reader import open_table
from pelagia.tables.values import number
from pelagia_inference.checks.gather import SampleState

_EDGES = ("min_latitude", "max_latitude", "min_longitude", "max_longitude")
COLUMNS = ("taxon", *_EDGES, "months")


@dataclass(frozen=True)
class Region:
    """Where and when a taxon lives: a box in degrees, and months 1..12."""

    south: float
    north: float
    west: float
    east: float
    months: frozenset[int]

    def holds(self, latitude: float, longitude: float, month: int) -> bool:
        """Whether a place and a month are inside."""
        inside = self.west <= longitude <= self.east
        if self.west > self.east:
            inside = longitude >= self.west or longitude <= self.east
        return self.south <= latitude <= self.north and inside and month in self.months


def read_expected(path: Path) -> dict[str, list[Region]]:
    """Taxon -> where it lives.

    Raises:
        InputError: the table cannot be read, or a row is wrong; the message names the line.
    """
    table = open_table(path, what="list of expected taxa")
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise InputError(f"{path} has no column '{missing[0]}': its columns must be {', '.join(COLUMNS)}")
    found: dict[str, list[Region]] = defaultdict(list)
    for line, row in table.rows():
        try:
            found[row["taxon"].strip()].append(_region(row))
        except ValueError as error:
            raise InputError(f"{path}, {table.place} {line}: {error}") from None
    if "" in found:
        raise InputError(f"{path}: a row has no taxon: name one, or remove the row")
    return dict(found)


def _region(row: Mapping[str, str]) -> Region:
    edges: list[float] = []
    for name, default, most in zip(_EDGES, (-90.0, 90.0, -180.0, 180.0), (90, 90, 180, 180), strict=True):
        text = row[name].strip()
        value = default if not text else number(text)
        if value is None or abs(value) > most:
            raise ValueError(f"{name} '{text}' is not a number from -{most} to {most}")
        edges.append(value)
    if edges[0] > edges[1]:
        raise ValueError("min_latitude is above max_latitude")
    south, north, west, east = edges
    return Region(south, north, west, east, _months(row["months"]))


def _months(text: str) -> frozenset[int]:
    """The months of a text such as ``11-2`` or ``1,2,12``."""
    if not text.strip():
        return frozenset(range(1, 13))
    found: set[int] = set()
    for part in text.replace(";", ",").split(","):
        first, dash, last = part.strip().partition("-")
        ends = [first, last] if dash else [first, first]
        if not all(end.strip().isdecimal() and 1 <= int(end) <= 12 for end in ends):
            raise ValueError(f"months '{text}' are not like 3-9 or 1,2,12")
        start, end = map(int, ends)
        found.update(range(start, end + 1) if start <= end else [*range(start, 13), *range(1, end + 1)])
    return frozenset(found)


def unexpected(
    samples: Iterable[SampleState], expected: Mapping[str, list[Region]], lineages: Mapping[str, tuple[str, ...]]
) -> Iterator[Flag]:
    """A flag for each sample with classes that do not live there.

    Args:
        expected: taxon -> where it lives.
        lineages: class -> the names of its taxa from the root down; a class is judged by its own name if the list has
            it, else by the lowest of its taxa that the list has.
    """
    for sample in samples:
        where = place_and_month(sample.columns)
        if where is None:
            continue
        found = []
        for name, images in sample.classes.most_common():
            taxon = next((one for one in (name, *reversed(lineages.get(name, ()))) if one in expected), None)
            if taxon and not any(region.holds(*where) for region in expected[taxon]):
                found.append(f"{name} ({images} image{'' if images == 1 else 's'})")
        if found:
            place = f"at {where[0]:.2f}, {where[1]:.2f} in month {where[2]}"
            yield Flag(sample.name, "unexpected_class", f"{', '.join(found)} {place}")


def unknown_taxa(survey: Survey, expected: Collection[str]) -> Iterator[str]:
    """A warning, in words, of the names in the list that the model does not have. Those that resemble one come first.

    Args:
        survey: the open survey, with the names of its model.
        expected: the taxa of the list.
    """
    known = names_of_model(survey)
    unknown = {name: did_you_mean(name, known) for name in sorted({*expected} - known)}
    if unknown:
        named = sorted((f"'{name}'{alike}" for name, alike in unknown.items() if alike), key=str.casefold)
        named += [f"'{name}'" for name, alike in unknown.items() if not alike]
        yield (
            f"{len(unknown)} of the {len(expected)} taxa in the list of expected taxa are no class and no taxon of the "
            f"model, so they judge nothing: {first_few(named)}"
        )


def place_and_month(columns: Mapping[str, str]) -> tuple[float, float, int] | None:
    """Latitude, longitude and month of a sample; None if one of them is not known."""
    latitude, longitude = (number(columns.get(name, "")) for name in ("decimalLatitude", "decimalLongitude"))
    parts = columns.get("eventDate", "").split("-")
    if latitude is None or longitude is None or len(parts) < 2 or not parts[1][:2].isdecimal():
        return None
    month = int(parts[1][:2])
    return (latitude, longitude, month) if 1 <= month <= 12 else None
