"""Finds how a table is laid out: its separator, the line of its header, and what stands before the header.

Invariant: only the first lines decide. Where two separators fit equally, the table is refused: Excel's line ``sep=;``
at the top decides then.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pelagia.errors import InputError
from pelagia.tables.cells import Lines, split_row
from pelagia.tables.table import has_known

SAMPLE_LINES = 100
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t| ]*[\r\n]*', re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """How a table is laid out.

    Attributes:
        separator: the character between two cells.
        before: number of lines before the header.
        columns: the cells of the header, without the spaces around them.
    """

    separator: str
    before: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Trial:
    """The first rows as one separator splits them; each row with the number of lines before it."""

    separator: str
    rows: Sequence[tuple[int, list[str]]]
    header: int

    @property
    def columns(self) -> list[str]:
        return [cell.strip() for cell in self.rows[self.header][1]]

    @property
    def is_last(self) -> bool:
        """Whether no row follows the header."""
        return self.header == len(self.rows) - 1

    def score(self, known: Collection[str]) -> tuple[bool, bool, float, int]:
        """How well the separator fits; the largest is best.

        Whether the header has a known name, whether there are several columns that fit half of the rows or more, the
        share of rows that fit, and the number of columns.
        """
        width = _width(self.rows[self.header][1])
        data = [cells for _, cells in self.rows[self.header + 1 :] if any(map(str.strip, cells))]
        fitting = sum(_width(cells) <= len(self.columns) and (len(cells) > 1 or width == 1) for cells in data)
        share = fitting / len(data) if data else 0.0
        return has_known(self.columns, known), width > 1 and share >= 0.5, round(share, 2), width


def find_layout(name: str, sample: Sequence[str], known: Collection[str], warn: Callable[[str], None]) -> Layout:
    """The layout of a table.

    Lines before the header are passed over, and ``warn`` says so: comments that begin with ``#``, and titles with fewer
    cells than the header.

    Args:
        name: the path of the table, for messages.
        sample: its first lines, at most `SAMPLE_LINES`.
        known: names of columns (`plain_name`) of which the header should have one, if they are known.
        warn: called with a warning.

    Raises:
        InputError: two separators fit equally, or a cell of the sample is wrong.
    """
    told = _SEP_LINE.fullmatch(sample[0]) if sample else None
    skipped = 1 if told else 0
    present = [one for one in _SEPARATORS if one == "," or any(one in line for line in sample)]
    separators = [told.group(1)] if told else present  # the comma also for a table of one column
    trials = [trial for one in separators if (trial := _trial(name, sample[skipped:], one, known)) is not None]
    if not trials:
        return Layout(",", skipped, ())
    trials.sort(key=lambda trial: trial.score(known), reverse=True)
    best = trials[0]
    if len(trials) > 1 and trials[1].score(known) == best.score(known) and len(best.columns) > 1:
        raise InputError(
            f"{name} may be separated by {_SEPARATORS[best.separator]} or by {_SEPARATORS[trials[1].separator]}: write "
            f"'sep=;' (with your separator) on a line above the header"
        )
    _warn_of_other_columns(name, best, warn)
    before = best.rows[best.header][0]
    passed = [line for line in sample[skipped : skipped + before] if line.strip() and not line.lstrip().startswith("#")]
    if passed:
        warn(
            f"{name}: the header was found on line {skipped + before + 1}; the lines before it were passed over, the "
            f"first: {passed[0].strip()[:60]}"
        )
    return Layout(best.separator, skipped + before, tuple(best.columns))


def _warn_of_other_columns(name: str, found: _Trial, warn: Callable[[str], None]) -> None:
    """Warns of a table of one column that may have several, and the other way round."""
    several = len(found.columns) > 1
    if several and not found.is_last and all(len(cells) == 1 for _, cells in found.rows[found.header + 1 :]):
        warn(
            f"{name}: the header has {len(found.columns)} columns, but the rows have one value each: if there is one "
            "column, put its name in quotes"
        )
    if not several and any(separator in found.columns[0] for separator in _SEPARATORS):
        warn(
            f"{name}: the header '{found.columns[0]}' was read as one column: if there are several, write 'sep=;' "
            "(with your separator) on a line above it"
        )


def _trial(name: str, sample: Sequence[str], separator: str, known: Collection[str]) -> _Trial | None:
    """The rows of the sample, and which of them is the header; None if there is none."""
    rows = [(at, cells) for at, cells in _rows(name, sample, separator) if any(cell.strip() for cell in cells)]
    if not rows:
        return None
    return _Trial(separator, rows, _header(rows, known))


def _rows(name: str, sample: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows up to one that is wrong or that the sample cuts off; each with the number of lines before it."""
    lines = Lines(iter(sample))
    with suppress(InputError):
        while True:
            before = lines.number
            cells = split_row(lines, separator, name)
            if cells is None:
                return
            yield before, cells


def _width(cells: Sequence[str]) -> int:
    """The number of cells, without empty ones at the end."""
    count = len(cells)
    while count and not cells[count - 1].strip():
        count -= 1
    return count


def _header(rows: Sequence[tuple[int, list[str]]], known: Collection[str]) -> int:
    """The index of the header: the first row, unless it is a comment or a title above a table."""
    widths = Counter(_width(cells) for _, cells in rows)
    usual = max(widths, key=lambda width: (widths[width], width))
    start = 0
    while start < len(rows) - 1 and _is_comment(rows[start][1], usual):
        start += 1
    first = _width(rows[start][1])
    if not has_known(rows[start][1], known):
        for index in range(start + 1, len(rows)):
            if has_known(rows[index][1], known) and _width(rows[index][1]) > max(
                _width(cells) for _, cells in rows[start:index]
            ):
                return index
    if first == 1 < usual:
        return next((index for index in range(start, len(rows)) if _width(rows[index][1]) == usual), start)
    return start


def _is_comment(cells: Sequence[str], usual: int) -> bool:
    width, text = _width(cells), cells[0].lstrip()
    return text.startswith("#") and (width < usual or (width == 1 and text.startswith("# ")))
