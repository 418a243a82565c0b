"""A table whose header has been read, and checks of its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from pelagia.errors import InputError
from pelagia.tables.values import plain_name

Rows = Iterator[tuple[int, dict[str, str]]]
"""Last line (or row) number of each row, from 1, and its values by column."""

Warn = Callable[[str], None]


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


def refuse_twins(columns: Collection[str], name: str) -> None:
    """Raises InputError if two columns of the table ``name`` have the same name."""
    twice = [column for column, count in Counter(column for column in columns if column).items() if count > 1]
    if twice:
        raise InputError(f"{name} has two columns '{twice[0]}': rename or remove one")


def has_known(columns: Collection[str], known: Collection[str]) -> bool:
    """Whether a column has one of the known names, which are as `plain_name` gives them."""
    return any(plain_name(column) in known for column in columns)
