"""Reads the zip format: the entries one by one, and the bytes of a member from their place in the archive.

Python's zipfile keeps every entry in memory (500 MB for a million), has one file handle that threads must share, and
reads nothing of an archive whose end is missing. Here entries are read one by one, any thread can read a member with
its `Entry`, and the members of a damaged archive that come before the damage are found by their own
headers. The tests compare this module with zipfile, member by member.

Numbers are little-endian. Supported: stored, deflate, bzip2; zip64; entries whose sizes come after their data.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pelagia.images.preprocess import ImageError
from pelagia.sources.archives.zip_unpack import DEFLATED, unpacker_of
from pelagia.sources.image import MAX_BYTES
from pelagia.system.files import read_fully

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LENGTHS = struct.Struct("<3H")  # in a central header, the lengths of what follows it: name, extra field, comment
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_PIECE = 1 << 20


class Broken(Exception):  # noqa: N818 - it is named after what is wrong
    """The archive's structure is damaged or cut short; the message says how."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member: the place of its header, and its size and checksum, which are verified when it is read."""

    archive: Path
    name: str
    offset: int
    flags: int
    method: int
    crc: int
    compressed: int
    size: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, which has no bytes."""
        return self.name.endswith(("/", "\\"))

    def __call__(self) -> bytes:
        """The member's bytes.

        Raises:
            OSError: the archive cannot be read.
            ImageError: the member is encrypted, damaged, too large or compressed in an unknown way.
        """
        unpacker = unpacker_of(self.method, self.flags)
        if max(self.size, self.compressed) > MAX_BYTES:
            raise ImageError("too_large", f"the member has {self.size} bytes; the limit is {MAX_BYTES}")
        with self.opened() as file:
            data = read_fully(file, self.compressed)
        if len(data) < self.compressed:
            raise ImageError("damaged", "the archive ends within this member: it is cut short")
        data = unpacker.unpack(data, self.size + 1)
        self.check(len(data), zlib.crc32(data))
        return data

    def opened(self) -> BinaryIO:
        """The archive, open at the first packed byte of the member, without a buffer.

        Raises:
            OSError: the archive cannot be read.
            ImageError: there is no such member at its place.
        """
        file: BinaryIO = open(self.archive, "rb", buffering=0)  # noqa: SIM115 - the caller closes it
        try:
            if self.offset < os.fstat(file.fileno()).st_size:
                file.seek(self.offset)
            else:
                file.seek(0, 2)
            header = read_fully(file, LOCAL_HEADER.size)
            if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
                raise ImageError("damaged", "the archive has no member where its directory says")
            name, extra = struct.unpack("<2H", header[-4:])
            if _text(read_fully(file, name + extra)[:name]) != self.name:
                raise ImageError("damaged", "the archive has another member where its directory says")
        except BaseException:
            file.close()
            raise
        return file

    def check(self, size: int, crc: int) -> None:
        """Compares the unpacked size and checksum with those that the archive declares. Raises ImageError."""
        if size > self.size:
            raise ImageError("too_large", f"the member has more than the {self.size} bytes that the archive declares")
        if size < self.size or crc != self.crc:
            raise ImageError("damaged", "the archive's member is damaged: its checksum is wrong")


@dataclass(frozen=True, slots=True)
class Directory:
    """The place of an archive's list of members, in bytes. ``shift``: the number of bytes before the archive."""

    start: int
    size: int
    shift: int


def find_directory(file: BinaryIO) -> Directory | None:
    """Finds the list of members at the end of an archive; None if there is none, for example if the end is missing.

    Other bytes may come before the archive or after it, but not both. Otherwise, if an archive were cut short right
    after a member that is itself a zip, the members of that zip would be listed as members of the archive.
    """
    length = file.seek(0, 2)
    start = max(0, length - _END.size - 0xFFFF)
    file.seek(start)
    tail = file.read(_END.size + 0xFFFF)
    at = len(tail) - _END.size + 4
    while (at := tail.rfind(b"PK\5\6", 0, max(0, at))) >= 0:  # a comment may have these bytes too
        *_, size, offset, note = _END.unpack_from(tail, at)
        end = start + at
        is_last = end + _END.size + note == length
        if 0xFFFFFFFF in (size, offset) or 0xFFFF in _END.unpack_from(tail, at)[1:5]:
            size, offset, end = _zip64_end(file, end) or (size, offset, end)
        shift = end - size - offset
        if shift == 0 or (shift > 0 and is_last):
            return Directory(offset + shift, size, shift)
    return None


def _zip64_end(file: BinaryIO, end: int) -> tuple[int, int, int] | None:
    """Size, offset and end of the directory of an archive that is too large for the fields of 32 bits."""
    at = end - _LOCATOR64.size - _END64.size
    if at < 0:
        return None
    file.seek(at)
    record = file.read(_END64.size + _LOCATOR64.size)
    if not record.startswith(b"PK\6\6") or record[_END64.size : _END64.size + 4] != b"PK\6\7":
        return None
    *_, size, offset = _END64.unpack_from(record)
    return size, offset, at


