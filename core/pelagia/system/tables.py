r"""CSV files: the one writer for every table that Pelagia makes.

Invariant: a table is UTF-8 (``predictions.csv`` with a mark), separated by commas and quoted as RFC 4180 says; each row
ends with ``\n`` on every system.
The file appears only when it is complete. The same rows always give the same bytes.

A spreadsheet runs a cell that starts with ``=``, ``+``, ``-``, ``@`` or a tab as a formula (OWASP, "CSV Injection"). So
a table that people open (``predictions.csv``, ``dropped.csv``, ``per_class.csv``) has an apostrophe before such text. A
table that Pelagia reads again (``manifest.csv`` and ``truth.csv``, ``suspects.csv``, ``metrics.csv``) is written with
``guard_formulas=False``: each text must come back exactly as it was, and a path with an apostrophe before it names no
file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from pelagia.system.files import new_file, printable

Cell = str | int | float | None
"""The value of a cell; None is an empty cell. A float is written with all of its digits: round it before."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


def write_table(
    path: Path,
    header: Iterable[str],
    rows: Iterable[Iterable[Cell]],
    *,
    guard_formulas: bool = True,
    mark: bool = False,
) -> None:
    """Writes a CSV file, which is complete or absent; a file that is already at ``path`` is replaced.

    Args:
        header: the names of the columns.
        rows: the cells of each row, in the order of the header. They are read one by one.
        guard_formulas: write an apostrophe before text that a spreadsheet would run. False for a file that Pelagia
            reads again.
        mark: begin with the byte-order mark, from which Excel knows that the file is UTF-8. Other programs may take it
            for a part of the first column's name.

    Raises:
        OSError: the disk is full or failing; the file that was at ``path`` before is unchanged.
    """
    cell = _harmless if guard_formulas else plain
    with new_file(path, "w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(cell, header))
        writer.writerows(map(cell, row) for row in rows)


def plain(value: Cell) -> Cell:
    r"""``value`` with ``\n`` for each kind of line end, and with control characters as escapes, such as ``\x1b``.

    Python's csv does not quote a lone ``\r``, and misreads it; and a table may be shown on a terminal.
    """
    if not isinstance(value, str) or value.isprintable():
        return value
    return printable(value.replace("\r\n", "\n").replace("\r", "\n"), lines=True)


def _harmless(value: Cell) -> Cell:
    """``value``, with an apostrophe before it if a spreadsheet would run it. Numbers stay numbers, also as text."""
    value = plain(value)
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
