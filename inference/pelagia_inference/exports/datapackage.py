"""A survey as a Frictionless data package: its tables as CSV, and ``datapackage.json`` with the type of each column.

    images.csv        a row for each image, with the columns of ``predictions.csv``
    samples.csv       a row for each sample
    counts.csv        a row for each sample and class or taxon
    classes.csv, taxa.csv                         the taxonomy of the model
    confirmed.csv, image_flags.csv, sample_flags.csv, measures.csv    what was added to the survey, if there is any

Invariant: text is exactly as in the survey; no apostrophe is put before a formula. Memory grows with the number of
samples, not of images.

Source: Data Package and Table Schema, version 1 (https://specs.frictionlessdata.io).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pelagia.survey.additions import MEASURES, Flag, confirmed_of, image_flags, measures_of, sample_flags
from pelagia.survey.columns import VERDICT
from pelagia.survey.journal import Survey
from pelagia.system.files import sha256_of_file, slug, write_text
from pelagia.system.tables import Cell, write_table
from pelagia.system.version import __version__
from pelagia.taxonomy import Taxonomy
from pelagia_inference.counts.counts import Count, Counts, count_survey
from pelagia_inference.counts.samples import Sample
from pelagia_inference.exports.dwc.export import card_in
from pelagia_inference.exports.dwc.metadata import LICENSES, DatasetMetadata, load_metadata
from pelagia_inference.exports.results import write_csv

PACKAGE_FILE = "datapackage.json"

Field = dict[str, Any]
"""A field of a Table Schema."""

_TYPES = {"int": "integer", "float": "number", "float | None": "number", "bool": "boolean"}
"""Annotation of a dataclass -> type in a Table Schema; any other is text."""


@dataclass
class _Table:
    """A table of the package: its name, fields, keys, and the rows; None: the file is there already."""

    name: str
    title: str
    fields: list[Field]
    key: Sequence[str]
    rows: Iterable[Sequence[Cell]] | None = None
    refers: Mapping[str, str] = field(default_factory=dict)
    """Column -> the table whose key it holds."""


def write_datapackage(
    survey: Survey, folder: Path, *, by: Sequence[str] = (), metadata: Path | None = None
) -> dict[str, int]:
    """Writes a survey as a data package.

    Args:
        survey: the open survey.
        folder: an empty folder to write into.
        by: the columns that name the samples, as in `count_survey`.
        metadata: the YAML file about the dataset, as for a Darwin Core Archive; title, license and people are taken
            from it.

    Returns:
        Table -> the size of its file in bytes.

    Raises:
        InputError: a file or column is wrong.
        SurveyError: the journal cannot be read.
        OSError: the disk is full or failing.
    """
    about = load_metadata(metadata, survey)
    write_csv(survey, folder / "images.csv", exact=True)
    counts = count_survey(survey, by)
    card = card_in(survey)
    tables = [_images(survey), *_counted(counts), *_taxonomy(card.taxonomy if card else None), *_added(survey)]
    resources = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        if table.rows is not None:
            write_table(path, [one["name"] for one in table.fields], table.rows, guard_formulas=False)
        resources.append(_resource(table, path))
    write_text(folder / PACKAGE_FILE, _json(_package(survey, about, counts, resources)))
    return {one["name"]: one["bytes"] for one in resources}


def _package(survey: Survey, about: DatasetMetadata, counts: Counts, resources: list[dict[str, Any]]) -> dict[str, Any]:
    card = card_in(survey)
    package: dict[str, Any] = {
        "profile": "data-package",
        "name": slug(about.id).lower(),
        "title": about.title,
        "description": about.abstract,
        "created": survey.meta.get("created", ""),
        "licenses": [{"name": name, "path": LICENSES[name][0]} for name in [about.license] if name],
        "contributors": [_contributor(one.model_dump()) for one in about.creators if one.named],
        "keywords": list(about.keywords),
        "resources": resources,
    }
    made_by = {
        "program": f"Pelagia {__version__}",
        "model": card.name if card else "",
        "model_sha256": survey.meta.get("model_sha256", ""),
        "method": counts.method,
        "warnings": list(counts.warnings),
    }
    return {name: value for name, value in package.items() if value} | {"pelagia": made_by}


def _contributor(person: dict[str, str]) -> dict[str, str]:
    name = " ".join(text for text in (person["given_name"], person["family_name"]) if text)
    told = {"title": name or person["organization"], "organization": person["organization"], "email": person["email"]}
    return {key: text for key, text in told.items() if text} | {"role": "author"}


def _resource(table: _Table, path: Path) -> dict[str, Any]:
    schema: dict[str, Any] = {"fields": table.fields, "primaryKey": list(table.key), "missingValues": [""]}
    if table.refers:
        schema["foreignKeys"] = [
            {"fields": column, "reference": {"resource": other, "fields": "path" if other == "images" else "name"}}
            for column, other in table.refers.items()
        ]
    return {
        "profile": "tabular-data-resource",
        "name": table.name,
        "title": table.title,
        "path": path.name,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": path.stat().st_size,
        "hash": f"sha256:{sha256_of_file(path)}",
        "schema": schema,
    }


def _images(survey: Survey) -> _Table:
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
    return _Table("images", "The images, as the model classified them", found, ("path",))


def _counted(counts: Counts) -> Iterator[_Table]:
    own = list(dict.fromkeys(name for sample in counts.samples for name in sample.columns))
    typed = [one for one in _typed(Sample) if one["name"] not in ("key", "columns")]
    names = [one["name"] for one in typed]
    own_names = [name if name not in names else f"survey_{name}" for name in own]
    yield _Table(
        "samples",
        "The samples, with the columns of the input that have one value in each sample",
        [*typed, *(_text(name) for name in own_names)],
        ("name",),
        ([*_cells(one, names), *(one.columns.get(name) for name in own)] for one in counts.samples),
    )
    typed = _typed(Count)
    yield _Table(
        "counts",
        "The number of organisms of each class and taxon in each sample. Counts of nested taxa overlap",
        typed,
        ("sample", "name", "rank"),
        (_cells(one, [each["name"] for each in typed]) for one in counts.counts),
        {"sample": "samples"},
    )


def _taxonomy(taxonomy: Taxonomy | None) -> Iterator[_Table]:
    if taxonomy is None:
        return
    yield _Table(
        "taxa",
        "The taxa of the model's taxonomy",
        [_text("name"), _text("rank"), _text("parent"), {"name": "aphia_id", "type": "integer"}],
        ("name",),
        [(one.name, one.rank, one.parent, one.aphia_id) for one in taxonomy.taxa],
    )
    yield _Table(
        "classes",
        "The classes of the model; a class without a taxon is not an organism",
        [_text("name"), _text("taxon")],
        ("name",),
        [(one.name, one.taxon) for one in taxonomy.classes],
    )


def _added(survey: Survey) -> list[_Table]:
    """What was added to the survey; a table without rows is left out."""
    found = []
    if confirmed_of(survey):
        found.append(_confirmed(survey))
    if next(image_flags(survey), None) is not None:
        found.append(_flags("image_flags", "path", "images", image_flags(survey)))
    if next(sample_flags(survey), None) is not None:
        found.append(_flags("sample_flags", "sample", "samples", sample_flags(survey)))
    if next(measures_of(survey), None) is not None:
        found.append(_measures(survey))
    return found


def _confirmed(survey: Survey) -> _Table:
    columns = ("path", "class_name", "people", "made_at", "source")
    rows = ([getattr(one, name) or None for name in columns] for one in confirmed_of(survey).values())
    title = "Labels that people confirmed"
    return _Table("confirmed", title, [*map(_text, columns)], ("path",), rows, {"path": "images"})


def _flags(name: str, on: str, other: str, flags: Iterable[Flag]) -> _Table:
    rows = ((one.on, one.flag, one.detail or None) for one in flags)
    title = f"What is wrong with {other}"
    return _Table(name, title, [*map(_text, (on, "flag", "detail"))], (on, "flag"), rows, {on: other})


def _measures(survey: Survey) -> _Table:
    columns = [_text("path"), *({"name": name, "type": "number"} for name in MEASURES)]
    rows = ([one.path, *(one.values.get(name) for name in MEASURES)] for one in measures_of(survey))
    return _Table("measures", "Measures of objects", columns, ("path",), rows, {"path": "images"})


def _typed(kind: type[Any]) -> list[Field]:
    """The fields of a dataclass as fields of a Table Schema."""
    return [{"name": one.name, "type": _TYPES.get(str(one.type), "string")} for one in fields(kind)]


def _cells(one: Any, names: Iterable[str]) -> list[Cell]:
    """The values of a dataclass; texts of a tuple are joined by ``|``, and an empty text is an empty cell."""
    values = (getattr(one, name) for name in names)
    return ["|".join(value) or None if isinstance(value, tuple) else None if value == "" else value for value in values]


def _text(name: str, description: str = "") -> Field:
    return {"name": name, "type": "string"} | ({"description": description} if description else {})


def _json(package: dict[str, Any]) -> str:
    return json.dumps(package, ensure_ascii=False, indent=1) + "\n"
