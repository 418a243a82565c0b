"""Zips that EcoTaxa imports as new objects: each holds a table and its images, and is small enough to be uploaded.

`pelagia.sources.ecotaxa.import_table` has the rules of EcoTaxa. A label that people confirmed is ``validated``; what
the model accepted, a class or a higher taxon, is ``predicted``; an image without either has no category and no status.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import PurePosixPath
from typing import IO

from pelagia.images.preprocess import ImageError
from pelagia.sources.ecotaxa.import_table import (
    BYTES_OF_ROW,
    ENCODING,
    MOST_BYTES,
    MOST_CHARACTERS,
    PREDICTED,
    VALIDATED,
    FreeColumns,
    TableWriter,
    entry,
    has_zone,
    person_column,
    places_and_times,
)
from pelagia.sources.image import is_image_name
from pelagia.sources.seen import Seen
from pelagia.survey.additions import Confirmed
from pelagia.system.names import safe_name
from pelagia.tables.values import is_missing
from pelagia_inference.exports.exporting import Exporting, Named, nothing_to_export
from pelagia_inference.exports.extents import within

HEADER = (
    *("object_id", "img_file_name", "img_rank", "object_annotation_category", "object_annotation_status"),
    *("object_annotation_date", "object_annotation_time", "object_annotation_person_name"),
    *("object_annotation_person_email", "object_probability", "object_sha256", "object_source"),
    *("object_date", "object_time", "object_lat", "object_lon", "object_depth_min", "object_depth_max"),
    *("sample_id", "sample_stationid", "acq_id", "acq_instrument", "process_id"),
)
NO_NAME = "images have no category, because the model accepted none"
_SIGNATURES = {b"\x89PNG\r\n": ".png", b"\xff\xd8\xff": ".jpg", b"GIF8": ".gif"}
"""First bytes of the formats that EcoTaxa's page shows -> their ending."""


def write(work: Exporting) -> list[str]:
    """Writes the zips. Raises InputError if no image can be in them."""
    free = FreeColumns()
    for row in work.survey:
        if row.ok:
            free.add(row.columns)
    columns, notes = free.chosen()
    zips = _Zips(work, columns)
    try:
        for named, data in work.pictures():
            zips.add(named, data)
    finally:
        zips.close()
    if not zips.parts:
        raise nothing_to_export(work)
    notes += zips.notes()
    return [f"zips for EcoTaxa: {zips.parts}, of at most {zips.most_bytes // 1_000_000} MB", *notes]


