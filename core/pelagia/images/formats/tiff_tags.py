"""The directories of a TIFF (TIFF 6.0, Adobe 1992) or BigTIFF: its pages, and the tags that say what pixels are.

Invariant: whatever the bytes are, reading ends quickly and raises nothing but ImageError. Pixels are not read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pelagia.images.error import ImageError, undecodable

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES = 64
_MOST_ENTRIES = 4096
_MOST_VALUES = 1 << 20
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}
"""TIFF's number of a type of integers -> its code in `struct`."""
_ASCII, _SHORT, _LONG, _LONG8 = 2, 3, 4, 16
_REDUCED, _MASK = 1, 4
SUBFILE, OLD_SUBFILE, DESCRIPTION, SUB_DIRECTORIES = 254, 255, 270, 330
_OLD_REDUCED = 2


@dataclass(slots=True)
class Tiff:
    """A TIFF as its header describes it: the bytes, their order in `struct`'s notation, and whether it is a BigTIFF."""

    data: bytes
    order: str
    big: bool

    @classmethod
    def of(cls, data: bytes) -> Tiff:
        return cls(data, "<" if data[:2] == b"II" else ">", 43 in (data[2], data[3]))

    def unpack(self, code: str, at: int) -> tuple[int, ...]:
        """Integers at a place in the file. Raises ImageError if it is outside the file."""
        try:
            return struct.unpack_from(self.order + code, self.data, at)
        except (struct.error, OverflowError):
            raise undecodable() from None

    @property
    def first(self) -> int:
        """The place of the first directory; 0 if there is none."""
        return self.unpack("Q", 8)[0] if self.big else self.unpack("I", 4)[0]

    def directories(self) -> Iterator[Directory]:
        """The first directories of the file, each once. The first one must be whole, the others end at a fault."""
        at, seen = self.first, set[int]()
        while at and at not in seen and len(seen) < _MOST_PAGES:
            seen.add(at)
            try:
                directory = self.directory(at)
            except ImageError:
                if len(seen) == 1:
                    raise
                return
            yield directory
            at = directory.following

    def directory(self, at: int) -> Directory:
        """The directory at a place in the file. Raises ImageError if the file ends inside it."""
        count = self.unpack("Q" if self.big else "H", at)[0]
        if count > _MOST_ENTRIES:
            raise undecodable()
        start, size = (at + 8, 20) if self.big else (at + 2, 12)
        if start + count * size > len(self.data):
            raise undecodable()
        block = self.data[start : start + count * size]
        tags = struct.iter_unpack(f"{self.order}H{size - 2}x", block)
        entries = {tag: start + size * number for number, (tag,) in reversed(list(enumerate(tags)))}
        end = start + count * size
        code = "Q" if self.big else "I"
        following = self.unpack(code, end)[0] if end + struct.calcsize(code) <= len(self.data) else 0
        return Directory(self, at, entries, following)


@dataclass(slots=True)
class Directory:
    """A directory: the tags of one page.

    Attributes:
        at: its place in the file.
        entries: tag -> the place of its entry in the file.
        following: the place of the next directory; 0 if there is none.
    """

    tiff: Tiff
    at: int
    entries: Mapping[int, int]
    following: int

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The integers of a tag; ``default`` if it is missing or holds none."""
        if tag not in self.entries:
            return default
        kind, count, place = self._value(tag)
        if kind not in _CODES or not 0 < count <= _MOST_VALUES:
            return default
        return self.tiff.unpack(f"{count}{_CODES[kind]}", place)

    def number(self, tag: int, default: int) -> int:
        """The first integer of a tag."""
        return self.numbers(tag, (default,))[0] if tag in self.entries else default

    def text(self, tag: int) -> bytes:
        """The text of a tag; empty if it has none."""
        kind, count, place = self._value(tag)
        return self.tiff.data[place : place + count] if kind == _ASCII else b""

    def _value(self, tag: int) -> tuple[int, int, int]:
        """Type, count and place of a value: in its entry if it is short, else elsewhere in the file."""
        entry = self.entries.get(tag)
        if entry is None:
            return 0, 0, 0
        kind, count, place = self.tiff.unpack("HQQ" if self.tiff.big else "HII", entry + 2)
        inline = 8 if self.tiff.big else 4
        if struct.calcsize("=" + _CODES.get(kind, "B")) * count <= inline:
            place = entry + (20 if self.tiff.big else 12) - inline
        return kind, count, place

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.number(257, 0), self.number(256, 0)

    @property
    def is_full(self) -> bool:
        """Whether it is an image of its own: not a thumbnail and not a mask of another page."""
        kind = self.number(SUBFILE, 0)
        return not kind & (_REDUCED | _MASK) and self.number(OLD_SUBFILE, 0) != _OLD_REDUCED

    def below(self) -> Iterator[Directory]:
        """The directories that belong to this one."""
        for at in self.numbers(SUB_DIRECTORIES)[:_MOST_PAGES]:
            yield self.tiff.directory(at)

    def as_first(self, changes: Mapping[int, Sequence[int]] | None = None) -> bytes:
        """The file with this directory as its first one, and with other values of some tags.

        Args:
            changes: tag -> its integers below 2**32; no integers: the tag is left out.
        """
        tiff = self.tiff
        if not changes and self.at == tiff.first:
            return tiff.data  # the decoder reads the first directory only
        if not changes:
            at, tail = self.at, b""
        else:
            at = len(tiff.data) + len(tiff.data) % 2
            tail = bytes(len(tiff.data) % 2) + self._rewritten(at, changes)
        header = struct.pack(tiff.order + ("Q" if tiff.big else "I"), at)
        start = 8 if tiff.big else 4
        return b"".join((tiff.data[:start], header, tiff.data[start + len(header) :], tail))

    def _rewritten(self, at: int, changes: Mapping[int, Sequence[int]]) -> bytes:
        """The directory with changed tags, as the bytes at ``at``; longer values follow it."""
        tiff, order, inline = self.tiff, self.tiff.order, 8 if self.tiff.big else 4
        length = 20 if tiff.big else 12
        entries = {tag: tiff.data[at : at + length] for tag, at in self.entries.items() if tag not in changes}
        kept = {tag: values for tag, values in changes.items() if values}
        size = (8 + 20 * (len(entries) + len(kept)) + 8) if tiff.big else (2 + 12 * (len(entries) + len(kept)) + 4)
        values_at, long_values = at + size + size % 2, b""
        for tag, values in kept.items():
            kind = _SHORT if max(values) < 1 << 16 else _LONG if max(values) < 1 << 32 else _LONG8
            raw = struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
            if len(raw) > inline:
                place = struct.pack(order + ("Q" if tiff.big else "I"), values_at + len(long_values))
                long_values += raw + bytes(len(raw) % 2)
                raw = place
            entries[tag] = struct.pack(order + ("HHQ" if tiff.big else "HHI"), tag, kind, len(values)) + raw.ljust(
                inline, b"\0"
            )
        body = b"".join(entries[tag] for tag in sorted(entries))
        head = struct.pack(order + ("Q" if tiff.big else "H"), len(entries)) + body + bytes(inline)
        return head + bytes(size % 2) + long_values
