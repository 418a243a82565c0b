"""Reads a table of text, row by row: manifests, EcoTaxa tables, lists of labels.

Invariant: this module alone decides the encoding, the separator, the header and the missing values of a table. A
table is never read whole, so memory does not grow with its rows.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from pelagia.errors import InputError

_LONGEST_LINE = 1 << 20

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "#n/a", "-999", "99999"})
"""Values that stand for no value, in lower case."""

Rows = Iterator[tuple[int, dict[str, str]]]
"""Last line (or row) number of each row, from 1, and its values by column."""


@dataclass(frozen=True)
class Table:
    """A table whose header has been read.

    Attributes:
        name: the table's path, for messages.
        columns: the names of the columns, without the spaces around them.
        rows: a function that reads the rows from the start.
        place: the word for a row in messages: ``line`` or ``row``.
    """

    name: str
    columns: tuple[str, ...]
    rows: Callable[[], Rows]
    place: str = "line"


def is_missing(text: str) -> bool:
    """Whether a value stands for no value, as R, pandas, Excel and instruments write it (`MISSING`)."""
    return text.strip().lower() in MISSING


def open_table(path: Path, *, what: str = "table", warn: Callable[[str], None] = lambda text: None) -> Table:
    """Reads the header of a table in a file.

    Args:
        path: the file.
        what: what the file is, for messages, such as ``manifest``.
        warn: called with a sentence for each thing that was assumed, such as an encoding.

    Raises:
        InputError: the file is missing, unreadable, or not a table; ``rows`` raises it too.
    """
    return table_of(str(path), lambda: path.open("rb"), what=what, warn=warn)


def table_of(
    name: str, opened: Callable[[], BinaryIO], *, what: str = "table", warn: Callable[[str], None] = lambda text: None
) -> Table:
    """Reads the header of a table that ``opened`` opens, such as a member of an archive. Otherwise as `open_table`."""
    with closing(_text(opened)) as file:
        first = next(_lines(file, name), "")
    header = re.sub('"[^"]*"', "", first.rstrip("\n"))
    separator = max(",;\t", key=header.count)
    columns = tuple(column.strip() for column in next(csv.reader([first], delimiter=separator), []))
    return Table(name, columns, lambda: _rows(name, opened, separator, columns))


def _rows(name: str, opened: Callable[[], BinaryIO], separator: str, columns: Sequence[str]) -> Rows:
    with closing(_text(opened)) as file:
        lines = _lines(file, name)
        next(lines, None)
        reader = csv.DictReader(lines, columns, delimiter=separator, restkey=None, restval="", strict=True)
        try:
            for row in reader:
                if any(row.pop(None, [])):
                    raise InputError(f"{name}, line {reader.line_num + 1}: more values than the header has columns")
                row.pop("", None)
                if any(value.strip() for value in row.values()):
                    yield reader.line_num + 1, row
        except csv.Error as error:
            raise InputError(f"{name}, after line {reader.line_num + 1}: {error}") from None


def _text(opened: Callable[[], BinaryIO]) -> TextIO:
    return io.TextIOWrapper(opened(), encoding="utf-8-sig", newline="")


def _lines(file: TextIO, name: str) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise InputError(f"{name} is not a table: it has a line of more than {_LONGEST_LINE} characters")
        yield line