class _Zips:
    """The zips of an export. The table of the zip that is being written is a file beside it."""

    def __init__(self, work: Exporting, columns: Mapping[str, tuple[str, str]]) -> None:
        self._work, self._columns = work, columns
        self.most_bytes = work.options.part_bytes or MOST_BYTES
        self.parts = self.unnamed = self.converted = self.confirmed = self.zoneless = 0
        self.no_position = self.no_time = 0
        self._names = Seen()
        self._size = 0
        self._zip: zipfile.ZipFile | None = None
        self._file: IO[str] | None = None

    def add(self, named: Named, data: bytes) -> None:
        """Writes an image and its row, in a new zip if the last one is full."""
        ending = next((ending for start, ending in _SIGNATURES.items() if data.startswith(start)), "")
        if not ending:
            data, ending = _as_png(data), ".png"
            self.converted += 1
        if self._zip is None or self._size + len(data) + BYTES_OF_ROW > self.most_bytes:
            self.close()
            self._begin()
        assert self._zip is not None  # noqa: S101 - it was begun
        name = self._file_name(named.row.path) + ending
        self._zip.writestr(entry(name), data)
        self._table.add([self._row(named, name)])
        self._size += len(data) + BYTES_OF_ROW
        self.unnamed += not named.name
        self.zoneless += not has_zone(named.row.columns.get("eventDate", ""))
        self.confirmed += named.confirmed is not None and bool(named.confirmed.people)

    def notes(self) -> Iterator[str]:
        """What was changed or left out, one sentence each."""
        if self.unnamed:
            yield f"{self.unnamed} {NO_NAME}"
        if self.zoneless:
            yield f"{self.zoneless} images have a time without a zone: EcoTaxa takes it as UTC"
        if self.no_position:
            yield f"the positions of {self.no_position} images are left out, because they are not on Earth"
        if self.no_time:
            yield (
                f"the times of {self.no_time} images are left out, because they are not as in 2024-05-31 or "
                "2024-05-31T10:30:00Z: correct the column eventDate of the input, and classify into a new folder"
            )
        if self.converted:
            yield f"{self.converted} images were written as PNG, because EcoTaxa does not show their format"
        if self.confirmed and not self._work.options.people:
            yield "the names of the people who confirmed labels are left out; --people exports them"

    def _begin(self) -> None:
        self.parts += 1
        self._size = 0
        self._stem = f"{safe_name(self._work.name)}_part{self.parts}"
        self._zip = zipfile.ZipFile(self._work.folder / f"{self._stem}.zip", "x", zipfile.ZIP_STORED)
        self._path = self._work.folder / f"ecotaxa_{self._stem}.tsv"
        self._file = self._path.open("x", encoding=ENCODING, newline="")
        self._table = TableWriter(self._file, [*HEADER, *self._columns], self._columns)

    def close(self) -> None:
        """Puts the table into the zip."""
        if self._zip is None or self._file is None:
            return
        self._file.close()
        with self._zip.open(entry(self._path.name), "w", force_zip64=True) as inside, self._path.open("rb") as table:
            while piece := table.read(1 << 20):
                inside.write(piece)
        self._zip.close()
        self._path.unlink()
        self._zip = self._file = None

    def _file_name(self, path: str) -> str:
        """A name without its ending that no other image of the export has, also where capitals do not count."""
        last = PurePosixPath(path)
        name = safe_name(last.stem if is_image_name(last.name) else last.name)[:120]
        if self._names.add(name.casefold()):
            name += f"-{sha256(path.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
        return name

    def _row(self, named: Named, name: str) -> dict[str, str]:
        columns = named.row.columns
        sample = self._work.sample_of(columns)
        return {
            "object_id": PurePosixPath(name).stem,
            "img_file_name": name,
            "img_rank": "0",
            **annotation_of(named, self._work.people(named.confirmed)),
            "object_probability": f"{named.probability:.6f}",
            "object_sha256": named.row.sha256,
            "object_source": named.row.path[-MOST_CHARACTERS:],
            "sample_id": sample,
            "acq_id": sample,
            "process_id": sample,
            **self._where_and_when(columns),
            **{key: columns.get(column, "") for key, (_, column) in self._columns.items()},
        }

    def _where_and_when(self, columns: Mapping[str, str]) -> dict[str, str]:
        """`places_and_times`, without a position that is not on Earth. What is left out is counted."""
        row = places_and_times(columns)
        position = {"object_lat": 90.0, "object_lon": 180.0}
        if any(row.get(name) and within(row[name], limit) is None for name, limit in position.items()):
            row |= dict.fromkeys(position, "")
            self.no_position += 1
        self.no_time += not is_missing(columns.get("eventDate", "")) and "object_date" not in row
        return row


def annotation_of(named: Named, people: str) -> dict[str, str]:
    """EcoTaxa's columns for the label of an image: category, status, and for a validated one when and by whom."""
    if not named.name:
        return {}
    row = {
        "object_annotation_category": named.name,
        "object_annotation_status": PREDICTED if named.confirmed is None else VALIDATED,
    }
    return row if named.confirmed is None else row | _made_by(named.confirmed, people.split("|")[0])


def _made_by(confirmed: Confirmed, person: str) -> dict[str, str]:
    row = {person_column(person): person} if person else {}
    made = places_and_times({"eventDate": confirmed.made_at})
    if "object_date" in made:
        row["object_annotation_date"], row["object_annotation_time"] = made["object_date"], made["object_time"]
    return row


def _as_png(data: bytes) -> bytes:
    """An image of any format as PNG with 8 bits; gray if all its pixels are."""
    import cv2

    from pelagia.images.preprocess import decode

    pixels = decode(data)
    gray = pixels[:, :, 0]
    plain = bool((pixels == gray[:, :, None]).all())
    done, encoded = cv2.imencode(".png", gray if plain else pixels[:, :, ::-1])
    if not done:
        raise ImageError("damaged", "the image cannot be written as PNG")
    return encoded.tobytes()
