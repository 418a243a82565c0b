"""EcoTaxa exports, a folder or a zip: one or more ``ecotaxa*.tsv`` tables and the images that they name.

Invariant: images come in the order of the tables, with columns of the tables under Darwin Core terms (`RENAMED`).
Measurements of the object, settings of the scanner, and the names and addresses of people are left out. A row whose
image is missing is a failed image.

EcoTaxa's times are UTC. ZooProcess writes ``nan`` and ``99999`` for unknown values; they are left out.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from pelagia.errors import InputError, did_you_mean
from pelagia.sources.archives import zip_file
from pelagia.sources.archives.names import Names, member_name
from pelagia.sources.archives.zip_file import members
from pelagia.sources.archives.zip_format import Broken, Directory, find_directory
from pelagia.sources.archives.zip_index import ZipIndex, open_text
from pelagia.sources.image import Kind, SourceImage, failed, image_files, inside, read_at
from pelagia.sources.listing import Listing
from pelagia.sources.manifest import lines, opened
from pelagia.system.files import printable

FILE_COLUMN = "img_file_name"
RENAMED = {
    "object_lat": "decimalLatitude",
    "object_lon": "decimalLongitude",
    "object_depth_min": "minimumDepthInMeters",
    "object_depth_max": "maximumDepthInMeters",
    "sample_id": "sample",
    "sample_stationid": "station",
    "acq_instrument": "instrument",
    "sample_tot_vol": "sampleSizeValue",
    "process_particle_pixel_size_mm": "pixel_size_mm",
}
"""EcoTaxa's column -> the column in Pelagia. ``object_date`` and ``object_time`` together become ``eventDate``."""

_KEPT = re.compile(
    r"sample_|(object_(id|annotation_(status|category|date))|acq_(id|(min|max)_mesh|sub_part|sub_method))$"
)
_PRIVATE = re.compile(r"person|email|operator|author")
_UNKNOWN = frozenset({"", "nan", "NaN", "99999", "99999.0"})
_TYPES = ("[t]", "[f]")
_TABLE = re.compile(r"(^|/)ecotaxa[^/]*\.tsv$", re.IGNORECASE)
_TABLE_IN_DIRECTORY = re.compile(rb"ecotaxa[^/\\\0]{0,200}?\.tsv", re.IGNORECASE)
_PIECE = 1 << 16


def _folder_images(root: Path, listing: Listing) -> Iterator[SourceImage]:
    names = Names(Listing())
    named: set[str] = set()
    for table in _tables_of(root):
        with opened(table, "EcoTaxa table") as file:
            for name, columns in _rows(file, table):
                named.add(os.path.normpath(root / name))
                yield SourceImage(names.unique(printable(name)), root / name, columns)
    if others := sum(os.path.normpath(path) not in named for path in image_files(root)):
        listing.left_out["not_in_table"] += others


def _zip_images(archive: Path, listing: Listing) -> Iterator[SourceImage]:
    names = Names(Listing())
    found = tables = 0
    try:
        directory = _directory(archive)
        if directory is None:
            raise Broken("its directory has disappeared")
        index = ZipIndex(archive, directory)
        for table in members(archive):
            where = member_name(table.name)
            if not _TABLE.search(where):
                continue
            tables += 1
            folder = where[: where.rfind("/") + 1]
            with open_text(table) as file:
                for name, columns in _rows(file, archive / where):
                    path = names.unique(member_name(folder + name))
                    entry = index.find(member_name(folder + name))
                    origin = inside(archive, path)
                    if entry is None:
                        yield failed(
                            path,
                            origin,
                            "missing",
                            f"the table {where} names it, but it is not in the archive",
                            columns,
                        )
                    else:
                        found += 1
                        yield SourceImage(path, origin, columns, entry)
        if tables:
            listing.left_out["not_in_table"] += max(0, index.images - found)
        else:  # the bytes in the directory that looked like the name of a table were not one
            yield from zip_file.images(archive, listing)
    except UnicodeDecodeError:
        raise InputError(f"a table in {archive} is not an EcoTaxa table: it is not UTF-8 text") from None
    except (OSError, Broken) as error:
        raise InputError(f"cannot read the EcoTaxa export {archive}: {getattr(error, 'strerror', error)}") from None


