"""Output of the commands: lines, tables and progress bars on the terminal.

Invariant: whatever a name holds is shown as it is (`_plain`): nothing in it is taken for rich's markup, and no control
character reaches the terminal. Results go to stdout and can be piped; progress and notes go to stderr; a bar is drawn
only on a terminal. Rich is imported when something is shown, so that `pelagia --help` is quick.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from pelagia.shell import command_line
from pelagia.system.files import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


_STDERR = 2
_FIGURES = re.compile(r"([-+0-9.,%() ]|to|of)*")
"""A number, a share or an interval, such as ``0.81 (0.75 to 0.86)``."""
_LEAST_WIDTH = 10
"""Characters of a name on one line of a table, unless all are shorter."""
_GAP = 2
"""Spaces between two columns of a table."""

ProgressCallback = Callable[[int, int], None]
"""A function that is called with (done, total) during long work."""


@cache
def _console(stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def _plain(text: object) -> Text:
    """Text to show exactly as it is, without markup and control characters; it may have several lines."""
    from rich.text import Text

    return Text(printable(str(text), lines=True))


def note(text: str) -> None:
    """Prints a line on stderr, such as a warning."""
    _console(stderr=True).print(_plain(text))


def say(text: str = "") -> None:
    """Prints a line of the result on stdout."""
    _console(stderr=False).print(_plain(text))


def say_next(*words: object) -> None:
    """Prints the command to type next, quoted for the shell."""
    say(f"next: {command_line(*words)}")


def on_terminal() -> bool:
    """Whether stderr is a terminal, so that a person sees progress."""
    return _console(stderr=True).is_terminal


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Shows ``what`` while the block runs, for work that reports no progress."""
    with _console(stderr=True).status(_plain(what)):
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """Yields ``update(done, total, text="")``. If ``total`` is None, a count is shown instead of a bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
    )
    err = _console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(printable(what), total=None, text="")

        def update(done: int, total: int | None = None, text: str = "") -> None:
            bar.update(task, completed=done, total=total, text=printable(text))

        yield update


@contextmanager
def decoder_messages_hidden() -> Iterator[None]:
    """Hides the messages of libjpeg, libpng and libtiff about damaged images, which are rows of the result.

    They write to descriptor 2 of the process, and OpenCV has no option to stop them. So descriptor 2 leads to the null
    device inside the block, and Python's `sys.stderr` uses a copy of it. There is no cost for each image.
    """
    python_stderr = sys.stderr
    try:
        if python_stderr.fileno() != _STDERR:
            raise OSError
    except (AttributeError, OSError):  # stderr is not descriptor 2, as in a notebook
        yield
        return
    python_stderr.flush()
    nowhere, kept = os.open(os.devnull, os.O_WRONLY), os.dup(_STDERR)
    encoding, errors = python_stderr.encoding, python_stderr.errors
    sys.stderr = open(kept, "w", buffering=1, encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = python_stderr
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table on stdout; columns of numbers are aligned to the right.

    In a narrow terminal names are broken into lines, and figures are not; there a table may be wider than the terminal.
    """
    from rich.cells import cell_len
    from rich.table import Table

    drawn, needed = Table(box=None, pad_edge=False, header_style="bold"), -_GAP
    for index, column in enumerate(columns):
        cells = [str(row[index]) for row in rows]
        numeric = bool(cells) and all(map(_is_number, cells))
        figures = bool(cells) and all(map(_FIGURES.fullmatch, cells))
        longest = max(map(cell_len, cells), default=0)
        least = longest if figures else min(longest, _LEAST_WIDTH)
        drawn.add_column(
            _plain(column), justify="right" if numeric else "left", overflow="fold", no_wrap=figures, min_width=least
        )
        needed += max([least, *map(cell_len, column.split())]) + _GAP
    for row in rows:
        drawn.add_row(*map(_plain, row))
    console = _console(stderr=False)
    if needed > console.width:
        drawn.width = needed
    console.print(drawn, soft_wrap=False, crop=False)


def counts_table(counts: Mapping[str, int], heading: tuple[str, str]) -> None:
    """Prints names and counts, the largest count first."""
    table(heading, Counter(dict(sorted(counts.items()))).most_common())


def _is_number(cell: object) -> bool:
    try:
        float(str(cell).replace(",", ""))  # 1,234
    except ValueError:
        return False
    return True
