"""EcoTaxa exports as folders: tables and images, in one folder or in a folder for each sample."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources.archives.names import Names
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
from pelagia.sources.image import Fault, image_files, is_junk
from pelagia.sources.listing import Listing
from pelagia.sources.named import NamedFiles
from pelagia.system.files import printable
from pelagia.tables.reader import open_table

_DEPTH = 2
"""A backup has its tables in a folder for each sample; several backups have those in a folder for each project."""


def claims(path: Path) -> bool:
    """Whether a folder is an EcoTaxa export."""
    return path.is_dir() and bool(tables_of(path))


def tables_of(root: Path) -> tuple[str, ...]:
    """The tables of an export, sorted by path, as paths below ``root`` with forward slashes.

    Only the folders that can hold the tables of an export are searched; links are not followed.
    """
    try:
        return _tables_of(root, root.stat().st_mtime_ns)
    except OSError:
        return ()  # the error is reported when the folder is listed


@lru_cache(maxsize=256)  # an input is claimed several times in a run, and a folder may have a million names
def _tables_of(root: Path, _: int) -> tuple[str, ...]:
    return tuple(sorted(name for name in _search(root, "", _DEPTH) if not is_text_name(name) or _is_table(root / name)))


def _search(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[-1] in "vVtT" and is_table_name(entry.name):  # a folder may have a million images
                yield prefix + entry.name
            elif depth and entry.is_dir(follow_symlinks=False) and not is_junk(entry.name):
                below.append(entry.name)
    for name in below:
        try:
            yield from _search(folder / name, f"{prefix}{name}/", depth - 1)
        except OSError:  # the folder cannot be listed: this is reported with its images
            continue


def _is_table(path: Path) -> bool:
    try:
        return FILE_COLUMN in lower(open_table(path, what="EcoTaxa table").columns)
    except InputError:
        return False


def objects(root: Path, listing: Listing, options: Options) -> Iterator[Object]:
    """The objects of an export, table by table. Images that no table names are counted.

    Raises:
        InputError: a table cannot be read, lacks a column, or has no object.
    """
    names = Names(Listing())
    before = listing.left_out["other_rank"]
    found = rows = 0
    place = str(root)
    for table in tables_of(root):
        folder = table[: table.rfind("/") + 1]
        files = NamedFiles(root / folder, listing)
        place = str(root / table)
        opened = open_table(root / table, what="EcoTaxa table", warn=listing.warn)
        for name, columns, row in read_rows(opened, place, listing, options):
            rows += 1
            wanted = printable(folder + name)
            path = names.unique(wanted)
            image = files.image(name, columns, path)
            found += path == wanted and not isinstance(image.reader, Fault)
            yield Object(image, row, printable(table))
    require_objects(rows, place, listing)
    others = sum(1 for _ in image_files(root)) - found - (listing.left_out["other_rank"] - before)
    if others > 0:
        listing.left_out["not_in_table"] += others
