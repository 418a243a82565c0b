"""Warns of sizes and positions in a manifest that cannot be right: nothing else would say so.

A size that is not a number above 0 counts as unknown, and a position goes into the results as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pelagia.images.pixel_size import PIXEL_SIZE_COLUMNS, pixel_size_um
from pelagia.sources.listing import Listing
from pelagia.system.files import printable
from pelagia.tables.values import is_missing, number

_LIMITS = {"decimalLatitude": 90, "decimalLongitude": 180}


class StatedValues:
    """Checks the rows of one table, and warns once for each column, with the number of values.

    Args:
        table: the path of the table, for the warnings.
        columns: the columns of the table.
        listing: gets the warnings.
    """

    def __init__(self, table: str, columns: Collection[str], listing: Listing) -> None:
        self._table, self._listing = table, listing
        self._names = [name for name in (*PIXEL_SIZE_COLUMNS, *_LIMITS) if name in columns]
        self._said: dict[str, str] = {}
        """Column -> the warning, with the first value that is wrong."""

    def check(self, row: Mapping[str, str]) -> None:
        """Warns of the values of a row that cannot be right. A missing value is not wrong."""
        for name in self._names:
            if (fault := _fault(name, row[name])) and not is_missing(row[name]):
                text = f"{self._table}: the column {name} has values that are not {fault}"
                self._listing.warn(self._said.setdefault(name, text))


def _fault(name: str, text: str) -> str:
    """What a value should be, and what becomes of it; empty if it is right."""
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
    return f"degrees between -{limit} and {limit} with a decimal point, {example}: they are passed on as they are"
