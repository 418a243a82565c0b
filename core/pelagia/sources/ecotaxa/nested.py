"""Zips inside a zip, as EcoTaxa writes for the projects of a collection.

Invariant: a zip that is stored without compression is read in its place. A compressed one has no places to read from,
so it is unpacked once in a run, to a temporary file that is removed when the program ends; the listing says so. It is
refused if the disk of temporary files has not enough room.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import BinaryIO, cast

from pelagia.errors import InputError
from pelagia.sources.archives.names import archive_stem, member_name
from pelagia.sources.archives.zip_format import LOCAL_HEADER, Directory, Entry, entries, find_directory
from pelagia.sources.archives.zip_index import open_member
from pelagia.sources.image import is_image_name, read_at
from pelagia.sources.listing import Listing

_STORED = 0
_PIECE = 1 << 20
_KEEP_FREE = 1 << 30
"""Bytes that stay free on the disk of temporary files."""

_unpacking = threading.Lock()
_numbers = count()


@dataclass(frozen=True, slots=True)
class Part:
    """One zip of an export.

    Attributes:
        file: the file that holds its bytes.
        directory: the place of its list of members in that file.
        prefix: what comes before the names of its members: empty, or the path of a zip inside a zip, ending in a slash.
    """

    file: Path
    directory: Directory
    prefix: str = ""


def whole(archive: Path) -> Part | None:
    """A zip file; None if it has no directory. Raises OSError or Broken."""
    with archive.open("rb") as file:
        directory = find_directory(file)
    return None if directory is None else Part(archive, directory)


def inner_parts(outer: Part, listing: Listing) -> Iterator[tuple[str, Part | None]]:
    """Name and place of each zip directly inside a zip; no zips if there are images beside them.

    The place is None for a zip that is encrypted or has no directory.

    Raises:
        OSError: the zip cannot be read.
        Broken: its directory is damaged.
        InputError: a zip cannot be unpacked.
    """
    with outer.file.open("rb") as file:
        found = []
        for _, entry in entries(outer.file, file, outer.directory):
            if is_image_name(entry.name):
                return
            if entry.name.lower().endswith(".zip"):
                found.append(entry)
    for entry in found:
        name = member_name(entry.name)
        part = _in_place(entry) if entry.method == _STORED else _unpacked(entry, name, listing)
        yield name, part and Part(part.file, part.directory, f"{archive_stem(name)}/")


def _in_place(entry: Entry) -> Part | None:
    header = read_at(entry.archive, entry.offset, LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or entry.flags & 1:
        return None
    start = entry.offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(header)[-2:])
    with entry.archive.open("rb") as file:
        found = find_directory(cast("BinaryIO", _Window(file, start, entry.size)))
    if found is None:
        return None
    return Part(entry.archive, Directory(found.start + start, found.size, found.shift + start))


class _Window(io.RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = max(0, (0, self._at, self._size)[whence] + offset)
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._start + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data


def _unpacked(entry: Entry, name: str, listing: Listing) -> Part | None:
    listing.warn(
        f"{name} in {entry.archive} is compressed: it was unpacked to a temporary file of {entry.size / 1e6:.0f} MB; "
        f"to avoid this, unpack {entry.archive.name} once, and name the zips in it"
    )
    with _unpacking:  # the images of a run are counted in another thread
        return whole(_unpacked_file(entry))


@cache
def _unpacked_file(entry: Entry) -> Path:
    folder = _temporary_folder()
    if shutil.disk_usage(folder).free < entry.size + _KEEP_FREE:
        raise InputError(
            f"{entry.archive} has a compressed zip inside, {entry.name}, and there is no room to unpack its "
            f"{entry.size / 1e9:.1f} GB in {folder.parent}: unpack {entry.archive.name} yourself, and name the zips "
            "in it"
        )
    target = folder / f"{next(_numbers)}.zip"
    try:
        crc, size = _copy(entry, target)
        why = "" if (size, crc) == (entry.size, entry.crc) else "its checksum is wrong"
    except OSError as error:
        why = str(error.strerror)
    if why:
        target.unlink(missing_ok=True)
        raise InputError(f"cannot unpack the zip {entry.name} in {entry.archive}: {why}")
    return target


def _copy(entry: Entry, target: Path) -> tuple[int, int]:
    """Writes the bytes of a member to a file; returns their checksum and number. Raises OSError."""
    crc = size = 0
    with open_member(entry) as source, target.open("wb") as file:
        while size <= entry.size and (piece := source.read(min(_PIECE, entry.size - size + 1))):
            file.write(piece)
            size, crc = size + len(piece), zlib.crc32(piece, crc)
    return crc, size


@cache
def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="pelagia-zip-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
