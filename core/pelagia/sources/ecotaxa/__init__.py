"""EcoTaxa exports: the only reader of them, for datasets, projects and surveys.

Invariant: a folder, a zip and a zip in a zip give the same images in the order of their tables, with columns under
Darwin Core terms (`columns`). For surveys, measurements of the object and settings of the scanner are left out; the
names and addresses of people always are. A row whose image is missing is a failed image. A table never reaches a file
outside its export.

The forms of an export are those of EcoTaxa's ``API_operations/exports/ForProject.py``: a general export has its tables
above the folders of the images, a backup has a table in the folder of each sample, and a backup of a collection has a
zip for each project.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.sources.archives import zip_file
from pelagia.sources.ecotaxa import archive, folder
from pelagia.sources.ecotaxa.columns import RENAMED
from pelagia.sources.ecotaxa.table import FILE_COLUMN, FOR_SURVEY, Object, Options
from pelagia.sources.image import Kind, SourceImage
from pelagia.sources.listing import Listing

__all__ = ["FILE_COLUMN", "FOLDER", "RENAMED", "ZIP", "Object", "Options", "is_export", "read_objects", "tables_of"]


def is_export(path: Path) -> bool:
    """Whether a folder or a zip is an EcoTaxa export."""
    return folder.claims(path) or (archive.claims(path) and bool(archive.tables_of(path)))


def tables_of(path: Path) -> tuple[str, ...]:
    """The tables of an export, as paths below it."""
    return folder.tables_of(path) if path.is_dir() else archive.tables_of(path)


def read_objects(path: Path, listing: Listing, options: Options) -> Iterator[Object]:
    """The objects of an export, folder or zip, table by table.

    Args:
        path: the export.
        listing: holds the options; gets the counts of what is left out, and the warnings.
        options: the columns that are needed and wanted.

    Raises:
        InputError: the export or a table cannot be read, or a table lacks a column or has no object.
    """
    yield from (folder if path.is_dir() else archive).objects(path, listing, options)


def _images(path: Path, listing: Listing) -> Iterator[SourceImage]:
    found = False
    for one in read_objects(path, listing, FOR_SURVEY):
        found = True
        yield one.image
    if not found:  # some bytes of a zip's directory looked like the name of a table
        yield from zip_file.images(path, listing)


FOLDER = Kind(claims=folder.claims, images=_images)
ZIP = Kind(claims=archive.claims, images=_images)
