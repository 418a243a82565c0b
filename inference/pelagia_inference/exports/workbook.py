"""The tidy tables as sheets of one Excel workbook, written row by row.

Invariant: no cell is a formula; `pelagia.tables.excel.excel_cell` makes every cell.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

from pelagia.system.files import new_file
from pelagia.system.tables import Cell
from pelagia.tables.excel import LONGEST_TEXT, excel_cell
from pelagia_inference.exports.exporting import Exporting
from pelagia_inference.exports.tidy import TidyTable, notes_of, tables_of

FILE = "survey.xlsx"
MOST_ROWS = 1_048_575
"""Rows of a sheet, without the header."""

_CUT = "cells that Excel cannot hold whole: they were cut to 32,767 characters"


def write(work: Exporting) -> list[str]:
    """Writes the workbook. A table with more rows than a sheet can have continues on further sheets."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    more = []
    for table in tables_of(work):
        sheets = _write_table(work, book, table)
        if sheets > 1:
            more.append(f"the table '{table.name}' has {sheets} sheets, because a sheet holds {MOST_ROWS:,} rows")
    with new_file(work.folder / FILE) as file:
        book.save(file)
    return [*more, *notes_of(work)]


def _write_table(work: Exporting, book: Any, table: TidyTable) -> int:
    """Writes the sheets of a table, and returns how many there are."""
    rows = table.rows()
    number = 0
    first: list[Cell] | None = None
    while number == 0 or (first := next(rows, None)) is not None:
        number += 1
        sheet = book.create_sheet(table.name if number == 1 else f"{table.name} {number}")
        sheet.freeze_panes = "A2"
        sheet.append([_cell(work, sheet, name) for name in table.columns])
        begun = [] if first is None else [first]
        for row in islice(chain(begun, rows), MOST_ROWS):
            sheet.append([_cell(work, sheet, value) for value in row])
    return number


def _cell(work: Exporting, sheet: Any, value: Cell) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        work.left_out[_CUT] += 1
    return excel_cell(sheet, value)
