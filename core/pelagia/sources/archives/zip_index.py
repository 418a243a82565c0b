"""Finds members of a zip by name, with 16 bytes of memory for each member, and reads a member as a stream.

It is used for archives with tables that name images.
"""

from __future__ import annotations

import io
import zlib
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pelagia.sources.archives.names import member_name
from pelagia.sources.archives.zip_format import (
    DEFLATED,
    LOCAL_HEADER,
    STORED,
    Broken,
    Directory,
    Entry,
    entries,
    parse_entry,
)
from pelagia.sources.image import is_image_name, read_at

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
    """The bytes of a member as a stream. Raises OSError if it is unreadable or damaged."""
    return io.BufferedReader(_Member(entry), 1 << 16)


class _Member(io.RawIOBase):
    """The bytes of a member, from start to end."""

    def __init__(self, entry: Entry) -> None:
        if entry.method not in (STORED, DEFLATED) or entry.flags & 1:
            raise OSError(None, "it is encrypted, or compressed with an unsupported method")
        self._file = entry.archive.open("rb")
        self._file.seek(entry.offset)
        header = self._file.read(LOCAL_HEADER.size).ljust(LOCAL_HEADER.size, b"\0")
        self._file.seek(sum(LOCAL_HEADER.unpack(header)[-2:]), 1)
        self._left = entry.compressed
        self._unpacker = zlib.decompressobj(-15) if entry.method == DEFLATED else None
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        data = b""
        while not data and (self._waiting or self._left):
            piece = self._waiting or self._file.read(min(size, self._left))
            if not self._waiting:
                self._left = self._left - len(piece) if piece else 0
            if self._unpacker is None:
                return piece
            try:
                data = self._unpacker.decompress(piece, size)
            except zlib.error as error:
                raise OSError(None, f"it is damaged: {error}") from None
            self._waiting = self._unpacker.unconsumed_tail
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
