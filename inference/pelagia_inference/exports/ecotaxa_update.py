"""A table that updates objects which came from EcoTaxa: their category and status, by their ``object_id``.

In EcoTaxa, the objects keep their images: choose the project's "Import update" with the classification (update mode
``Cla``). Rows without an image are allowed there (``py/BO/TSVFile.py``). An object that people validated or called
dubious in EcoTaxa is left out, unless people confirmed its label for this survey: a prediction never replaces a label
of people.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping

from pelagia.errors import InputError
from pelagia.shell import command_line
from pelagia.sources.ecotaxa.import_table import ENCODING, PREDICTED, TableWriter, entry
from pelagia.sources.seen import Seen
from pelagia_inference.exports.ecotaxa import annotation_of
from pelagia_inference.exports.exporting import Exporting, Named, nothing_to_export

TABLE, FILE = "ecotaxa_update.tsv", "ecotaxa_update.zip"
HEADER = (
    *(
        "object_id",
        "sample_id",
        "acq_id",
        "object_annotation_category",
        "object_annotation_status",
        "object_annotation_date",
    ),
    *("object_annotation_time", "object_annotation_person_name", "object_annotation_person_email"),
)
_STATUS = "object_annotation_status"


def write(work: Exporting) -> list[str]:
    """Writes the table, inside a zip, which EcoTaxa takes.

    Raises:
        InputError: the survey's images do not come from EcoTaxa, or no object can be updated.
    """
    if "object_id" not in work.survey.columns().own:
        again = command_line("pelagia", "survey", "export", work.survey.folder, "--to", "ecotaxa")
        raise InputError(
            "the survey has no column object_id: its images do not come from an EcoTaxa export; make new objects of "
            f"them with `{again}`"
        )
    seen, rows, people = Seen(), 0, False
    path = work.folder / TABLE
    with path.open("x", encoding=ENCODING, newline="") as file:
        table = TableWriter(file, HEADER, {})
        for named in work.classified():
            if reason := _why_not(named, seen):
                work.left_out[reason] += 1
                continue
            people |= named.confirmed is not None and bool(named.confirmed.people)
            table.add([_ids(named.row.columns) | annotation_of(named, work.people(named.confirmed))])
            rows += 1
    if not rows:
        raise nothing_to_export(work)
    with zipfile.ZipFile(work.folder / FILE, "x", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, entry(TABLE).filename)
    notes = [f"objects: {rows}; in EcoTaxa, import {FILE} as an update with the classification"]
    if people and not work.options.people:
        notes.append("the names of the people who confirmed labels are left out; --people exports them")
    return notes


def _ids(columns: Mapping[str, str]) -> dict[str, str]:
    """The identifiers of an object: EcoTaxa looks for its sample and acquisition, too."""
    return {
        "object_id": columns["object_id"],
        "sample_id": columns.get("sample", ""),
        "acq_id": columns.get("acq_id", ""),
    }


def _why_not(named: Named, seen: Seen) -> str:
    """Why an image does not update its object; empty if it does."""
    columns = named.row.columns
    if not (number := columns.get("object_id", "").strip()):
        return "images without an object_id, which do not come from EcoTaxa"
    if not named.name:
        return "objects without a category, because the model accepted none"
    if named.confirmed is None and columns.get(_STATUS, "") not in ("", PREDICTED):
        return "objects that people validated or called dubious in EcoTaxa: a prediction does not replace their label"
    if seen.add(number.replace("/", "\x1e")):
        return "further images of an object: the first one, by path, updates it"
    return ""
