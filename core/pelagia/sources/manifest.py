"""CSV manifests: a table with the path of each image and further columns, read row by row.

Invariant: a manifest of a million rows needs only 8 bytes of memory for each row, to find a path that appears twice. An
error names its line; the rows before it have been listed by then.
"""

from __future__ import annotations

import codecs
import csv
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from pelagia.errors import InputError, did_you_mean
from pelagia.sources.image import Kind, SourceImage, base_name
from pelagia.sources.listing import Listing
from pelagia.sources.seen import Seen

PATH_COLUMN = "path"
_LONGEST_LINE = 1 << 20

Rows = Iterator[tuple[int, dict[str, str]]]
"""Line (or row) number, from 1, and values by column."""


@dataclass(frozen=True)
class Table:
    """The rows of a manifest of any format. ``place`` is the word for a row in messages: ``line`` or ``row``."""

    file: Path
    rows: Callable[[], Rows]
    place: str


def read_manifest(manifest: Path, root: Path | None = None, path_column: str = PATH_COLUMN) -> Iterator[SourceImage]:
    """The images that a CSV file names, in its order.

    The separator may be a comma, a semicolon or a tab; the text is UTF-8, with or without a byte-order mark. Rows
    without any value are skipped.

    Args:
        root: the folder that the paths are relative to; by default the folder of the CSV file.
        path_column: the column that holds the paths.

    Raises:
        InputError: the file is unreadable, has no column of paths, no row, a row without a path, or a repeated path.
    """
    return images_of(Table(manifest, lambda: _rows(manifest, path_column), "line"), root, path_column)


def images_of(table: Table, root: Path | None = None, path_column: str = PATH_COLUMN) -> Iterator[SourceImage]:
    """The images that the rows of a table name, as in `read_manifest`."""
    manifest = table.file
    root = manifest.parent if root is None else root
    seen = Seen()
    found = False
    for number, row in table.rows():
        found = True
        given = row.pop(path_column)
        path = _clean(given)
        if not path:
            raise InputError(f"{manifest}, {table.place} {number}: the column '{path_column}' is empty")
        if "\0" in path:
            raise InputError(f"{manifest}, {table.place} {number}: {path!r} is not a path")
        if seen.add(path) and (first := _first(table, path_column, path)) < number:
            raise InputError(
                f"{manifest}, {table.place} {number}: '{path}' is on {table.place} {first} already: remove one of them"
            )
        yield SourceImage(path, root / path, row)
    if not found:
        raise InputError(f"{manifest} has a header and no rows")


def _clean(path: str) -> str:
    path = path.strip().replace("\\", "/")
    return posixpath.normpath(path) if path else path


def _first(table: Table, path_column: str, path: str) -> int:
    return next(number for number, row in table.rows() if _clean(row[path_column]) == path)


def _rows(manifest: Path, path_column: str) -> Rows:
    """Last line and values of each row. A quote that is never closed is an error: it would hide the following rows."""
    with opened(manifest, "manifest") as file:
        first = next(lines(file, manifest), "")
        header = re.sub('"[^"]*"', "", first.rstrip("\n"))
        separator = max(",;\t", key=header.count)
        text = chain([first], lines(file, manifest))
        reader = csv.DictReader(text, delimiter=separator, restkey=None, restval="", strict=True)
        try:
            reader.fieldnames = _header(reader.fieldnames or [], path_column, manifest)
            for row in reader:
                if any(row.pop(None, [])):
                    raise InputError(f"{manifest}, line {reader.line_num}: more values than the header has columns")
                row.pop("", None)  # a column without a name, such as the index of a pandas table
                if any(value.strip() for value in row.values()):
                    yield reader.line_num, row
        except csv.Error as error:
            raise InputError(f"{manifest}, after line {reader.line_num}: {error}") from None


def _header(names: Sequence[str], path_column: str, manifest: Path) -> list[str]:
    """Column names without the spaces around them. ``Path`` counts as ``path`` if no other column does."""
    columns = [name.strip() for name in names]
    if path_column not in columns and [name.lower() for name in columns].count(path_column) == 1:
        columns = [path_column if name.lower() == path_column else name for name in columns]
    require_columns([name for name in columns if name], path_column, manifest)
    return columns


def lines(file: TextIO, path: Path) -> Iterator[str]:
    """Lines of a table. Raises InputError at a line that is too long for a table, which would fill the memory."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            raise InputError(f"{path} is not a table: it has a line of more than {_LONGEST_LINE} characters")
        yield line


@contextmanager
def opened(path: Path, what: str) -> Iterator[TextIO]:
    """Opens a UTF-8 text file, or UTF-16 if its byte-order mark says so; the mark is not part of the text.

    Raises:
        InputError: the file is missing, a folder, unreadable, or not UTF-8, also if this is found while reading.
    """
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with path.open(encoding="utf-16" if wide else "utf-8-sig") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"there is no {what} at {path}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder, not a {what}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a {what}: it is not UTF-8 text; from Excel, save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None


def require_columns(columns: Sequence[str], column: str, manifest: Path) -> None:
    """Raises InputError if a manifest lacks its column of paths or has two columns of the same name."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{manifest} has two columns '{twice[0]}': rename or remove one")
    if column not in columns:
        raise InputError(
            f"{manifest} has no column '{column}'{did_you_mean(column, columns)}; "
            f"its columns are: {', '.join(columns) or 'none'}"
        )


def folder_name(manifest: Path) -> str:
    """The label of a manifest: the name of its folder, so that ``a/manifest.csv`` and ``b/manifest.csv`` differ."""
    return base_name(manifest.parent)


def _images(manifest: Path, _: Listing) -> Iterator[SourceImage]:
    return read_manifest(manifest)


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and path.is_file()


KIND = Kind(claims=_claims, images=_images, label=folder_name)
