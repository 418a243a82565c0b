"""What commands show people: progress bars and tables on the terminal.

Invariant: results go to stdout and can be piped; progress and notes go to stderr; a bar is drawn on a terminal only.
Rich is imported when something is shown, which keeps `pelagia --help` quick.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from pelagia.system.files import printable

if TYPE_CHECKING:
    from rich.console import Console


_STDERR = 2

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total) while something long runs."""


@cache
def _console(stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for the person at the terminal."""
    _console(stderr=True).print(printable(text))


def say(text: str = "") -> None:
    """A line of the result."""
    _console(stderr=False).print(printable(text))


def on_terminal() -> bool:
    """Whether a person sees progress."""
    return _console(stderr=True).is_terminal


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Something that takes a while and cannot say how far it is."""
    with _console(stderr=True).status(what):
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """Yields ``update(done, total, text="")``. ``total`` None: unknown, a count is shown instead of a bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    err = _console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None, text="")

        def update(done: int, total: int | None = None, text: str = "") -> None:
            bar.update(task, completed=done, total=total, text=text)

        yield update


@contextmanager
def decoder_messages_hidden() -> Iterator[None]:
    """Keeps off the terminal what libjpeg, libpng and libtiff say of damaged images, which are rows of the result.

    They write to descriptor 2 of the process, and OpenCV gives no way to stop them. So it leads nowhere for a while,
    and Python's own `sys.stderr` goes on through a copy of it. It costs nothing an image.
    """
    ours = sys.stderr
    try:
        if ours.fileno() != _STDERR:
            raise OSError
    except (AttributeError, OSError):  # somebody has led it elsewhere already
        yield
        return
    ours.flush()
    nowhere, kept = os.open(os.devnull, os.O_WRONLY), os.dup(_STDERR)
    sys.stderr = open(kept, "w", buffering=1, encoding=ours.encoding, errors=ours.errors, closefd=False)  # noqa: SIM115
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = ours
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout; numbers stand on the right."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(printable(str(cell)) for cell in row))
    _console(stderr=False).print(drawn, soft_wrap=False)


def counts_table(counts: Mapping[str, int], heading: tuple[str, str]) -> None:
    """Names and counts, the largest first."""
    table(heading, Counter(dict(sorted(counts.items()))).most_common())


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True
