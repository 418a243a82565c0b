"""A dataset as zips that EcoTaxa imports: each holds a table and its images, and is small enough to be uploaded.

`pelagia.sources.ecotaxa.import_table` has the rules of EcoTaxa. `pelagia dataset import PART.zip --split-column
object_split` reads a part.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pelagia.dataset.schema import Record
from pelagia.sources.ecotaxa import import_table
from pelagia.sources.ecotaxa.import_table import BYTES_OF_ROW, MOST_BYTES, STATUSES, VALIDATED, FreeColumns, entry
from pelagia.system.names import safe_name
from pelagia_labeling.exports.exporting import Exporting

__all__ = ["MOST_BYTES", "STATUSES", "VALIDATED", "write"]


def write(work: Exporting) -> list[str]:
    """Writes the zips. Says what does not fit into a table of EcoTaxa."""
    free = FreeColumns()
    for record in work.records:
        free.add(record.extra)
    columns, notes = free.chosen()
    parts = list(_parts(work))
    for number, records in enumerate(parts, 1):
        stem = f"{safe_name(work.name)}_part{number}"
        with zipfile.ZipFile(work.folder / f"{stem}.zip", "x", zipfile.ZIP_STORED) as archive:
            archive.writestr(entry(f"ecotaxa_{stem}.tsv"), _table(records, columns, work.status))
            for record in records:
                archive.writestr(entry(_file_name(record)), work.read(record))
    return [f"{len(parts)} zips for EcoTaxa, at most {work.part_bytes // 1_000_000} MB each", *notes]


def _parts(work: Exporting) -> Iterator[list[Record]]:
    """The rows in the order of the dataset, cut so that each part fits into a zip."""
    part: list[Record] = []
    size = 0
    for record in work.records:
        path = work.dataset.file(record)
        needed = (path.stat().st_size if path.is_file() else 0) + BYTES_OF_ROW
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


def _table(records: Sequence[Record], columns: dict[str, tuple[str, str]], status: str) -> bytes:
    """The table of one part: the names, the types, and a row for each image."""
    rows = [
        _row(record, status) | {key: record.extra.get(name, "") for key, (_, name) in columns.items()}
        for record in records
    ]
    header = [name for name in dict.fromkeys(key for row in rows for key in row) if any(row.get(name) for row in rows)]
    text = io.StringIO(newline="")
    import_table.TableWriter(text, header, columns).add(rows)
    return text.getvalue().encode(import_table.ENCODING)


def _row(record: Record, status: str) -> dict[str, str]:
    stem = PurePosixPath(_file_name(record)).stem
    group = record.group or stem
    person = record.annotators.split(";")[0]
    return {
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
        "object_source": record.source[-import_table.MOST_CHARACTERS :],
        import_table.person_column(person): person,
        **import_table.places_and_times(record.extra),
    }
