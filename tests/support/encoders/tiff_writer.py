"""Writes a TIFF of any layout (TIFF 6.0, Adobe 1992; BigTIFF), independent of OpenCV, libtiff and the reader."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NONE, LZW, DEFLATE, PACKBITS, OLD_DEFLATE = 1, 5, 8, 32773, 32946
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_SHORT, _LONG, _RATIONAL, _ASCII, _LONG8 = 3, 4, 5, 2, 16
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


@dataclass(frozen=True)
class Page:
    """One page. ``samples`` is H x W x C, unsigned integers below 2**bits, or floats.

    Attributes:
        tile: height and width of a tile, multiples of 16; None: strips of ``rows`` rows.
        tags: more tags: number -> text, or a list of numbers below 2**32.
    """

    samples: np.ndarray
    photometric: int = BLACK_IS_ZERO
    bits: int = 8
    planar: bool = False
    compression: int = NONE
    predictor: bool = False
    tile: tuple[int, int] | None = None
    rows: int = 7
    extra: Sequence[int] = ()
    reverse_bits: bool = False
    tags: Mapping[int, Any] = field(default_factory=dict)


def tiff(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """The file with these pages, in byte order ``<`` or ``>``."""
    size, count, offset = (8, "Q", "Q") if big else (4, "H", "I")
    mark = b"II" if order == "<" else b"MM"
    out = bytearray(mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0))))
    link = len(out) - size
    for page in pages:
        chunks = [_compressed(chunk, page) for chunk in _chunks(page, order)]
        starts = []
        for chunk in chunks:
            out += b"\0" * (len(out) % 2)
            starts.append(len(out))
            out += chunk
        entries = []
        for tag, values in sorted(_tags(page, starts, [len(chunk) for chunk in chunks]).items()):
            kind, number, raw = _value(values, order, big, offset_tag=tag in (273, 279, 324, 325))
            if len(raw) > size:
                out += b"\0" * (len(out) % 2)
                at = len(out)
                out += raw
                raw = struct.pack(order + offset, at)
            entries.append(struct.pack(f"{order}HH{offset}", tag, kind, number) + raw.ljust(size, b"\0"))
        out += b"\0" * (len(out) % 2)
        struct.pack_into(order + offset, out, link, len(out))
        out += struct.pack(order + count, len(entries)) + b"".join(entries)
        link = len(out)
        out += bytes(size)
    return bytes(out)


def _tags(page: Page, starts: list[int], sizes: list[int]) -> dict[int, Any]:
    height, width, channels = page.samples.shape
    tags: dict[int, Any] = {
        256: [width],
        257: [height],
        258: [page.bits] * channels,
        259: [page.compression],
        262: [page.photometric],
        277: [channels],
        284: [2 if page.planar else 1],
    }
    if page.tile:
        tags |= {322: [page.tile[1]], 323: [page.tile[0]], 324: starts, 325: sizes}
    else:
        tags |= {273: starts, 278: [page.rows], 279: sizes}
    if page.predictor:
        tags[317] = [2]
    if page.extra:
        tags[338] = list(page.extra)
    if page.reverse_bits:
        tags[266] = [2]
    if page.samples.dtype.kind != "u":
        tags[339] = [{"f": 3, "i": 2}[page.samples.dtype.kind]] * channels
    return tags | dict(page.tags)


def _value(values: Any, order: str, big: bool, *, offset_tag: bool) -> tuple[int, int, bytes]:
    if isinstance(values, str):
        raw = values.encode() + b"\0"
        return _ASCII, len(raw), raw
    kind = (_LONG8 if big else _LONG) if offset_tag else _LONG if max(values) > 65535 else _SHORT
    return kind, len(values), struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)


def _chunks(page: Page, order: str) -> Iterator[bytes]:
    """The bytes of each strip or tile, before they are compressed; plane after plane if the page is planar."""
    planes = np.moveaxis(page.samples, -1, 0)[..., None] if page.planar else page.samples[None]
    for plane in planes:
        height, width = plane.shape[:2]
        if page.tile:
            down, across = page.tile
            padded = np.pad(plane, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
        else:
            (down, across), padded = (page.rows, width), plane
        for top in range(0, height, down):
            for left in range(0, width, across):
                yield _packed(padded[top : top + down, left : left + across], page, order)


def _packed(chunk: np.ndarray, page: Page, order: str) -> bytes:
    if page.predictor:
        chunk = np.concatenate((chunk[:, :1], chunk[:, 1:] - chunk[:, :-1]), axis=1)
    rows = chunk.reshape(len(chunk), -1)
    if page.bits in (8, 16, 32, 64):
        data = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    else:
        powers = np.arange(page.bits - 1, -1, -1)
        bits = (rows[..., None].astype(np.uint32) >> powers & 1).astype(np.uint8).reshape(len(rows), -1)
        data = np.packbits(bits, axis=1).tobytes()
    return data


def _compressed(data: bytes, page: Page) -> bytes:
    if page.compression in (DEFLATE, OLD_DEFLATE):
        data = zlib.compress(data)
    elif page.compression == LZW:
        data = _lzw(data)
    elif page.compression == PACKBITS:
        data = b"".join(
            bytes([len(part) - 1]) + part for part in (data[at : at + 128] for at in range(0, len(data), 128))
        )
    if page.reverse_bits:
        data = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()
    return data


def _lzw(data: bytes) -> bytes:
    """LZW as in TIFF 6.0, section 13: codes get longer after entry 511, 1023 and 2047, and start again after 4094."""
    text: list[str] = [format(256, "09b")]
    table = {bytes([byte]): byte for byte in range(256)}
    last, width, word = 257, 9, b""
    for byte in data:
        longer = word + bytes([byte])
        if longer in table:
            word = longer
            continue
        text.append(format(table[word], f"0{width}b"))
        word = longer[-1:]
        last += 1
        table[longer] = last
        if last == 4094:
            text.append(format(256, "012b"))
            table = {bytes([value]): value for value in range(256)}
            last, width = 257, 9
        elif last in (511, 1023, 2047):
            width += 1
    text.append(format(table[word], f"0{width}b"))
    text.append(format(257, f"0{width + (last + 1 in (511, 1023, 2047))}b"))
    bits = "".join(text)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)
