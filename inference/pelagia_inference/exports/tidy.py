"""Tidy tables of a survey, as CSV and Parquet: ``counts``, one row for each sample and class or taxon; ``samples``, one
row for each sample; ``images``, one row for each image.

Invariant: every format has the tables of `tables_of`, with the same columns and rows. All images are in the table of
images, the failed ones too, so nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from typing import get_type_hints

from pelagia.survey.additions import MEASURES, confirmed_label, flags_of_image, measures_of_image
from pelagia.survey.columns import VERDICT
from pelagia.system.files import new_file
from pelagia.system.tables import Cell, write_table
from pelagia_inference.counts import table as counts_table
from pelagia_inference.counts.samples import Sample
from pelagia_inference.exports.exporting import Exporting
from pelagia_inference.exports.results import groups_of_values

_ROWS_AT_ONCE = 4096
_OF_SAMPLE = ("name", "key", "columns")
"""Fields of a sample that are not numbers: its name is the first column, its columns follow."""


@dataclass(frozen=True)
class TidyTable:
    """A table: its name, the type of each column (`str`, `int` or `float`), and its rows, which are read one by one."""

    name: str
    columns: dict[str, type]
    rows: Callable[[], Iterator[list[Cell]]]


def write_csv(work: Exporting) -> list[str]:
    """Writes each table as CSV. A cell such as ``=1+2`` gets an apostrophe, so that no program runs it."""
    for table in tables_of(work):
        rows = ([_rounded(cell) for cell in row] for row in table.rows())
        write_table(work.folder / f"{table.name}.csv", table.columns, rows, mark=True)
    return notes_of(work)


def write_parquet(work: Exporting) -> list[str]:
    """Writes each table as Parquet: text, int64 and float64; null for an empty cell. Text is as in the survey."""
    import pyarrow
    from pyarrow import parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    for table in tables_of(work):
        schema = pyarrow.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
        path = work.folder / f"{table.name}.parquet"
        with new_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            rows = table.rows()
            while group := list(islice(rows, _ROWS_AT_ONCE)):
                arrays = [
                    pyarrow.array(cells, type=kind)
                    for cells, kind in zip(zip(*group, strict=True), schema.types, strict=True)
                ]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return notes_of(work)


def notes_of(work: Exporting) -> list[str]:
    """How the counts were corrected, and what the user must know of them."""
    counts = work.counts
    how = f"correction of the counts: {counts.method or 'none'}"
    flags = ",".join(work.options.exclude_flags)
    kept = f"the table of images has all images, also those with the flags {flags}, which are not counted"
    return [how, *([kept] if flags else []), *counts.warnings]


def tables_of(work: Exporting) -> list[TidyTable]:
    """The tables of a survey."""
    return [_counts(work), _samples(work), _images(work)]


def _counts(work: Exporting) -> TidyTable:
    """The table of `pelagia counts`."""
    return TidyTable("counts", counts_table.kinds(work.counts), lambda: counts_table.rows(work.counts))


def _samples(work: Exporting) -> TidyTable:
    samples, hints = work.counts.samples, get_type_hints(Sample)
    numbers = {one.name: _kind(hints[one.name]) for one in fields(Sample) if one.name not in _OF_SAMPLE}
    own = list(dict.fromkeys(name for sample in samples for name in sample.columns))
    free = _free_names(own, ["sample_name", *numbers])
    columns: dict[str, type] = {"sample_name": str, **numbers, **dict.fromkeys(free, str)}

    def rows() -> Iterator[list[Cell]]:
        for sample in samples:
            values = [_cell(getattr(sample, name), kind) for name, kind in numbers.items()]
            yield [sample.name, *values, *(sample.columns.get(name) or None for name in own)]

    return TidyTable("samples", columns, rows)


def _images(work: Exporting) -> TidyTable:
    survey = work.survey
    result = survey.columns()
    floats = {name for _, name in result.ranked} | ({VERDICT[-1]} if result.decides else set())
    added: dict[str, type] = {"confirmed_class": str, "confirmed_at": str}
    added |= {"confirmed_by": str} if work.options.people else {}
    added |= {"flags": str} if survey.has_table("flags") else {}
    added |= dict.fromkeys(MEASURES, float) if survey.has_table("measures") else {}
    free = _free_names(list(added), result.header)
    columns: dict[str, type] = {name: float if name in floats else str for name in result.header}
    columns |= dict(zip(free, added.values(), strict=True))

    def rows() -> Iterator[list[Cell]]:
        done, total = 0, len(survey)
        for values in groups_of_values(survey, result):
            for row in zip(*values, strict=True):
                extra = _additions(work, row[0])
                cells = (round(cell, 6) if isinstance(cell, float) else cell for cell in row)  # from float32
                yield [*cells, *(extra.get(name) for name in added)]
            done += len(values[0])
            work.progress(done, total)

    return TidyTable("images", columns, rows)


def _additions(work: Exporting, path: str) -> dict[str, Cell]:
    """What was added to an image after the run."""
    found: dict[str, Cell] = {**measures_of_image(work.survey, path)}
    found["flags"] = ",".join(flag.flag for flag in flags_of_image(work.survey, path)) or None
    if label := confirmed_label(work.survey, path):
        found |= {"confirmed_class": label.class_name, "confirmed_at": label.made_at or None}
        found["confirmed_by"] = label.people or None
    return found


def _free_names(names: list[str], taken: list[str]) -> list[str]:
    """``names`` with ``survey_`` before those that are taken."""
    used = [*taken]
    for name in names:
        free = name
        while free in used:
            free = f"survey_{free}"
        used.append(free)
    return used[len(taken) :]


def _kind(hint: object) -> type:
    """The type of a column for the type of a field: `str`, `int` or `float`."""
    return next((kind for kind in (float, int) if kind is hint or kind in getattr(hint, "__args__", ())), str)


def _cell(value: object, kind: type) -> Cell:
    if value is None or value == "":
        return None
    return value if kind in (int, float) and isinstance(value, int | float) else str(value)


def _rounded(cell: Cell) -> Cell:
    """The cell of a CSV: a number has at most ten significant digits."""
    return f"{cell:.10g}" if isinstance(cell, float) else cell
