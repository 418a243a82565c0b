"""Tar archives, plain or compressed: one pass from start to end, in the archive's order, never unpacked to the disk.

Invariant: a member of a plain tar is read from its place in the archive when it is needed. The bytes of a member of a
compressed tar are read during the pass and stay with the image, so memory depends on how many images are in progress.

This module uses Python's tarfile only to parse headers, and finds the members itself. tarfile is about as fast (200,000
members: 56,000 per second, this module 54,000 to 62,000; in a compressed tar 33,000, this module 55,000), and needs no
more memory if its ``members`` are cleared after each member. But it has faults that cannot be fixed from outside: it
takes an archive that is truncated or damaged between two members for complete; it loops forever on a header with a
negative size (Python 3.11.7); and it needs 519 to 1030 MB of memory for a compressed tar of 2 MB whose
header declares a name of 512 MB. The tests compare this module with tarfile, member by member.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources.archives import cut_short
from pelagia.sources.archives.bins import Bins
from pelagia.sources.archives.names import Names
from pelagia.sources.ifcb.names import is_packed
from pelagia.sources.ifcb.parts import Part, Span, Stream, gunzipped
from pelagia.sources.image import (
    MAX_BYTES,
    Fault,
    Held,
    Kind,
    NoImageError,
    SourceImage,
    base_name,
    failed,
    inside,
    known_suffixes,
    read_at,
)
from pelagia.sources.instruments import pi10
from pelagia.sources.listing import Listing

_BLOCK = tarfile.BLOCKSIZE
_LONGEST_HEADER = 1 << 20
_PIECE = 1 << 20
_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")
_MAGIC = ((b"\x1f\x8b", gzip.GzipFile), (b"BZh", bz2.BZ2File), (b"\xfd7zXZ\0", lzma.LZMAFile))
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)

_WITHOUT_DATA = {tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE}
_NO_FILE = {tarfile.XGLTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE}
_LINK = "a link inside the archive: make the archive with tar --dereference --hard-dereference"
_SPARSE = "a sparse member of a tar: unpack the archive"
_FAULTS = {tarfile.LNKTYPE: _LINK, tarfile.SYMTYPE: _LINK, tarfile.GNUTYPE_SPARSE: _SPARSE}


class _Broken(Exception):  # noqa: N818 - it is named after what is wrong
    """The archive is damaged or cut short; the message says how."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """Reads a member of a plain tar."""

    archive: Path
    offset: int
    size: int

    def __call__(self) -> bytes:
        data = read_at(self.archive, self.offset, self.size)
        if len(data) < self.size:
            raise ImageError("damaged", "the archive ends within this member: it is cut short")
        return data


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    offset: int
    size: int
    fault: str


def images(archive: Path, listing: Listing) -> Iterator[SourceImage]:
    """The images of a tar.

    If the archive is truncated, yields its complete members, then one failed image with the reason.

    Raises:
        InputError: the archive cannot be read, is not a tar, or has no image.
    """
    names = Names(listing)
    bins = Bins(archive, names, listing)
    found = 0
    has_background = pi10.is_tar(archive.name)
    try:
        stream = _Stream(archive)
        with stream.file:
            for member in _members(stream):
                for image in _images_of(stream, member, names, bins, listing if has_background else None):
                    found += 1
                    yield image
            for image in bins.rest():
                found += 1
                yield image
    except _Broken as error:
        yield from bins.rest()
        if not found and error.args == (_NO_TAR,):
            raise InputError(
                f"{archive} is named like a tar archive but is not one: download or copy it again"
            ) from None
        yield failed(base_name(archive), archive, "damaged", cut_short(error, found))
        return
    except OSError as error:
        raise InputError(f"cannot read {archive}: {error.strerror}; check that your account may read it") from None
    if not found:
        raise NoImageError(f"there is no image in {archive} (looked for {known_suffixes()}): name another archive")


def _images_of(
    stream: _Stream, member: _Member, names: Names, bins: Bins, of_pi10: Listing | None
) -> Iterator[SourceImage]:
    """The images of a member. ``of_pi10`` counts background images, if the archive has the name of a Pi-10's."""
    if bins.takes(member.name):
        part, held = _part(stream, member)
        yield from bins.add(member.name, part, held)
    elif not bins.is_extracted(member.name) and (name := names.of(member.name)):
        if of_pi10 is not None and pi10.is_background(name):
            of_pi10.left_out["pi10_background"] += 1
        else:
            yield SourceImage(name, inside(stream.archive, name), pi10.columns(name), _reader(stream, member))


def _part(stream: _Stream, member: _Member) -> tuple[Part, int]:
    """A file of a bin, and how many bytes of it are in memory."""
    packed = is_packed(member.name)
    if stream.is_plain and not packed and not member.fault:
        if member.offset + member.size > stream.length:
            raise _Broken("it is cut short")
        return Span(stream.archive, member.offset, member.size), 0
    reader = _reader(stream, member)
    held = len(reader.data) if isinstance(reader, Held) else 0
    if packed:
        return Stream(lambda: gunzipped(io.BytesIO(reader()))), held
    return Stream(lambda: io.BytesIO(reader())), held


