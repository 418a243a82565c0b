"""The tables of a data package: their columns, types and keys, and their rows.

Invariant: rows are made when they are read, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pelagia.survey.additions import (
    MEASURES,
    Flag,
    confirmed_rows,
    counted_cells,
    image_flags,
    measures_of,
    sample_flags,
)
from pelagia.survey.columns import VERDICT
from pelagia.survey.journal import Survey
from pelagia.system.tables import Cell
from pelagia.taxonomy import Taxonomy
from pelagia_inference.counts.counts import Count, Counts
from pelagia_inference.counts.samples import Sample

Field = dict[str, Any]
"""A field of a Table Schema."""

_TYPES = {"int": "integer", "float": "number", "float | None": "number", "bool": "boolean"}
"""Annotation of a dataclass -> type in a Table Schema; any other is text."""


@dataclass
class Table:
    """A table of the package.

    Attributes:
        name: its name, and that of its file.
        title: what it holds.
        fields: its columns.
        key: the columns that name a row.
        rows: the rows; None: the file is there already.
        refers: column -> the table whose key it holds.
    """

    name: str
    title: str
    fields: list[Field]
    key: Sequence[str]
    rows: Iterable[Sequence[Cell]] | None = None
    refers: Mapping[str, str] = field(default_factory=dict)


def tables_of(survey: Survey, counts: Counts, taxonomy: Taxonomy | None, people: bool = False) -> list[Table]:
    """The tables of a survey; those without rows are left out.

    Args:
        survey: the open survey.
        counts: its counts.
        taxonomy: that of its model, if it is known.
        people: whether the names of those who confirmed labels are in the tables.
    """
    return [_images(survey), *_counted(counts), *_taxonomy(taxonomy), *_added(survey, counts, people)]


def _images(survey: Survey) -> Table:
    columns = survey.columns()
    numbers = {probability for _, probability in columns.ranked}
    limits = {"minimum": 0, "maximum": 1}
    known = {
        "path": _text("path", "the name of the image in the survey"),
        "status": {**_text("status"), "constraints": {"enum": ["ok", "failed"]}},
        **{name: {"name": name, "type": "number", "constraints": limits} for name in numbers},
        VERDICT[-1]: {"name": VERDICT[-1], "type": "number"},
    }
    found = [known.get(name) or _text(name) for name in columns.header]
    return Table("images", "The images, as the model classified them", found, ("path",))


def _counted(counts: Counts) -> Iterator[Table]:
    own = list(dict.fromkeys(name for sample in counts.samples for name in sample.columns))
    typed = [one for one in _typed(Sample) if one["name"] not in ("key", "columns")]
    names = [one["name"] for one in typed]
    own_names = [name if name not in names else f"survey_{name}" for name in own]
    yield Table(
        "samples",
        "The samples, with the columns of the input that have one value in each sample",
        [*typed, *(_text(name) for name in own_names)],
        ("name",),
        ([*_cells(one, names), *(one.columns.get(name) for name in own)] for one in counts.samples),
    )
    typed = _typed(Count)
    yield Table(
        "counts",
        "The number of organisms of each class and taxon in each sample. Counts of nested taxa overlap",
        typed,
        ("sample", "kind", "name"),
        (_cells(one, [each["name"] for each in typed]) for one in counts.counts),
        {"sample": "samples"},
    )


def _taxonomy(taxonomy: Taxonomy | None) -> Iterator[Table]:
    if taxonomy is None:
        return
    yield Table(
        "taxa",
        "The taxa of the model's taxonomy",
        [_text("name"), _text("rank"), _text("parent"), {"name": "aphia_id", "type": "integer"}],
        ("name",),
        [(one.name, one.rank, one.parent, one.aphia_id) for one in taxonomy.taxa],
    )
    yield Table(
        "classes",
        "The classes of the model; a class without a taxon is not an organism",
        [_text("name"), _text("taxon")],
        ("name",),
        [(one.name, one.taxon) for one in taxonomy.classes],
    )


def _added(survey: Survey, counts: Counts, people: bool) -> list[Table]:
    """What was added to the survey; a table without rows is left out.

    Flags of samples refer to the table of samples only if all of these are counted: a check with other columns in
    ``--by`` has other samples.
    """
    found = []
    if next(confirmed_rows(survey), None) is not None:
        found.append(_confirmed(survey, people))
    if next(counted_cells(survey), None) is not None:
        found.append(_counted_cells(survey))
    if next(image_flags(survey), None) is not None:
        found.append(_flags("image_flags", "path", "images", image_flags(survey)))
    if flagged := {flag.on for flag in sample_flags(survey)}:
        table = _flags("sample_flags", "sample", "samples", sample_flags(survey))
        found.append(table if flagged <= {sample.name for sample in counts.samples} else replace(table, refers={}))
    if next(measures_of(survey), None) is not None:
        found.append(_measures(survey))
    return found


def _confirmed(survey: Survey, people: bool) -> Table:
    columns = ("path", "class_name", *(("people",) if people else ()), "made_at", "source")
    rows = ([getattr(one, name) or None for name in columns] for one in confirmed_rows(survey))
    title = "Labels that people confirmed"
    return Table("confirmed", title, [*map(_text, columns)], ("path",), rows, {"path": "images"})


def _counted_cells(survey: Survey) -> Table:
    columns = [_text("path"), {"name": "cells", "type": "number"}, _text("source")]
    rows = ([one.path, one.cells, one.source or None] for one in counted_cells(survey))
    return Table("counted_cells", "Cells that people counted on images", columns, ("path",), rows, {"path": "images"})


def _flags(name: str, on: str, other: str, flags: Iterable[Flag]) -> Table:
    rows = ((one.on, one.flag, one.detail or None) for one in flags)
    title = f"What is wrong with {other}"
    return Table(name, title, [*map(_text, (on, "flag", "detail"))], (on, "flag"), rows, {on: other})


def _measures(survey: Survey) -> Table:
    columns = [_text("path"), *({"name": name, "type": "number"} for name in MEASURES)]
    rows = ([one.path, *(one.values.get(name) for name in MEASURES)] for one in measures_of(survey))
    return Table("measures", "Measures of objects", columns, ("path",), rows, {"path": "images"})


def _typed(kind: type[Any]) -> list[Field]:
    """The fields of a dataclass as fields of a Table Schema."""
    return [{"name": one.name, "type": _TYPES.get(str(one.type), "string")} for one in fields(kind)]


def _cells(one: Any, names: Iterable[str]) -> list[Cell]:
    """The values of a dataclass; texts of a tuple are joined by ``|``, and an empty text is an empty cell."""
    values = (getattr(one, name) for name in names)
    return ["|".join(value) or None if isinstance(value, tuple) else None if value == "" else value for value in values]


def _text(name: str, description: str = "") -> Field:
    return {"name": name, "type": "string"} | ({"description": description} if description else {})
