"""GIF, BMP and WebP: the checks that OpenCV does not make."""

from __future__ import annotations

import struct

import numpy as np

from pelagia.images.error import ImageError, require_few_pixels, undecodable
from pelagia.images.formats.opencv import COLOR, Pixels, built_with, eight_bits, imdecode, missing_decoder, rgb
from pelagia.images.remarks import PAGES

_EXTENSION, _IMAGE, _TRAILER, _CONTROL = 0x21, 0x2C, 0x3B, 0xF9
_BITFIELDS, _BGR, _RGB_565 = 3, (0xFF0000, 0xFF00, 0xFF), (0xF800, 0x7E0, 0x1F)
_RGB_555 = (0x7C00, 0x3E0, 0x1F)
_ANIMATED = 2


def decode_gif(data: bytes) -> tuple[Pixels, str]:
    """The first frame of a GIF (version 89a, CompuServe 1990), uint8, H x W x 3, RGB, 0..255; and the remark.

    A transparent color is shown as its entry in the palette, as in a PNG.

    Raises:
        ImageError: it is damaged, not supported, or OpenCV was built without GIF.
    """
    first, several = _first_frame(data)
    pixels = imdecode(first, COLOR)
    if pixels is None:
        raise undecodable() if built_with("GIF") else missing_decoder("GIF")
    return rgb(eight_bits(pixels)), PAGES if several else ""


def _first_frame(data: bytes) -> tuple[bytes, bool]:
    """A GIF of the first frame alone, without its transparent color; and whether there are more frames."""
    if len(data) < 14:
        raise undecodable()
    out = bytearray(data)
    width, height = struct.unpack("<HH", data[6:10])
    require_few_pixels(height, width)
    at, end = 13 + _palette_bytes(data[10]), 0
    while at < len(data):
        kind = data[at]
        if kind == _EXTENSION and at + 4 <= len(data):
            if data[at + 1] == _CONTROL and not end:
                out[at + 3] &= 0xFE
            at = _after_blocks(data, at + 2)
        elif kind == _IMAGE and at + 11 <= len(data) and not end:
            if struct.unpack("<4H", data[at + 1 : at + 9]) != (0, 0, width, height):
                raise ImageError("unsupported", "a GIF whose first frame does not fill it: convert it to PNG")
            at = end = _after_blocks(data, at + 11 + _palette_bytes(data[at + 9]))
        else:
            break
    if not end or end > len(data):
        raise undecodable()
    return bytes(out[:end]) + bytes([_TRAILER]), data[at : at + 1] == bytes([_IMAGE])


def _palette_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """The end of a chain of blocks; beyond the end of ``data`` if it is cut short."""
    while at < len(data):
        if not data[at]:
            return at + 1
        at += data[at] + 1
    return len(data) + 1


def decode_bmp(data: bytes) -> tuple[Pixels, str]:
    """The pixels of a BMP, uint8, H x W x 3, RGB, 0..255; no remark.

    OpenCV decodes 32 bits in the order BGR only, unless the header has 108 bytes or more, and does not fill the lower
    bits of a pixel of 16 bits.

    Raises:
        ImageError: it is damaged or not supported.
    """
    size, bits, compression = struct.unpack("<I", data[14:18].ljust(4, b"\0"))[0], data[28:29], data[30:34]
    masks = _RGB_555 if bits == b"\x10" else _BGR
    if size >= 40 and compression == struct.pack("<I", _BITFIELDS) and len(data) >= 66:
        masks = struct.unpack("<3I", data[54:66])
        if masks not in ((_RGB_555, _RGB_565) if bits == b"\x10" else (_BGR,)) and (size < 108 or bits == b"\x10"):
            raise ImageError("unsupported", "a BMP whose colors have other bits than usual: save it as PNG")
    pixels = imdecode(data, COLOR)
    if pixels is None:
        raise undecodable()
    found = rgb(eight_bits(pixels))
    if size >= 40 and bits == b"\x10":
        found |= found >> np.array([5, 6 if masks == _RGB_565 else 5, 5], np.uint8)
    return found, ""


def decode_webp(data: bytes) -> tuple[Pixels, str]:
    """The first frame of a WebP, uint8, H x W x 3, RGB, 0..255; and the remark."""
    pixels = imdecode(data, COLOR)
    if pixels is None:
        raise undecodable()
    animated = data[12:16] == b"VP8X" and len(data) > 20 and data[20] & _ANIMATED
    return rgb(eight_bits(pixels)), PAGES if animated else ""
