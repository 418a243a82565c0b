"""Writes a data package: the tables as CSV, and ``datapackage.json``, which describes them.

Invariant: text is exactly as in the survey; no apostrophe is put before a formula. Memory grows with the number of
samples, not of images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pelagia.model.card import ModelCard
from pelagia.survey.journal import Survey
from pelagia.system.files import sha256_of_file, slug, write_text
from pelagia.system.tables import write_table
from pelagia.system.version import __version__
from pelagia_inference.counts.counts import Counts
from pelagia_inference.exports.datapackage.tables import Table, tables_of
from pelagia_inference.exports.dwc.metadata import LICENSES, DatasetMetadata, load_metadata
from pelagia_inference.exports.exporting import Exporting
from pelagia_inference.exports.results import write_csv
from pelagia_inference.exports.tidy import notes_of

PACKAGE_FILE = "datapackage.json"


def write(work: Exporting) -> list[str]:
    """Writes the package of an export, and returns what a person should know, one sentence each."""
    sizes = write_datapackage(
        work.survey,
        work.folder,
        work.counts,
        card=work.card,
        metadata=work.options.metadata,
        people=work.options.people,
    )
    return [f"{len(sizes)} tables: {', '.join(sizes)}", *notes_of(work)]


def write_datapackage(
    survey: Survey,
    folder: Path,
    counts: Counts,
    *,
    card: ModelCard | None = None,
    metadata: Path | None = None,
    people: bool = False,
) -> dict[str, int]:
    """Writes a survey as a data package.

    Args:
        survey: the open survey.
        folder: an empty folder to write into.
        counts: its counts.
        card: the card of its model; None: it is not known.
        metadata: the YAML file about the dataset, as for a Darwin Core Archive; title, license and people are taken
            from it.
        people: whether the names of those who confirmed labels are written.

    Returns:
        Table -> the size of its file in bytes.

    Raises:
        InputError: a file or column is wrong.
        SurveyError: the journal cannot be read.
        OSError: the disk is full or failing.
    """
    about = load_metadata(metadata, survey)
    write_csv(survey, folder / "images.csv", exact=True)
    resources = []
    for table in tables_of(survey, counts, card.taxonomy if card else None, people):
        path = folder / f"{table.name}.csv"
        if table.rows is not None:
            write_table(path, [one["name"] for one in table.fields], table.rows, guard_formulas=False)
        resources.append(_resource(table, path))
    write_text(folder / PACKAGE_FILE, _json(_package(survey, about, counts, card, resources)))
    return {one["name"]: one["bytes"] for one in resources}


def _package(
    survey: Survey,
    about: DatasetMetadata,
    counts: Counts,
    card: ModelCard | None,
    resources: list[dict[str, Any]],
) -> dict[str, Any]:
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


def _resource(table: Table, path: Path) -> dict[str, Any]:
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


def _json(package: dict[str, Any]) -> str:
    return json.dumps(package, ensure_ascii=False, indent=1) + "\n"
