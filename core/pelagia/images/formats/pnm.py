"""PBM, PGM and PPM (Netpbm's pbm(5), pgm(5), ppm(5)): bits or bytes without compression, or numbers as text."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pelagia.images.error import ImageError, require_few_pixels
from pelagia.images.formats.opencv import Pixels, eight_bits, rgb
from pelagia.images.remarks import JOINED, PAGES, low_values

STARTS = tuple(b"P%d" % number for number in range(1, 7))
_BLANK = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P[14]%b(\d+)%b(\d+)\s|P[2356]%b(\d+)%b(\d+)%b(\d+)\s" % ((_BLANK,) * 5))
_COMMENT = re.compile(rb"#[^\r\n]*")


class _Header(NamedTuple):
    height: int
    width: int
    channels: int
    white: int
    end: int


def decode(data: bytes) -> tuple[Pixels, str]:
    """The pixels of the first image, uint8, H x W x 3, RGB, 0..255, scaled by the file's maximum; and the remark.

    Raises:
        ImageError: the file is damaged, truncated, or too large.
    """
    header = _header(data)
    kind = data[1:2]
    read = _bits if kind == b"4" else _binary if kind in b"56" else _text
    pixels, rest = read(data, header)
    shape = (header.height, header.width, 3)[: 3 if header.channels == 3 else 2]
    remarks = [PAGES] if rest.lstrip()[:2] in STARTS else []
    most = int(pixels.max())
    if most > header.white:
        raise ImageError("undecodable", f"a pixel of {most}; the file states that the largest is {header.white}")
    if header.white == 65535 and (low := low_values(most)):
        remarks.append(low)
    shaped = _to_eight_bits(pixels.reshape(shape).astype(np.uint8 if header.white < 256 else np.uint16), header.white)
    return (shaped if header.channels == 3 else rgb(shaped)), JOINED.join(remarks)


def _header(data: bytes) -> _Header:
    found = _HEADER.match(data)
    if found is None:
        raise ImageError("undecodable", "a PBM, PGM or PPM with a damaged header")
    width, height, white = (int(number) for number in (*(n for n in found.groups() if n), b"1")[:3])
    require_few_pixels(height, width)
    if not height or not width or not 0 < white < 65536:
        raise ImageError("undecodable", "a PBM, PGM or PPM with a damaged header")
    return _Header(height, width, 3 if data[1:2] in b"36" else 1, white, found.end())


def _binary(data: bytes, header: _Header) -> tuple[NDArray[Any], bytes]:
    kind = np.dtype(np.uint8 if header.white < 256 else ">u2")
    count = header.height * header.width * header.channels
    end = header.end + count * kind.itemsize
    _require(len(data) >= end)
    pixels = np.frombuffer(data, kind, count, header.end)
    return pixels, data[end : end + 64]


def _bits(data: bytes, header: _Header) -> tuple[NDArray[Any], bytes]:
    """1 is black."""
    row = (header.width + 7) // 8
    end = header.end + row * header.height
    _require(len(data) >= end)
    rows = np.frombuffer(data, np.uint8, row * header.height, header.end).reshape(header.height, row)
    return 1 - np.unpackbits(rows, axis=1, count=header.width), data[end : end + 64]


def _text(data: bytes, header: _Header) -> tuple[NDArray[Any], bytes]:
    """Numbers, or in a PBM digits that need no space between them. There is only one image in a file of this kind."""
    text = _COMMENT.sub(b"", data[header.end :])
    count = header.height * header.width * header.channels
    if data[1:2] == b"1":
        digits = np.frombuffer(b"".join(text.split()), np.uint8)[:count] - ord("0")
        _require(len(digits) == count and int(digits.max()) <= 1)
        return 1 - digits, b""
    _require(re.fullmatch(rb"[\d\s]*", text) is not None)
    numbers = np.fromstring(text, np.int64, sep=" ")[:count]
    _require(len(numbers) == count)
    return numbers, b""


def _to_eight_bits(pixels: NDArray[Any], white: int) -> Pixels:
    if pixels.dtype == np.uint8 and white < 255:
        table = np.round(np.arange(256) * (255 / white)).clip(0, 255).astype(np.uint8)
        return np.take(table, pixels)
    return eight_bits(pixels, white)


def _require(whole: bool) -> None:
    if not whole:
        raise ImageError("undecodable", "a truncated or damaged PBM, PGM or PPM")
