"""Manifests: a table of any kind with the path of each image and further columns, read row by row.

Invariant: a manifest of a million rows needs only 8 bytes of memory for each row, to find an image that is named twice.
An error names its line; the rows before it have been listed by then. A manifest of which no image exists is refused
before its first image is listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError, did_you_mean
from pelagia.sources.image import Kind, SourceImage, base_name, is_image_name
from pelagia.sources.listing import Listing
from pelagia.sources.named import NamedFiles, clean
from pelagia.sources.seen import Seen
from pelagia.sources.stated_values import StatedValues
from pelagia.tables.reader import TABLE_ENDINGS, Table, open_table
from pelagia.tables.values import find_column, plain_name

PATH_COLUMN = "path"
PATH_COLUMNS = (
    PATH_COLUMN,
    "file_name",
    "file_path",
    "image_path",
    "img_path",
    "relative_path",
    "img_file_name",
    "image_file_name",
    "image_file",
    "img_file",
    "image_name",
    "img_name",
    "file",
    "image",
    "img",
    "picture",
    "photo",
)
"""Names of the column of paths, the preferred one first; case, spaces and signs do not matter (`find_column`)."""


@dataclass(frozen=True)
class _Manifest:
    """A manifest, and the files that its rows name."""

    table: Table
    column: str
    files: NamedFiles

    def key(self, row: dict[str, str]) -> str:
        """What makes the image of a row one that another row must not name: the path of its file."""
        return self.files.find(row[self.column]).path or clean(row[self.column])


def read_manifest(
    manifest: Path, root: Path | None = None, path_column: str = "", listing: Listing | None = None
) -> Iterator[SourceImage]:
    """The images that a table names, in its order.

    `pelagia.tables.reader` reads the table, and `NamedFiles` finds the files. Rows without any value are skipped. An
    image that is not found is a failed image.

    Args:
        root: the folder that the paths are relative to; by default the folder of the table.
        path_column: the column that holds the paths; by default the option of ``listing``, else the first of
            `PATH_COLUMNS` that the table has.
        listing: gets warnings.

    Raises:
        InputError: the file is unreadable, has no column of paths, no row, a row without a path, a repeated path, or no
            row whose image exists.
    """
    listing = Listing() if listing is None else listing
    wanted = path_column or listing.options.path_column
    known = {plain_name(name) for name in ([wanted] if wanted else PATH_COLUMNS)}
    table = open_table(manifest, what="manifest", warn=listing.warn, known=known)
    column = path_column_of(table, wanted, listing)
    if not wanted and set(map(plain_name, table.columns)) >= _CUTS:
        raise InputError(
            f"{table.name} lists particles of a FlowCam, and its column '{column}' names collages of many particles: "
            "name the .lst of the run, or the folder of the run; if it names single images, add --path-column"
        )
    opened = _Manifest(table, column, NamedFiles(manifest.parent if root is None else root, listing))
    yield from _images_of(opened, listing)


def path_column_of(table: Table, wanted: str, listing: Listing) -> str:
    """The column of paths: ``wanted``, or else the first of `PATH_COLUMNS` that the table has.

    Raises:
        InputError: the table has no such column, or two.
    """
    names = (wanted,) if wanted else PATH_COLUMNS
    column = find_column(table.columns, names, table.name, "--path-column")
    if column is None:
        raise InputError(_no_path_column(table, wanted or PATH_COLUMN))
    if not wanted and column != PATH_COLUMN:
        others = [other for other in table.columns if other != column and plain_name(other) in _PLAIN_PATH_COLUMNS]
        if others:
            listing.warn(
                f"{table.name}: the paths were read from the column '{column}', not from '{others[0]}'; --path-column "
                "names another one"
            )
    return column


_CUTS = frozenset(map(plain_name, ("image_x", "image_y")))
"""Columns of VisualSpreadsheet: where a particle is in its collage."""
_PLAIN_PATH_COLUMNS = frozenset(map(plain_name, PATH_COLUMNS))


def _no_path_column(table: Table, wanted: str) -> str:
    columns = ", ".join(table.columns) or "none"
    if any(is_image_name(column) for column in table.columns):
        return f"{table.name} has no header: its first line is '{columns}'; write a line '{PATH_COLUMN}' above it"
    guess = did_you_mean(wanted, table.columns)
    return f"{table.name} has no column '{wanted}'{guess}; its columns are: {columns}; name it with --path-column"


def _images_of(manifest: _Manifest, listing: Listing) -> Iterator[SourceImage]:
    table, column = manifest.table, manifest.column
    seen, values = Seen(), StatedValues(table.name, table.columns, listing)
    found_any = found = False
    for number, row in table.rows():
        found = True
        given = row.pop(column)
        if not given.strip():
            raise InputError(f"{table.name}, {table.place} {number}: the column '{column}' is empty")
        place = manifest.files.find(given)
        if not found_any:
            found_any = bool(place.path) or _require_one(manifest, place.cause, given)
        key = place.path or clean(given)
        if seen.add(key) and (first := _first(manifest, key))[0] < number:
            raise InputError(_twice(table, number, given, *first))
        values.check(row)
        yield manifest.files.as_image(given, place, row)
    if not found:
        raise InputError(f"{table.name} has a header and no rows")


def _require_one(manifest: _Manifest, cause: str, given: str) -> bool:
    """True if the image of at least one row exists.

    Raises:
        InputError: none exists; the message has the cause for the first row.
    """
    rows = 0
    for _, row in manifest.table.rows():
        rows += 1
        if manifest.files.find(row[manifest.column]).path:
            return True
    raise InputError(
        f"{manifest.table.name}: none of the {rows} images exists; the first is '{given.strip()}': {cause}. The paths "
        f"are in the column '{manifest.column}'; --path-column names another one"
    )


def _first(manifest: _Manifest, key: str) -> tuple[int, str]:
    """Line and name of the first row that names an image."""
    rows = manifest.table.rows()
    return next((number, row[manifest.column]) for number, row in rows if manifest.key(row) == key)


def _twice(table: Table, number: int, given: str, first: int, before: str) -> str:
    where = f"{table.name}, {table.place} {number}"
    if clean(given) == clean(before):
        return f"{where}: '{clean(given)}' is on {table.place} {first} already: remove one of them"
    return (
        f"{where}: '{given.strip()}' is the same file as '{before.strip()}' on {table.place} {first}: correct one of "
        "them, or remove it"
    )


def folder_name(manifest: Path) -> str:
    """The label of a manifest: the name of its folder, so that ``a/manifest.csv`` and ``b/manifest.csv`` differ."""
    return base_name(manifest.parent)


def _images(manifest: Path, listing: Listing) -> Iterator[SourceImage]:
    return read_manifest(manifest, listing=listing)


def _claims(path: Path) -> bool:
    return path.suffix.lower() in TABLE_ENDINGS and path.is_file()


KIND = Kind(claims=_claims, images=_images, label=folder_name)
