"""Unpacks the bytes of a zip's member, a piece at a time: stored, deflate, bzip2.

Invariant: whatever is wrong with the bytes is an ImageError.
"""

from __future__ import annotations

import bz2
import zlib
from typing import Protocol

from pelagia.images.preprocess import ImageError

STORED, DEFLATED, BZIP2 = 0, 8, 12
_NAMES = {9: "deflate64", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES"}


class Unpacker(Protocol):
    """Unpacks one member.

    Attributes:
        eof: whether the packed bytes have ended by themselves.
        needs_input: whether `unpack` needs more packed bytes.
    """

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def unpack(self, piece: bytes, limit: int) -> bytes:
        """At most ``limit`` further bytes. ``piece``: the next packed bytes; empty unless `needs_input`."""


def unpacker_of(method: int, flags: int = 0) -> Unpacker:
    """The unpacker for a method of packing. Raises ImageError if it is unknown, or the flags declare encryption."""
    if flags & 1:
        raise ImageError("encrypted", "the archive's member is encrypted: unpack it with its password")
    if method not in _UNPACKERS:
        known = _NAMES.get(method, f"method {method}")
        raise ImageError("unsupported", f"the archive's member is compressed with {known}: pack it as a plain zip")
    return _UNPACKERS[method]()


class _Stored:
    eof = False

    def __init__(self) -> None:
        self._waiting = b""

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def unpack(self, piece: bytes, limit: int) -> bytes:
        piece = self._waiting or piece
        self._waiting = piece[limit:]
        return piece[:limit]


class _Deflated:
    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-15)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def unpack(self, piece: bytes, limit: int) -> bytes:
        try:
            return self._inner.decompress(self._inner.unconsumed_tail or piece, limit)
        except zlib.error as error:
            raise _damaged(error) from None


class _Bzip2:
    def __init__(self) -> None:
        self._inner = bz2.BZ2Decompressor()

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return self._inner.needs_input

    def unpack(self, piece: bytes, limit: int) -> bytes:
        try:
            return self._inner.decompress(piece, limit)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(error) from None


def _damaged(error: Exception) -> ImageError:
    return ImageError("damaged", f"the archive's member is damaged: {error}")


_UNPACKERS: dict[int, type[Unpacker]] = {STORED: _Stored, DEFLATED: _Deflated, BZIP2: _Bzip2}
