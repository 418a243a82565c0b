r"""Splits the lines of a table into cells, by the rules of RFC 4180 and by what programs write that do not keep them.

Invariant: no character of a cell is lost, and no line disappears in another one without a closing quote. A cell is
quoted if its closing quote is followed by a separator or the end of the line; inside it, two quotes, or R's backslash
and quote, are one quote. Any other quote is a character like all others: ``5" net`` and ``"Tara" leg 2`` stay as they
are.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from pelagia.errors import InputError

_LONGEST_CELL = 1 << 17


class Lines:
    """Lines of a text that can be given back, with the number of lines that were taken."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: deque[str] = deque()
        self.number = 0

    def take(self) -> str:
        """The next line with its line end; empty at the end of the text."""
        line = self._returned.popleft() if self._returned else next(self._lines, "")
        self.number += bool(line)
        return line

    def give_back(self, lines: list[str]) -> None:
        """Makes these lines the next ones again."""
        self._returned.extendleft(reversed(lines))
        self.number -= len(lines)


def split_row(lines: Lines, separator: str, name: str) -> list[str] | None:
    """The cells of the next row, which may have several lines; None at the end.

    Raises:
        InputError: a cell is too long; or a cell begins with a quote that is never closed, which could hide the
            following rows. In a table separated by tabs such a quote is an ordinary character.
    """
    line = lines.take()
    if not line:
        return None
    if '"' not in line:
        cells = line.rstrip("\r\n").split(separator)
        if len(line) > _LONGEST_CELL and max(map(len, cells)) > _LONGEST_CELL:
            raise _too_long(name, lines.number)
        return cells
    if '\\"' in line:  # R's backslash and quote, or a folder of Windows at the end of a cell
        return _split_with_care(line, lines, separator, name)
    try:  # fast, and right for a row on one line whose quotes are all in order
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return _split_with_care(line, lines, separator, name)


def _too_long(name: str, number: int) -> InputError:
    return InputError(f"{name}, line {number}: a cell has more than {_LONGEST_CELL} characters: is it a table?")


def _split_with_care(line: str, lines: Lines, separator: str, name: str) -> list[str]:
    """The cells of a row that is not as RFC 4180 says, or that has several lines."""
    start = lines.number
    cells: list[str] = []
    at = 0
    while True:
        quoted = _quoted_cell(line, at, lines, separator) if line.startswith('"', at) else None
        if quoted is not None:
            cell, line, at = quoted
        else:
            ends = [end for end in (line.find(separator, at), len(line.rstrip("\r\n"))) if end >= at]
            cell, at = line[at : min(ends)], min(ends)
            if line.startswith('"', at - len(cell)) and cell.count('"') % 2:
                _refuse_odd_quote(cell, separator, name, start)
        if len(cell) > _LONGEST_CELL:
            raise _too_long(name, start)
        cells.append(cell)
        if not line.startswith(separator, at):
            return cells
        at += len(separator)


def _refuse_odd_quote(cell: str, separator: str, name: str, line: int) -> None:
    if separator != "\t":
        raise InputError(
            f'{name}, line {line}: the quote (") at the beginning of {cell[:40]} is not closed at the end of the cell: '
            "remove the quotes of this cell, or double each quote in it and put the whole cell in quotes"
        )


def _quoted_cell(line: str, at: int, lines: Lines, separator: str) -> tuple[str, str, int] | None:
    """Text, line and end of the quoted cell that begins at ``at``; None if it is not a quoted cell after all.

    The line that is returned is the given one with further lines behind it, if the cell has several.
    """
    more: list[str] = []
    pieces: list[str] = []
    begin = search = at + 1
    while True:
        end = line.find('"', search)
        if end < 0:
            following = lines.take() if len(line) - at <= _LONGEST_CELL else ""
            if not following:
                break
            more.append(following)
            search, line = len(line), line + following
        elif line.startswith('""', end) and line[end - 1] == "\\" and _ends_cell(line, end + 2, separator):
            pieces.append(line[begin : end - 1] + '"')  # R's backslash and quote before the closing quote
            begin = search = end + 1
        elif line.startswith('""', end):
            pieces.append(line[begin : end + 1])
            begin = search = end + 2
        elif _ends_cell(line, end + 1, separator):
            text = "".join([*pieces, line[begin:end]])
            if more and separator == "\t" and "\t" in text:
                break  # no program writes such a cell: two cells of two rows have a quote each
            return text, line, end + 1
        elif line[end - 1] == "\\":
            pieces.append(line[begin : end - 1] + '"')
            begin = search = end + 1
        else:
            break
    lines.give_back(more)
    return None


def _ends_cell(line: str, at: int, separator: str) -> bool:
    """Whether a cell ends at ``at``: before a separator, a line end or the end of the text."""
    return at == len(line) or line.startswith((separator, "\r", "\n"), at)
