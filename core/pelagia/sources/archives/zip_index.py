"""Finds members of a zip by name, with 16 bytes of memory for each member, and reads a member as a stream.

It is used for archives with tables that name images.
"""

from __future__ import annotations

import io
import zlib
from array import array
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pelagia.images.preprocess import ImageError
from pelagia.sources.archives.names import member_name
from pelagia.sources.archives.zip_format import Broken, Directory, Entry, entries, parse_entry
from pelagia.sources.archives.zip_unpack import unpacker_of
from pelagia.sources.image import is_image_name, read_at

_PIECE = 1 << 16
_ENTRY = 46 + 3 * 0xFFFF
_LIKELY = 512


class ZipIndex:
    """The place of each member in the directory of a zip, by a hash of its name. `find` compares the name itself.

    Attributes:
        images: how many members are images.

    Raises:
        OSError: the archive cannot be read.
        Broken: its directory is damaged.
    """

    def __init__(self, archive: Path, directory: Directory) -> None:
        self.archive, self._shift = archive, directory.shift
        hashes, places = array("q"), array("q")
        self.images = 0
        with archive.open("rb") as file:
            for place, entry in entries(archive, file, directory):
                name = member_name(entry.name)
                self.images += is_image_name(name)
                hashes.append(hash(name))
                places.append(place)
        order = np.argsort(np.frombuffer(hashes, np.int64), kind="stable") if hashes else np.empty(0, np.int64)
        self._hashes = np.frombuffer(hashes, np.int64)[order] if hashes else order
        self._places = np.frombuffer(places, np.int64)[order] if places else order

    def find(self, name: str) -> Entry | None:
        """The first member of this name (in the form of `member_name`); None if there is none."""
        key = hash(name)
        at = int(self._hashes.searchsorted(key))
        while at < len(self._hashes) and self._hashes[at] == key:
            entry = self._entry(int(self._places[at]))
            if member_name(entry.name) == name:
                return entry
            at += 1
        return None

    def _entry(self, place: int) -> Entry:
        try:
            return parse_entry(self.archive, read_at(self.archive, place, _LIKELY), self._shift)[0]
        except Broken:  # a long name
            return parse_entry(self.archive, read_at(self.archive, place, _ENTRY), self._shift)[0]


def open_member(entry: Entry) -> BinaryIO:
    """A member as a stream of bytes, which are read a piece at a time.

    The size and the checksum are checked before the first byte is given, in a pass of their own, because a table with
    a changed byte gives wrong numbers. The stream checks them again at its end.

    Raises:
        OSError: the archive cannot be read; or, without an ``errno``, the member is damaged, encrypted, or compressed
            with an unsupported method. The text of the error (``strerror``) says which.
    """
    _check(entry, _version(entry.archive))
    return _opened(entry)


def _opened(entry: Entry) -> BinaryIO:
    return io.BufferedReader(_Member(entry), _PIECE)


def _version(archive: Path) -> tuple[int, int]:
    found = archive.stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=64)  # a table is opened several times: for its header, for its rows, and to count the images
def _check(entry: Entry, version: tuple[int, int]) -> None:
    """Reads a member to its end. Raises OSError if it is damaged. ``version``: the size and time of the archive."""
    with _opened(entry) as file:
        while file.read(_PIECE):
            pass


class _Member(io.RawIOBase):
    """The bytes of a member, from start to end. The size and the checksum are checked at the end."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry, self._size, self._crc = entry, 0, 0
        try:
            self._unpacker = unpacker_of(entry.method, entry.flags)
            self._file = entry.opened()
        except ImageError as error:
            raise OSError(None, str(error)) from None
        self._left = entry.compressed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._take(len(buffer))
        except ImageError as error:
            raise OSError(None, str(error)) from None
        buffer[: len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        """At most ``size`` bytes, at least one before the end. Raises ImageError if the member is damaged."""
        while not self._unpacker.eof:
            piece = b""
            if self._unpacker.needs_input and self._left:
                piece = self._file.read(min(size, _PIECE, self._left))
                self._left = self._left - len(piece) if piece else 0
            data = self._unpacker.unpack(piece, size)
            self._size, self._crc = self._size + len(data), zlib.crc32(data, self._crc)
            if self._size > self._entry.size:
                break
            if data:
                return data
            if not self._left and self._unpacker.needs_input:
                break
        self._entry.check(self._size, self._crc)
        return b""

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()
