"""Warns of sizes, positions, depths and times in a manifest that cannot be right: nothing else would say so.

A size that is not a number above 0 counts as unknown; the others go into the results as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from functools import lru_cache

from pelagia.images.pixel_size import PIXEL_SIZE_COLUMNS, pixel_size_um
from pelagia.sources.listing import Listing
from pelagia.system.files import printable
from pelagia.tables.values import is_missing, number

_LIMITS = {"decimalLatitude": 90, "decimalLongitude": 180, "minimumDepthInMeters": 12000, "maximumDepthInMeters": 12000}
_DEPTHS = ("minimumDepthInMeters", "maximumDepthInMeters")
_TIME = "eventDate"
_DAY = re.compile(
    r"([0-9]{4})(?:-?([0-9]{2}))?(?:-?([0-9]{2}))?(?:[T ][0-9]{2}(?::?[0-9]{2}){0,2}([.,][0-9]+)?.{0,6})?"
)


class StatedValues:
    """Checks the rows of one table, and warns once for each column, with the number of values.

    Args:
        table: the path of the table, for the warnings.
        columns: the columns of the table.
        listing: gets the warnings.
    """

    def __init__(self, table: str, columns: Collection[str], listing: Listing) -> None:
        self._table, self._listing = table, listing
        self._names = [name for name in (*PIXEL_SIZE_COLUMNS, *_LIMITS, _TIME) if name in columns]
        self._has_depths = all(name in columns for name in _DEPTHS)
        self._said: dict[str, str] = {}
        """Column, or columns -> the warning, with the first value that is wrong."""

    def check(self, row: Mapping[str, str]) -> None:
        """Warns of the values of a row that cannot be right. A missing value is not wrong."""
        for name in self._names:
            if (fault := _fault(name, row[name])) and not is_missing(row[name]):
                self._warn(name, f"the column {name} has values that are not {fault}")
        if self._has_depths:
            self._check_depths(*(row[name] for name in _DEPTHS))

    def _check_depths(self, top: str, bottom: str) -> None:
        shallow, deep = number(top), number(bottom)
        if shallow is not None and deep is not None and shallow > deep:
            found = f"such as {printable(top.strip())} and {printable(bottom.strip())}"
            text = f"the {_DEPTHS[0]} is more than the {_DEPTHS[1]} in rows, {found}: they are passed on as they are"
            self._warn(_DEPTHS[0] + _DEPTHS[1], text)

    def _warn(self, key: str, text: str) -> None:
        self._listing.warn(self._said.setdefault(key, f"{self._table}: {text}"))


@lru_cache(1 << 12)
def _fault(name: str, text: str) -> str:
    """What a value should be, and what becomes of it; empty if it is right."""
    if name == _TIME:
        fault = f"dates like 2024-05-31 or 2024-05-31T13:45:00Z, such as '{printable(text.strip())}'"
        return "" if all(map(_is_date, text.strip().split("/"))) else f"{fault}: they are passed on as they are"
    limit = _LIMITS.get(name)
    if limit is None:
        right = pixel_size_um({name: text}) > 0
    else:
        value = number(text)
        right = value is not None and "," not in text and abs(value) <= limit
    if right:
        return ""
    example = f"such as '{printable(text.strip())}'"
    if limit is None:
        return f"a number above 0, {example}: the size of these images is not known; write only the number"
    if "Depth" in name:
        return f"meters between -{limit} and {limit} with a decimal point, {example}: they are passed on as they are"
    return f"degrees between -{limit} and {limit} with a decimal point, {example}: they are passed on as they are"


def _is_date(text: str) -> bool:
    """Whether a text is a date of ISO 8601: a year, month or day, perhaps with a time."""
    found = _DAY.fullmatch(text)
    try:
        return found is not None and bool(date(int(found[1]), int(found[2] or 1), int(found[3] or 1)))
    except ValueError:
        return False
