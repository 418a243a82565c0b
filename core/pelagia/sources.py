"""Where images come from: folders, single files and CSV manifests, as one stream of `SourceImage`.

Invariant: every part lists images through `list_images`, so that the same input gives the same images under the same
names, in the same order, whoever asks. The name of an image is its POSIX path relative to its input; it does not change
when the folder or the drive moves.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.config import read_text
from pelagia.errors import InputError, did_you_mean
from pelagia.files import printable

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
PATH_COLUMN = "path"


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a survey.

    Attributes:
        path: its name, relative to its input, with forward slashes; printable, whatever bytes the disk holds.
        file: where its bytes lie.
        columns: the manifest's other columns, as text.
    """

    path: str
    file: Path
    columns: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> bytes:
        """The encoded image. Raises OSError."""
        return self.file.read_bytes()


def list_images(inputs: Sequence[Path]) -> Iterator[SourceImage]:
    """Images of folders (searched deeply, by file name ending), single image files and ``.csv`` manifests.

    Each input's images come sorted by path (a manifest's in its own order). With several inputs every path starts with
    the input's own name; inputs of the same name are refused.

    Raises:
        InputError: an input that does not exist, holds no image, or is no image; a manifest that is wrong.
    """
    prefixes = _prefixes(inputs)
    for source, prefix in zip(inputs, prefixes, strict=True):
        for image in _list_one(source):
            yield SourceImage(prefix + image.path, image.file, image.columns) if prefix else image


def _prefixes(inputs: Sequence[Path]) -> list[str]:
    if len(inputs) == 1:
        return [""]
    single = [path.is_file() and _is_image_name(path.name) for path in inputs]
    names = [path.name if one else _input_name(path) for path, one in zip(inputs, single, strict=True)]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(f"two inputs are called '{twice[0]}': classify them into surveys of their own")
    return ["" if one else f"{name}/" for name, one in zip(names, single, strict=True)]


def _input_name(path: Path) -> str:
    """A manifest is named after its folder, so that ``a/manifest.csv b/manifest.csv`` can be told apart."""
    path = Path(os.path.abspath(path))
    return printable(path.parent.name if path.suffix.lower() == ".csv" else path.name)


def _list_one(source: Path) -> Iterator[SourceImage]:
    if source.is_dir():
        yield from _list_folder(source)
    elif not source.exists():
        raise InputError(f"there is no file or folder at {source}")
    elif source.suffix.lower() == ".csv":
        yield from read_manifest(source)
    elif _is_image_name(source.name):
        yield SourceImage(printable(source.name), source)
    else:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{source} is neither a folder, nor a .csv manifest, nor an image ({known})")


def _list_folder(root: Path) -> Iterator[SourceImage]:
    found = False
    for relative in _walk(root, ""):
        found = True
        yield SourceImage(printable(relative), root / relative)
    if not found:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"there is no image in {root} (looked for {known}, in all its folders)")


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Relative paths of the images under ``folder``, sorted, one folder in memory at a time.

    Links to folders are not followed; pipes and devices, which could be read for ever, are passed over.
    """
    try:
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from None
    for entry in listing:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        elif _is_image_name(entry.name) and (entry.is_symlink() or entry.is_file()):
            yield prefix + entry.name


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def read_manifest(manifest: Path, root: Path | None = None, path_column: str = PATH_COLUMN) -> Iterator[SourceImage]:
    """Images that a CSV names, in its order. Paths are relative to ``root``, by default the CSV's own folder.

    Comma, semicolon and tab are recognised as separators; UTF-8, with or without a byte-order mark. Rows without any
    value are passed over.

    Raises:
        InputError: unreadable, no column of paths, no row, a row without a path, or a path given twice.
    """
    root = manifest.parent if root is None else root
    seen: dict[str, int] = {}
    for line, row in _rows(manifest, path_column):
        path = row.pop(path_column).strip().replace("\\", "/")
        if not path:
            raise InputError(f"{manifest}, line {line}: the column '{path_column}' is empty")
        if "\0" in path:
            raise InputError(f"{manifest}, line {line}: {path!r} is no path")
        if path in seen:
            raise InputError(f"{manifest}, line {line}: '{path}' stands on line {seen[path]} already")
        seen[path] = line
        yield SourceImage(path, root / path, row)
    if not seen:
        raise InputError(f"{manifest} has a header and no rows")


def _rows(manifest: Path, path_column: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Last line and values of each row. A quote that is never closed is an error, or it would swallow what follows."""
    text = read_text(manifest, "manifest")
    header = re.sub('"[^"]*"', "", text.partition("\n")[0])
    separator = max(",;\t", key=header.count)
    table = io.StringIO(text, newline="")
    reader = csv.DictReader(table, delimiter=separator, restkey="", restval="", strict=True)
    try:
        _require_columns([name for name in reader.fieldnames or [] if name], path_column, manifest)
        for row in reader:
            if any(row.pop("", "")):
                raise InputError(f"{manifest}, line {reader.line_num}: more values than the header has columns")
            if any(value.strip() for value in row.values()):
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{manifest}, after line {reader.line_num}: {error}") from None


def _require_columns(columns: Sequence[str], column: str, manifest: Path) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"{manifest} has two columns '{twice[0]}': rename or remove one")
    if column not in columns:
        raise InputError(
            f"{manifest} has no column '{column}'{did_you_mean(column, columns)}; "
            f"its columns are: {', '.join(columns) or 'none'}"
        )
