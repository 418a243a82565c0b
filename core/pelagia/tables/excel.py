"""Sheets of Excel, ``.xlsx``, read row by row, and cells to write. They need the extra ``excel``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from pelagia.errors import InputError, MissingExtra, first_line
from pelagia.system.tables import Cell, plain
from pelagia.tables.table import Rows, Table, Warn, has_known, refuse_twins

LONGEST_TEXT = 32_767
"""Characters that a cell can hold."""

_HEADER_ROWS = 100
_FAULTS = (BadZipFile, KeyError, ValueError, SyntaxError, TypeError, AttributeError, EOFError, IndexError)
"""What openpyxl raises for a file that is not a workbook or is damaged."""


def open_excel(path: Path, what: str, warn: Warn, known: Collection[str]) -> Table:
    """Reads the header of a sheet: the first one that has a known column, else the first one that has any value.

    Whole numbers have no decimals. Dates are ISO 8601, without a time where it is midnight. An error such as ``#N/A``
    is the text that Excel shows.

    Raises:
        MissingExtra: openpyxl is not installed.
        InputError: the file is not a workbook, or has no values; ``rows`` raises it too.
    """
    with _sheets(path, what) as sheets:
        found = [(title, header) for title, rows in sheets.items() if (header := _header(rows, known)) is not None]
    if not found:
        raise InputError(f"{path} has no sheet with values")
    title, (number, columns) = next((sheet for sheet in found if has_known(sheet[1][1], known)), found[0])
    if len(found) > 1:
        others = ", ".join(f"'{other}'" for other, _ in found if other != title)
        warn(f"{path}: the sheet '{title}' was read; not read: {others}")
    refuse_twins(columns, str(path))
    named = tuple(name for name in columns if name)
    return Table(str(path), named, lambda: _rows(path, what, title, number, columns), "row")


@contextmanager
def _sheets(path: Path, what: str) -> Iterator[dict[str, Iterator[Sequence[Any]]]]:
    """Title -> rows of each sheet of a workbook."""
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise MissingExtra(f"the {what} {path.name}", "excel", "openpyxl") from None
    try:
        with closing(load_workbook(path, read_only=True, data_only=True)) as book:
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # some programs write a wrong size, and rows would be missing
            yield {sheet.title: sheet.iter_rows(values_only=True) for sheet in book.worksheets}
    except _FAULTS as error:
        raise InputError(
            f"{path} cannot be read as an Excel workbook: {first_line(error)}; save it again as .xlsx, or as CSV UTF-8"
        ) from None


def _header(rows: Iterator[Sequence[Any]], known: Collection[str]) -> tuple[int, tuple[str, ...]] | None:
    """Number and names of the header: the first row with a known column, else the first row that is not a title."""
    first: tuple[int, tuple[str, ...]] | None = None
    for number, row in enumerate(rows, start=1):
        names = tuple(_text(value).strip() for value in row)
        if has_known(names, known):
            return number, names
        if any(names) and (first is None or sum(map(bool, first[1])) == 1 < sum(map(bool, names))):
            first = number, names
        if number == _HEADER_ROWS:
            break
    return first


def _rows(path: Path, what: str, title: str, header: int, columns: Sequence[str]) -> Rows:
    with _sheets(path, what) as sheets:
        for number, row in enumerate(sheets[title], start=1):
            texts = [_text(value) for value in row]
            if number <= header or not any(text.strip() for text in texts):
                continue
            if any(text.strip() for text in texts[len(columns) :]):
                raise InputError(f"{path}, row {number}: more values than the header has columns")
            filled = texts + [""] * (len(columns) - len(texts))
            yield number, {name: text for name, text in zip(columns, filled, strict=False) if name}


def excel_cell(sheet: Any, value: Cell) -> Any:
    """A value as a cell of a sheet that is written row by row.

    Text is never a formula or an error value: Excel shows ``=1+2`` and ``#N/A`` as they are. Control characters, which
    a workbook cannot hold, become escapes. Text of more than `LONGEST_TEXT` characters is cut.
    """
    if not isinstance(value, str):
        return value
    text = str(plain(value))[:LONGEST_TEXT]
    if not text.startswith(("=", "#")):
        return text
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(sheet, text)
    cell.data_type = "s"
    cell.quotePrefix = True
    return cell


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)
