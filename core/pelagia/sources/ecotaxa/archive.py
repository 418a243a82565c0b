"""EcoTaxa exports as zips: tables and images in one zip, or in zips inside a zip, as of a collection.

Invariant: members are read where they are. Only a zip that is compressed inside a zip is unpacked, to a temporary file
(`nested`), and the listing says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources.archives.names import Names, member_name
from pelagia.sources.archives.zip_format import Broken, Entry, entries
from pelagia.sources.archives.zip_index import ZipIndex, open_member
from pelagia.sources.archives.zip_search import directory_has
from pelagia.sources.ecotaxa.nested import Part, inner_parts, whole
from pelagia.sources.ecotaxa.table import (
    FILE_COLUMN,
    Object,
    Options,
    is_table_name,
    is_text_name,
    lower,
    read_rows,
    require_objects,
)
from pelagia.sources.image import SourceImage, failed, inside
from pelagia.sources.listing import Listing
from pelagia.tables.reader import Table, table_of

_TABLE_IN_DIRECTORY = re.compile(rb"ecotaxa[^/\\\0]{0,200}?\.(?:tsv|txt)", re.IGNORECASE)
_ZIP_IN_DIRECTORY = re.compile(rb"\.zip", re.IGNORECASE)


def claims(path: Path) -> bool:
    """Whether a zip seems to be an EcoTaxa export: its directory, or that of a zip inside it, names a table."""
    try:
        return path.suffix.lower() == ".zip" and path.is_file() and bool(_parts_of(path, Listing()))
    except InputError:  # a zip inside cannot be unpacked: this is reported when the archive is listed
        return True
    except (OSError, Broken):
        return False


def _parts_of(archive: Path, listing: Listing) -> list[Part]:
    """The zips whose directory seems to name a table: the archive itself, or else the zips inside it."""
    part = whole(archive)
    if part is None:
        return []
    if _directory_has(part, _TABLE_IN_DIRECTORY):
        return [part]
    if _directory_has(part, _ZIP_IN_DIRECTORY):
        return _inner_parts_of(part, listing)
    return []


def _inner_parts_of(outer: Part, listing: Listing) -> list[Part]:
    """The zips inside a zip whose directory seems to name a table. If there are any, the other zips are counted."""
    found, others = [], []
    for name, part in inner_parts(outer, listing):
        if part is not None and _directory_has(part, _TABLE_IN_DIRECTORY):
            found.append(part)
        else:
            others.append(name)
    for name in others if found else ():
        listing.count_archive(name)
    return found


def _directory_has(part: Part, what: re.Pattern[bytes]) -> bool:
    return directory_has(part.file, part.directory, what.search)


def tables_of(archive: Path) -> tuple[str, ...]:
    """The tables of an export, as paths in it; empty if it is not an export."""
    try:
        return tuple(part.prefix + where for part in _parts_of(archive, Listing()) for where, _ in _tables(part))
    except (OSError, Broken, InputError):
        return ()


def objects(archive: Path, listing: Listing, options: Options) -> Iterator[Object]:
    """The objects of an export, table by table. Images that no table names are counted.

    Nothing is yielded if there is no table: some bytes of the directory only looked like the name of one.

    Raises:
        InputError: the archive or a table cannot be read, or a table lacks a column or has no object.
    """
    names = Names(Listing())
    rows = 0
    try:
        for part in _parts_of(archive, listing):
            for found in _objects_of(archive, part, names, listing, options):
                rows += 1
                yield found
    except (OSError, Broken) as error:
        raise InputError(f"cannot read the EcoTaxa export {archive}: {getattr(error, 'strerror', error)}") from None
    if not rows and (tables := tables_of(archive)):
        require_objects(rows, str(archive / tables[-1]), listing)


def _objects_of(archive: Path, part: Part, names: Names, listing: Listing, options: Options) -> Iterator[Object]:
    index = None
    before = listing.left_out["other_rank"]
    found = 0
    for where, entry in _tables(part):
        index = index or ZipIndex(part.file, part.directory)
        folder = where[: where.rfind("/") + 1]
        place = str(archive / (part.prefix + where))
        for name, columns, row in read_rows(_opened(entry, place, listing), place, listing, options):
            member = member_name(folder + name)
            path = names.unique(part.prefix + member)
            image = index.find(member)
            found += image is not None and path == part.prefix + member
            yield Object(_image(archive, path, columns, image, where), row, part.prefix + where)
    if index is not None:
        others = index.images - found - (listing.left_out["other_rank"] - before)
        if others > 0:
            listing.left_out["not_in_table"] += others


def _image(archive: Path, path: str, columns: dict[str, str], entry: Entry | None, where: str) -> SourceImage:
    origin = inside(archive, path)
    if entry is None:
        return failed(path, origin, "missing", f"the table {where} names it, but it is not in the archive", columns)
    return SourceImage(path, origin, columns, entry)


def _tables(part: Part) -> Iterator[tuple[str, Entry]]:
    """The tables of a zip, in its order: path in the zip, and member."""
    with part.file.open("rb") as file:
        for _, entry in entries(part.file, file, part.directory):
            where = member_name(entry.name)
            if is_table_name(where) and (not is_text_name(where) or _is_table(entry, where)):
                yield where, entry


def _is_table(entry: Entry, where: str) -> bool:
    try:
        return FILE_COLUMN in lower(_opened(entry, where, Listing()).columns)
    except (InputError, OSError):
        return False


def _opened(entry: Entry, place: str, listing: Listing) -> Table:
    return table_of(place, lambda: open_member(entry), what="EcoTaxa table", warn=listing.warn)