def entries(archive: Path, file: BinaryIO, directory: Directory) -> Iterator[tuple[int, Entry]]:
    """Yields (place in the directory, member), in the directory's order.

    Raises:
        Broken: the directory is damaged; the members before the damage have been listed.
    """
    file.seek(directory.start)
    place, end = directory.start, directory.start + directory.size
    while place < end:
        piece = file.read(min(_CENTRAL.size, end - place))
        if len(piece) == _CENTRAL.size:
            piece += file.read(min(sum(_LENGTHS.unpack_from(piece, 28)), end - place - len(piece)))
        entry, length = parse_entry(archive, piece, directory.shift)
        yield place, entry
        place += length


def parse_entry(archive: Path, piece: bytes, shift: int) -> tuple[Entry, int]:
    """The member whose entry ``piece`` begins with, and the entry's length in bytes. Raises Broken."""
    if len(piece) < _CENTRAL.size or not piece.startswith(b"PK\1\2"):
        raise Broken("its directory is damaged")
    values = _CENTRAL.unpack_from(piece)
    flags, method, crc, compressed, size = values[3], values[4], values[7], values[8], values[9]
    name_length, extra_length, note_length, offset = values[10], values[11], values[12], values[16]
    start = _CENTRAL.size
    name = piece[start : start + name_length]
    extra = piece[start + name_length : start + name_length + extra_length]
    if len(name) + len(extra) < name_length + extra_length:
        raise Broken("its directory is damaged")
    size, compressed, offset = _wide(extra, (size, compressed, offset))
    entry = Entry(archive, _text(name), offset + shift, flags, method, crc, compressed, size)
    return entry, _CENTRAL.size + name_length + extra_length + note_length


def _wide(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """The values; those that did not fit into 32 bits come from the zip64 field, which has them in the same order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            numbers = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
            first, second, third = (next(numbers, one) if one == 0xFFFFFFFF else one for one in values)
            return first, second, third
        at += 4 + length
    return values


def _text(name: bytes) -> str:
    """The name as UTF-8, whether or not the archive declares it, else in code page 437, that of DOS."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def entries_without_directory(archive: Path, file: BinaryIO) -> Iterator[Entry]:
    """The complete members of an archive whose end is missing, by their own headers. Always ends by raising Broken."""
    length = file.seek(0, 2)
    offset = 0
    while True:
        file.seek(offset)
        header = file.read(LOCAL_HEADER.size)
        if header[:4] in (b"PK\1\2", b"PK\6\6", b"PK\5\6"):
            raise Broken("its directory is cut short")
        if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\3\4":
            raise Broken("it is cut short" if len(header) < LOCAL_HEADER.size else f"it is damaged at byte {offset}")
        _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = LOCAL_HEADER.unpack(header)
        name, extra = file.read(name_length), file.read(extra_length)
        size, compressed, _ = _wide(extra, (size, compressed, 0))
        start = offset + LOCAL_HEADER.size + name_length + extra_length
        end = start + compressed
        if flags & 8 and not compressed:
            crc, compressed, size, end = _measure(file, start, method)
        if end > length:
            raise Broken("it is cut short")
        yield Entry(archive, _text(name), offset, flags, method, crc, compressed, size)
        offset = end


def _measure(file: BinaryIO, start: int, method: int) -> tuple[int, int, int, int]:
    """Checksum, both sizes and end of a member whose sizes come after its data. Raises Broken."""
    if method != DEFLATED:
        raise Broken("it is cut short, and the sizes of its members were at its end")
    unpacker, consumed, size, crc = _Inflater(), 0, 0, 0
    file.seek(start)
    while not unpacker.eof:
        piece = file.read(1 << 16)
        if not piece:
            raise Broken("it is cut short")
        try:
            size, crc = unpacker.feed(piece, size, crc)
        except zlib.error:
            raise Broken("it is damaged") from None
        consumed += len(piece)
    compressed = consumed - len(unpacker.unused)
    file.seek(start + compressed)
    signed = file.read(4) == b"PK\7\10"
    end = start + compressed + (16 if signed else 12)
    return crc, compressed, size, end


class _Inflater:
    """Finds the end of a deflated member, with no more than a piece of it in memory."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-15)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused(self) -> bytes:
        return self._inner.unused_data

    def feed(self, piece: bytes, size: int, crc: int) -> tuple[int, int]:
        while piece and not self._inner.eof:
            out = self._inner.decompress(piece, _PIECE)
            size, crc, piece = size + len(out), zlib.crc32(out, crc), self._inner.unconsumed_tail
        return size, crc
