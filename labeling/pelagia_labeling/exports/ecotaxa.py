"""Zips that EcoTaxa imports: each holds a table and its images, and is small enough to be uploaded in a browser.

The rules are those of EcoTaxa's import (``py/BO/TSVFile.py`` and ``py/BO/Mappings.py`` of ecotaxa/ecotaxa_back): a
table ``ecotaxa*.tsv``, a second line with the type of each column (``[t]`` text, ``[f]`` number), an ``object_id`` and
an ``img_file_name`` in each row. A project has at most 500 further columns of numbers and 20 of text (250 characters)
for an object, and its page takes zips of less than 500 MB. `pelagia dataset import PART.zip --split-column
object_split` reads a part.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Container, Iterator, Sequence
from pathlib import PurePosixPath

from pelagia.dataset.schema import Record
from pelagia.errors import first_few
from pelagia.sources.ecotaxa import RENAMED
from pelagia_labeling.exports.exporting import Exporting, extra_columns
from pelagia_labeling.exports.names import safe_name

VALIDATED = "validated"
STATUSES = (VALIDATED, "predicted")
MOST_BYTES = 480_000_000
"""The largest zip: less than the 500 MB of EcoTaxa's page, which may count in other megabytes."""

_MOST_TEXTS, _MOST_NUMBERS, _MOST_CHARACTERS = 17, 500, 250  # of 20 texts, three are in `_OWN`
# fmt: off
_OWN = frozenset((
    "object_id", "object_split", "object_sha256", "object_source", "object_date", "object_time", "object_lat",
    "object_lon", "object_depth_min", "object_depth_max", "object_link", "sample_id", "sample_stationid", "acq_id",
    "acq_instrument", "process_id", "img_rank",
))
# fmt: on
_BYTES_OF_ROW = 4096
"""Room for the row of an image in the table, and for its entry in the zip."""

_PLACE = {new: old for old, new in RENAMED.items() if old.startswith(("object_lat", "object_lon", "object_depth"))}
_NUMERIC = frozenset({*_PLACE.values(), "img_rank"})
_STATED = frozenset(
    {"sample", "station", "instrument", "eventDate", "object_annotation_status", "object_annotation_date"}
)
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ](\d{2}):?(\d{2})(?::?(\d{2}))?)?")


def write(work: Exporting) -> list[str]:
    """Writes the zips. Says what does not fit into a table of EcoTaxa."""
    columns, notes = _free_columns(work.records)
    parts = list(_parts(work))
    for number, records in enumerate(parts, 1):
        stem = f"{safe_name(work.name)}_part{number}"
        with zipfile.ZipFile(work.folder / f"{stem}.zip", "x", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry(f"ecotaxa_{stem}.tsv"), _table(records, columns, work.status))
            for record in records:
                archive.writestr(_entry(_file_name(record)), work.read(record))
    return [f"{len(parts)} zips for EcoTaxa, at most {work.part_bytes // 1_000_000} MB each", *notes]


def _entry(name: str) -> zipfile.ZipInfo:
    """The entry of a file, with a fixed date: the same dataset gives the same zip."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _parts(work: Exporting) -> Iterator[list[Record]]:
    """The rows in the order of the dataset, cut so that each part fits into a zip."""
    part: list[Record] = []
    size = 0
    for record in work.records:
        path = work.dataset.file(record)
        needed = (path.stat().st_size if path.is_file() else 0) + _BYTES_OF_ROW
        if part and size + needed > work.part_bytes:
            yield part
            part, size = [], 0
        part.append(record)
        size += needed
    yield part


def _file_name(record: Record) -> str:
    """A name that no other image of the dataset has; images of all classes lie in one folder of the zip."""
    path = PurePosixPath(record.path)
    return safe_name(path.name if record.sha256[:8] in path.name else f"{path.stem}-{record.sha256[:8]}{path.suffix}")


def _free_columns(records: Sequence[Record]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """EcoTaxa's column -> (type, the dataset's column) for the survey's other columns; and what is left out."""
    texts: list[str] = []
    numbers: list[str] = []
    left_out: list[str] = []
    for name in extra_columns(records):
        if name in _PLACE or name in _STATED:
            continue
        values = [value for record in records if (value := record.extra.get(name, ""))]
        if all(_is_number(value) for value in values):
            (numbers if len(numbers) < _MOST_NUMBERS else left_out).append(name)
        elif max(map(len, values)) <= _MOST_CHARACTERS and len(texts) < _MOST_TEXTS:
            texts.append(name)
        else:
            left_out.append(name)
    columns: dict[str, tuple[str, str]] = {}
    for kind, names in (("[t]", texts), ("[f]", numbers)):
        for name in names:
            columns[_ecotaxa_name(name, columns)] = (kind, name)
    note = (
        f"{len(left_out)} columns do not fit into EcoTaxa (20 of text with 250 characters, 500 of numbers) and are "
        f"left out: {first_few(left_out)}"
    )
    return columns, [note] if left_out else []


def _ecotaxa_name(name: str, taken: Container[str]) -> str:
    """EcoTaxa's name of a column: with the prefix of its table, and unlike the columns that every export has."""
    plain = re.sub(r"[^a-z0-9_]+", "_", name.lower())
    if not plain.startswith(("object_", "sample_", "acq_", "process_")):
        plain = f"object_{plain}"
    while plain in taken or plain in _OWN or plain.startswith("object_annotation_"):
        plain = f"object_survey_{plain.removeprefix('object_')}"
    return plain


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)  # not nan
    except ValueError:
        return False


def _table(records: Sequence[Record], columns: dict[str, tuple[str, str]], status: str) -> str:
    """The table of one part: the names, the types, and a row for each image."""
    rows = [
        _row(record, status) | {key: record.extra.get(name, "") for key, (_, name) in columns.items()}
        for record in records
    ]
    header = [name for name in dict.fromkeys(key for row in rows for key in row) if any(row.get(name) for row in rows)]
    types = {key: kind for key, (kind, _) in columns.items()} | dict.fromkeys(_NUMERIC, "[f]")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerow([types.get(name, "[t]") for name in header])
    writer.writerows([" ".join(str(row.get(name, "")).split()) for name in header] for row in rows)
    return text.getvalue()


def _row(record: Record, status: str) -> dict[str, str]:
    stem = PurePosixPath(_file_name(record)).stem
    group = record.group or stem
    row = {
        "object_id": stem,
        "img_file_name": _file_name(record),
        "img_rank": "0",
        "object_annotation_category": record.class_name,
        "object_annotation_status": status,
        "sample_id": group,
        "acq_id": group,
        "process_id": group,
        "object_split": record.split,
        "object_sha256": record.sha256,
        "object_source": record.source[-_MOST_CHARACTERS:],
        "sample_stationid": record.extra.get("station", ""),
        "acq_instrument": record.extra.get("instrument", ""),
    }
    person = record.annotators.split(";")[0]
    row["object_annotation_person_email" if "@" in person else "object_annotation_person_name"] = person
    row |= {old: record.extra.get(new, "") for new, old in _PLACE.items()}
    if found := _DATE.match(record.extra.get("eventDate", "")):
        year, month, day, hour, minute, second = found.groups()
        row["object_date"] = f"{year}{month}{day}"
        row["object_time"] = f"{hour}{minute}{second or '00'}" if hour else ""
    return row