_NO_TAR = "it is not a tar"


class _Stream:
    """The archive's unpacked bytes, from start to end. Errors of a damaged or short archive become `_Broken`."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        with archive.open("rb") as file:
            start = file.read(6)
        unpacked: Any = next((opened for magic, opened in _MAGIC if start.startswith(magic)), None)
        self.is_plain = unpacked is None
        self.file: IO[bytes] = archive.open("rb") if unpacked is None else unpacked(archive)
        self.length = archive.stat().st_size
        self.at = 0

    def read(self, size: int) -> bytes:
        """``size`` bytes, or fewer at the end."""
        try:
            data = self.file.read(size)
        except _DAMAGE as error:
            raise _Broken(f"it is cut short or damaged ({error})") from None
        except OSError as error:
            if error.errno is None:  # bz2 raises this for damaged data
                raise _Broken(f"it is damaged ({error})") from None
            raise
        self.at += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise _Broken("it is cut short")
        return data

    def skip_to(self, offset: int) -> None:
        if self.is_plain:
            if offset > self.length:
                raise _Broken("it is cut short")
            self.file.seek(offset)
            self.at = offset
        while self.at < offset:
            self.exactly(min(_PIECE, offset - self.at))


def _reader(stream: _Stream, member: _Member) -> Callable[[], bytes]:
    if member.fault:
        return Fault("unsupported", member.fault)
    if member.size > MAX_BYTES:
        return Fault("too_large", f"the member has {member.size} bytes; the limit is {MAX_BYTES}")
    if stream.is_plain:
        if member.offset + member.size > stream.length:
            raise _Broken("it is cut short")
        return TarMember(stream.archive, member.offset, member.size)
    return Held(stream.exactly(member.size))


def _members(stream: _Stream) -> Iterator[_Member]:
    """The files of the tar. When one is listed, the stream is at its first byte, and the caller may read it."""
    name: str | None = None
    size: int | None = None
    sparse = False
    while (info := _header(stream)) is not None:
        if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            start = stream.at
            data = _extended(stream, info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(data.partition(b"\0")[0])
            elif info.type != tarfile.GNUTYPE_LONGLINK:
                records = dict(_records(data))
                path = records.get(b"GNU.sparse.name", records.get(b"path"))
                name = name if path is None else _text(path)
                size = _number(records[b"size"]) if b"size" in records else size
                sparse = any(key.startswith(b"GNU.sparse") for key in records)
            stream.skip_to(start + _padded(info.size))
            continue
        start, length = stream.at, info.size if size is None else size
        if info.type in _WITHOUT_DATA:
            length = 0  # whatever size their header declares
        if info.type not in _NO_FILE:
            yield _Member(name or info.name, start, length, _SPARSE if sparse else _FAULTS.get(info.type, ""))
        stream.skip_to(start + _padded(length))
        name, size, sparse = None, None, False
    _check_end(stream)


def _header(stream: _Stream) -> tarfile.TarInfo | None:
    """The next header, or None at the end."""
    first = not stream.at
    block = stream.read(_BLOCK)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except tarfile.HeaderError:
        if first:
            raise _Broken(_NO_TAR) from None
        raise _Broken("it is cut short" if len(block) < _BLOCK else "it is damaged") from None
    if info.size < 0:
        raise _Broken("it is damaged")
    if info.type == tarfile.GNUTYPE_SPARSE:
        more = block[482]
        while more:
            more = stream.exactly(_BLOCK)[504]
    return info


def _extended(stream: _Stream, size: int) -> bytes:
    """The bytes of an extended header: a long name, or records."""
    if size > _LONGEST_HEADER:
        raise _Broken(f"it is damaged: a header of {size} bytes")
    return stream.exactly(size)


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each record of a pax header: ``length key=value`` and a line end; the length counts them all."""
    while data.strip(b"\0"):
        digits, space, _ = data.partition(b" ")
        length = _number(digits)
        if not space or not len(digits) < length <= len(data):
            raise _Broken("it is damaged: an extended header is invalid")
        key, _, value = data[len(digits) + 1 : length - 1].partition(b"=")
        yield key, value
        data = data[length:]


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise _Broken("it is damaged: an extended header is invalid")
    return int(digits)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _check_end(stream: _Stream) -> None:
    """Reads the bytes after the end mark, so that the checksum of a compressed archive is checked."""
    for _ in range(16):
        if not stream.read(_PIECE):
            return


def _claims(path: Path) -> bool:
    return path.name.lower().endswith(_SUFFIXES) and path.is_file()


KIND = Kind(claims=_claims, images=images)