def read_table(file: TextIO, table: Path, required: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """The rows of a table, without the row of types. `FILE_COLUMN` is a path with forward slashes.

    Raises:
        InputError: the table lacks `FILE_COLUMN` or a column of ``required``, is damaged, or has no object.
    """
    reader = csv.DictReader(lines(file, table), delimiter="\t", restval="", restkey="", strict=True)
    found = False
    try:
        columns = list(reader.fieldnames or [])
        for column in (FILE_COLUMN, *required):
            if column not in columns:
                meant = did_you_mean(column, columns)
                raise InputError(f"{table} has no column '{column}'{meant}: is it an EcoTaxa export with images?")
        for row in reader:
            name = row[FILE_COLUMN].strip().replace("\\", "/")
            if not found and name in _TYPES:
                continue
            if not name or "\0" in name:
                raise InputError(f"{table}, line {reader.line_num}: the column '{FILE_COLUMN}' names no image")
            found = True
            yield {**row, FILE_COLUMN: name}
    except csv.Error as error:
        raise InputError(f"{table}, after line {reader.line_num}: {error}") from None
    if not found:
        raise InputError(f"{table} has no object")


def _rows(file: TextIO, table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields (path of the image, columns under Pelagia's names) for each row. Raises the errors of `read_table`."""
    renamed = None
    for row in read_table(file, table):
        renamed = renamed or _columns(list(row))
        yield row[FILE_COLUMN], renamed(row)


def _columns(header: list[str]) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """A function that turns a row of a table with this header into columns of Pelagia."""
    kept = [name for name in header if name in RENAMED or (_KEPT.match(name) and not _PRIVATE.search(name))]
    pairs = [(name, RENAMED.get(name, name)) for name in kept]

    def columns(row: Mapping[str, str]) -> dict[str, str]:
        found = {new: value for old, new in pairs if (value := row[old].strip()) not in _UNKNOWN}
        if "sampleSizeValue" in found:
            found["sampleSizeUnit"] = "cubic metre"
        if event := _event_date(row.get("object_date", ""), row.get("object_time", "")):
            found["eventDate"] = event
        return found

    return columns


def _event_date(date: str, time: str) -> str:
    """``20240708`` and ``080000`` as ISO 8601, UTC; empty if the date is not a date."""
    date, time = date.strip(), time.strip().zfill(6)
    if not re.fullmatch(r"[0-9]{8}", date):
        return ""
    day = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return f"{day}T{time[:2]}:{time[2:4]}:{time[4:]}Z" if re.fullmatch(r"[0-9]{6}", time) else day


def _tables_of(root: Path) -> list[Path]:
    return sorted(root.glob("ecotaxa*.tsv"))


def _directory(archive: Path) -> Directory | None:
    with archive.open("rb") as file:
        return find_directory(file)


def _names_a_table(archive: Path) -> bool:
    """Whether a zip's directory names a table. Searches its bytes, which is fast even with a million members."""
    try:
        directory = _directory(archive)
        at = directory.start if directory is not None else 0
        end = at + directory.size if directory is not None else 0
        while at < end:
            piece = read_at(archive, at, min(_PIECE + 1024, end - at))
            if not piece:
                return False
            if _TABLE_IN_DIRECTORY.search(piece):
                return True
            at += _PIECE
    except OSError:
        pass  # the error is reported when the archive is listed
    return False


def _claims_folder(path: Path) -> bool:
    return path.is_dir() and bool(_tables_of(path))


def _claims_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file() and _names_a_table(path)


FOLDER = Kind(claims=_claims_folder, images=_folder_images)
ZIP = Kind(claims=_claims_zip, images=_zip_images)
