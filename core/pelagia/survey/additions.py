"""What is added to a survey after the run: what people confirmed, flags, and measures of the objects.

    confirmed(path PK, class, people, made_at, source)    the label that people gave an image
    counted_cells(path PK, cells, people, source)         the cells that people counted on an image
    flags(path, flag, detail, PK (path, flag))            what is wrong with an image; see `pelagia check`
    sample_flags(sample, flag, detail, PK (sample, flag)) what is wrong with a sample
    measures(path PK, ...)                                one column, REAL, for each of `MEASURES`; null: not known
    empty_samples(sample PK, columns)                     samples without an image; their columns of the input, JSON
    meta.pixel_size_um                                    the pixel size that a user typed; missing: none

Invariant: the rows of the run stay as they are. A program that does not know these tables leaves them alone. Rows are
replaced by a later row of the same key. A table is there only if something of its kind was added, or looked for: a
survey with labels of people and without a check has no table of flags.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pelagia.survey.journal import Survey

T = TypeVar("T")

MEASURES = (
    "sharpness",
    "area_px",
    "length_px",
    "width_px",
    "esd_um",
    "biovolume_um3",
    "volume_px3",
    "contact",
)
"""Measures of an object, float64: its sharpness (no unit), area and size in pixels, equivalent spherical diameter in
micrometers, volume in cubic micrometers and in cubic pixels, and how much it looks cut off by the edge (0..1)."""

_PIXEL_SIZE = "pixel_size_um"
_TABLES = {
    "confirmed": "path TEXT PRIMARY KEY, class TEXT NOT NULL, people TEXT NOT NULL, made_at TEXT NOT NULL,"
    " source TEXT NOT NULL",
    "counted_cells": "path TEXT PRIMARY KEY, cells REAL NOT NULL, people TEXT NOT NULL, source TEXT NOT NULL",
    "flags": "path TEXT, flag TEXT, detail TEXT NOT NULL, PRIMARY KEY (path, flag)",
    "sample_flags": "sample TEXT, flag TEXT, detail TEXT NOT NULL, PRIMARY KEY (sample, flag)",
    "empty_samples": "sample TEXT PRIMARY KEY, columns TEXT NOT NULL",
    "measures": f"path TEXT PRIMARY KEY, {', '.join(f'{name} REAL' for name in MEASURES)}",
}
"""Table -> its columns."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The label that people gave an image.

    Attributes:
        path: the name of the image in the survey.
        class_name: the class; it need not be a class of the model.
        people: who gave the label, as they are to be named; several are joined by ``|``.
        made_at: ISO 8601, or empty if it is not known.
        source: where the label comes from, such as the name of a dataset.
    """

    path: str
    class_name: str
    people: str = ""
    made_at: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class CountedCells:
    """The cells that people counted on an image, at least 1; ``people`` and ``source`` as in `Confirmed`."""

    path: str
    cells: float
    people: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """What is wrong with an image or a sample: a short name, and the details in words."""

    on: str
    flag: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of an object: name, of `MEASURES` -> value. A name that is missing was not measured."""

    path: str
    values: Mapping[str, float] = field(default_factory=dict)


def add_confirmed(survey: Survey, rows: Iterable[Confirmed]) -> None:
    """Adds labels of people to a survey that was opened to add. Raises SurveyError if the disk is full or failing."""
    cells = [(row.path, row.class_name, row.people, row.made_at, row.source) for row in rows]
    _write(survey, "confirmed", "INSERT OR REPLACE INTO confirmed VALUES (?, ?, ?, ?, ?)", cells)


def confirmed_rows(survey: Survey) -> Iterator[Confirmed]:
    """The labels that people gave, sorted by path."""
    query = "SELECT path, class, people, made_at, source FROM confirmed ORDER BY path"
    return (Confirmed(*row) for row in _read(survey, "confirmed", query))


def confirmed_of(survey: Survey) -> dict[str, Confirmed]:
    """Path -> the label that people gave the image."""
    return {row.path: row for row in confirmed_rows(survey)}


def confirmed_label(survey: Survey, path: str) -> Confirmed | None:
    """The label that people gave one image; None if there is none."""
    query = "SELECT path, class, people, made_at, source FROM confirmed WHERE path = ?"
    return next((Confirmed(*row) for row in _read(survey, "confirmed", query, (path,))), None)


def add_counted_cells(survey: Survey, rows: Iterable[CountedCells]) -> None:
    """Adds cells that people counted to a survey that was opened to add. Raises SurveyError as `add_confirmed`."""
    cells = [(row.path, row.cells, row.people, row.source) for row in rows]
    _write(survey, "counted_cells", "INSERT OR REPLACE INTO counted_cells VALUES (?, ?, ?, ?)", cells)


def counted_cells(survey: Survey) -> Iterator[CountedCells]:
    """The cells that people counted, sorted by path."""
    query = "SELECT path, cells, people, source FROM counted_cells ORDER BY path"
    return (CountedCells(*row) for row in _read(survey, "counted_cells", query))


