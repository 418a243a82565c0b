"""Opens a table, whatever program wrote it, and reads it row by row.

Invariant: this folder alone decides the encoding, the separator, the header and the missing values of a table. A table
of text or a Parquet table is never read whole, so memory does not grow with its rows.

| ending | what |
| --- | --- |
| ``.csv`` ``.tsv`` ``.txt`` | text in UTF-8, UTF-16 or Windows-1252, separated by comma, semicolon, tab or bar |
| ``.xlsx`` | a sheet of Excel, with the extra ``excel`` |
| ``.parquet`` ``.pq`` | Parquet, with the extra ``parquet`` |
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TextIO

from pelagia.errors import InputError
from pelagia.tables.cells import Lines, split_row
from pelagia.tables.encoding import find_encoding
from pelagia.tables.layout import SAMPLE_LINES, Layout, find_layout
from pelagia.tables.table import Rows as Rows
from pelagia.tables.table import Table as Table
from pelagia.tables.table import Warn, refuse_twins
from pelagia.tables.values import MISSING as MISSING
from pelagia.tables.values import is_missing as is_missing
from pelagia.tables.values import number as number

TEXT_ENDINGS = frozenset({".csv", ".tsv", ".txt"})
TABLE_ENDINGS = TEXT_ENDINGS | {".xlsx", ".parquet", ".pq"}
"""Endings of the names of tables that `open_table` reads, in lower case."""

_LONGEST_LINE = 1 << 20


def _no_warning(text: str) -> None:
    """Passes over a warning."""


def open_table(path: Path, *, what: str = "table", warn: Warn = _no_warning, known: Collection[str] = ()) -> Table:
    """Reads the header of a table in a file, by the ending of its name (see above); any other ending is text.

    Args:
        path: the file.
        what: what the file is, for messages, such as ``manifest``.
        warn: called with a sentence for each thing that was assumed, such as an encoding.
        known: names of columns, as `pelagia.tables.values.plain_name` gives them, of which the header should have one:
            they help to find the header below other lines.

    Raises:
        InputError: the file is missing, unreadable, or not a table; ``rows`` raises it too.
        MissingExtra: a package that reads the table is not installed.
    """
    ending = path.suffix.lower()
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a {what}")
        if ending in (".xls", ".ods"):
            raise InputError(f"{path}: a {what} that ends in {ending} cannot be read: save it as .xlsx or CSV UTF-8")
        if ending == ".xlsx":
            from pelagia.tables.excel import open_excel

            return open_excel(path, what, warn, known)
        if ending in (".parquet", ".pq"):
            from pelagia.tables.parquet import open_parquet

            return open_parquet(path, what)
        return table_of(str(path), lambda: path.open("rb"), what=what, warn=warn, known=known)
    except FileNotFoundError:
        raise InputError(f"there is no {what} at {path}") from None
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror or error}") from None


def table_of(
    name: str,
    opened: Callable[[], BinaryIO],
    *,
    what: str = "table",
    warn: Warn = _no_warning,
    known: Collection[str] = (),
) -> Table:
    """Reads the header of a table of text that ``opened`` opens, such as a member of an archive.

    ``opened`` is called several times, and its errors are raised as they are. Otherwise as `open_table`.
    """
    encoding = find_encoding(name, opened, what, warn)

    def text() -> TextIO:
        return io.TextIOWrapper(opened(), encoding=encoding, newline="")

    with closing(text()) as file:
        sample = list(islice(_lines(file, name, what), SAMPLE_LINES))
    layout = find_layout(name, sample, known, warn)
    refuse_twins(layout.columns, name)
    return Table(
        name, tuple(column for column in layout.columns if column), lambda: _rows(name, text, what, layout, warn)
    )


def _rows(name: str, text: Callable[[], TextIO], what: str, layout: Layout, warn: Warn) -> Rows:
    columns, width = layout.columns, len(layout.columns)
    unnamed = [index for index, column in enumerate(columns) if index and not column]
    try:
        with closing(text()) as file:
            lines = Lines(_lines(file, name, what))
            for _ in range(layout.before):
                lines.take()
            split_row(lines, layout.separator, name)
            while True:
                before = lines.number
                cells = split_row(lines, layout.separator, name)
                if cells is None:
                    return
                _refuse_escape(cells[0], name, lines.number)
                if len(cells) != width:
                    cells = _fitted(cells, width, name, before + 1, lines.number)
                row = dict(zip(columns, cells, strict=True))
                row.pop("", None)  # a column without a name, such as the row numbers of pandas and R
                if not any(map(str.strip, row.values())):
                    continue
                if "\0" in "".join(cells):
                    raise InputError(f"{name}, line {lines.number}: there is a NUL character: copy the file again")
                if unnamed and any(cells[index].strip() for index in unnamed):
                    warn(f"{name}: column {unnamed[0] + 1} has values but no name; it was left out")
                    unnamed = []
                yield lines.number, row
    except OSError as error:
        raise InputError(f"cannot read the {what} {name}: {error.strerror or error}") from None


def _refuse_escape(cell: str, name: str, line: int) -> None:
    if cell.startswith('\\"'):
        raise InputError(
            f'{name}, line {line}: the line begins with a backslash and a quote (\\"), which may belong to the line '
            'before: write two quotes ("") for a quote in a cell'
        )


def _fitted(cells: list[str], width: int, name: str, first: int, last: int) -> list[str]:
    """``cells`` with empty ones added or removed at the end.

    Raises:
        InputError: there are more values than columns; or a row of several lines is too short, because a quote meant
            as a character hides a line end.
    """
    if any(cell.strip() for cell in cells[width:]) or len(cells) > width == 1:  # one column has no separator
        raise InputError(f"{name}, line {last}: more values than the header has columns")
    if len(cells) < width and last > first:
        raise InputError(
            f'{name}, lines {first} to {last}: a quote (") joins these lines to one row, which is too short: remove '
            f"the quote at the beginning of the cell on line {first}, or close it"
        )
    return cells[:width] + [""] * (width - len(cells))


def _lines(file: TextIO, name: str, what: str) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith(("\n", "\r")):
            raise InputError(f"{name} is not a {what}: it has a line of more than {_LONGEST_LINE} characters")
        yield line