def add_empty_samples(survey: Survey, samples: Iterable[Mapping[str, str]]) -> None:
    """Adds samples that were taken and have no image to a survey that was opened to write.

    Args:
        samples: the columns of each, as its images would have them; ``sample`` is its name.

    Raises:
        SurveyError: as `add_confirmed`.
    """
    if rows := [(columns["sample"], json.dumps(dict(columns), ensure_ascii=False)) for columns in samples]:
        _write(survey, "empty_samples", "INSERT OR REPLACE INTO empty_samples VALUES (?, ?)", rows)


def empty_samples(survey: Survey) -> Iterator[Mapping[str, str]]:
    """The columns of the samples that were taken and have no image, sorted by name."""
    rows = _read(survey, "empty_samples", "SELECT columns FROM empty_samples ORDER BY sample")
    return (json.loads(columns) for (columns,) in rows)


def set_flags(survey: Survey, images: Iterable[Flag], samples: Iterable[Flag] = ()) -> None:
    """Replaces all flags of a survey that was opened to add, at once: the old ones stay if this is interrupted.

    Raises:
        SurveyError: as `add_confirmed`.
    """
    kinds = {"flags": images, "sample_flags": samples}
    inserts = [
        (f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", ((flag.on, flag.flag, flag.detail) for flag in flags))
        for table, flags in kinds.items()
    ]
    survey.write([*map(_create, kinds), *(f"DELETE FROM {table}" for table in kinds)], *inserts)


def image_flags(survey: Survey) -> Iterator[Flag]:
    """The flags of images, sorted by path."""
    return (Flag(*row) for row in _read(survey, "flags", "SELECT path, flag, detail FROM flags ORDER BY path, flag"))


def sample_flags(survey: Survey) -> Iterator[Flag]:
    """The flags of samples, sorted by sample."""
    query = "SELECT sample, flag, detail FROM sample_flags ORDER BY sample, flag"
    return (Flag(*row) for row in _read(survey, "sample_flags", query))


def add_measures(survey: Survey, rows: Iterable[Measured]) -> None:
    """Adds measures to a survey that was opened to add. Raises SurveyError as `add_confirmed`."""
    cells = [(row.path, *(row.values.get(name) for name in MEASURES)) for row in rows]
    marks = ", ".join("?" * (1 + len(MEASURES)))
    _write(survey, "measures", f"INSERT OR REPLACE INTO measures VALUES ({marks})", cells)


def measures_of(survey: Survey) -> Iterator[Measured]:
    """The measures of objects, sorted by path."""
    query = f"SELECT path, {', '.join(MEASURES)} FROM measures ORDER BY path"
    for path, *values in _read(survey, "measures", query):
        yield Measured(path, {name: value for name, value in zip(MEASURES, values, strict=True) if value is not None})


def measures_of_image(survey: Survey, path: str) -> dict[str, float]:
    """Name -> value of the measures of one object; empty if it was not measured."""
    query = f"SELECT {', '.join(MEASURES)} FROM measures WHERE path = ?"
    values = next(_read(survey, "measures", query, (path,)), ())
    return {name: value for name, value in zip(MEASURES, values, strict=False) if value is not None}


def flags_of_image(survey: Survey, path: str) -> list[Flag]:
    """The flags of one image, sorted by name."""
    query = "SELECT path, flag, detail FROM flags WHERE path = ? ORDER BY flag"
    return [Flag(*row) for row in _read(survey, "flags", query, (path,))]


def kept_pixel_size(survey: Survey) -> float:
    """The size of a pixel in micrometers that a user typed for images whose input states none; 0: nobody did."""
    return float(survey.meta.get(_PIXEL_SIZE, "0"))


def keep_pixel_size(survey: Survey, micrometers: float) -> None:
    """Keeps such a size in a survey that was opened to add. Raises SurveyError as `add_confirmed`."""
    survey.write((), ("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(_PIXEL_SIZE, repr(micrometers))]))
    survey.meta[_PIXEL_SIZE] = repr(micrometers)


class Beside(Generic[T]):
    """Rows of a table that is sorted by path, read along with those of the survey: one of them is in memory."""

    def __init__(self, rows: Iterator[T], path: Callable[[T], str]) -> None:
        self._rows, self._path = rows, path
        self._next = next(rows, None)

    def of(self, path: str) -> list[T]:
        """The rows of a path; it must not be before that of the last call."""
        found = []
        while self._next is not None and (at := self._path(self._next)) <= path:
            if at == path:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found


def _read(survey: Survey, table: str, query: str, values: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
    return survey.read(query, values) if survey.has_table(table) else iter(())


def _write(survey: Survey, table: str, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Runs a statement for each row, after making the table if it is missing."""
    survey.write([_create(table)], (statement, rows))


def _create(table: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS {table} ({_TABLES[table]})"
