"""TIFF: the page that is read, and what OpenCV must be given to decode it to the right pixels.

Invariant: only kinds of pages that OpenCV decodes right are given to it. Where it does not, the page is described to it
in other words: a channel of its own, a palette of grays, an alpha channel that does not count. The other kinds are
refused with what they are. `tests/core/images/formats/test_combinations.py` compares the kinds with other decoders.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pelagia.images.error import ImageError, require_few_pixels, undecodable
from pelagia.images.formats.opencv import COLOR, GRAY, Pixels, eight_bits, imdecode, rgb, unsupported_type
from pelagia.images.formats.tiff_tags import DESCRIPTION, STARTS, Directory, Tiff
from pelagia.images.remarks import JOINED, LARGER_PAGE, PAGES, SECOND_CHANNEL, WRONG_MAXIMUM, low_values

__all__ = ["STARTS", "decode"]

BITS, COMPRESSION, PHOTOMETRIC, OFFSETS, CHANNELS, SIZES = 258, 259, 262, 273, 277, 279
MAXIMUM, PLANAR, PREDICTOR, PALETTE, TILE_WIDTH, TILE_OFFSETS, TILE_SIZES, INKS = 281, 284, 317, 320, 322, 324, 325, 332
EXTRA, FORMAT, SUBSAMPLING = 338, 339, 530
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE_COLOR, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_JPEG = 7
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946})
_COMPRESSION_NAMES = {
    6: "old JPEG",
    34661: "JBIG",
    34712: "JPEG 2000",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of a raw photo",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    34927: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_COLORS = {
    4: "a mask",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "a raw photo",
    34892: "a raw photo",
    32844: "LogL",
    32845: "LogLuv",
}
_UINT, _UNDEFINED = 1, 4
_FORMATS = {2: "int", 3: "float", 5: "complex int", 6: "complex float"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_IMAGEJ_IMAGES = re.compile(rb"\AImageJ=[^\0]*\nimages=(\d{1,9})")


def decode(data: bytes) -> tuple[Pixels, str]:
    """The pixels of the first page that is no thumbnail, uint8, H x W x 3, RGB, 0..255; and the remark.

    16 bits are scaled by the tag MaxSampleValue where it names the largest value of 8 to 15 bits, else from 0..65535.

    Raises:
        ImageError: the page is damaged, too large, or of a kind that is not supported.
    """
    page, remarks = _page(data)
    kind = _kind(page)
    require_few_pixels(*page.sides)
    pixels = _by_planes(page, kind) if kind.planes else _whole(page, kind)
    if pixels.dtype == np.uint16:
        white, remark = _white(page, kind, pixels)
        if kind.inverted:
            pixels = np.uint16(white) - pixels
        remarks += [remark] if remark else []
        pixels = eight_bits(pixels, white)
    else:
        pixels = eight_bits(pixels)
        if kind.inverted and kind.planes:
            pixels = np.uint8(255) - pixels
    if kind.second_channel:
        remarks.append(SECOND_CHANNEL)
    return (pixels if kind.planes == 3 else rgb(pixels)), JOINED.join(remarks)


def _page(data: bytes) -> tuple[Directory, list[str]]:
    """The page to read, and the remarks on the others."""
    if data[8:10] == b"CR" and data[:4] == b"II*\0":
        raise ImageError("unsupported", "a raw photo of a Canon camera (CR2): convert it to TIFF, PNG or JPEG")
    pages = list(Tiff.of(data).directories())
    if not pages:
        raise undecodable()
    full = [page for page in pages if page.is_full]
    page = next(iter(full), None) or next((below for below in pages[0].below() if below.is_full), pages[0])
    others = [other for other in full if other.at != page.at]
    if any(other.sides[0] * other.sides[1] > page.sides[0] * page.sides[1] for other in others):
        return page, [LARGER_PAGE]
    stack = _IMAGEJ_IMAGES.match(page.text(DESCRIPTION))
    return page, [PAGES] if others or (stack and int(stack[1]) > 1) else []


class _Kind(NamedTuple):
    """How a page is decoded.

    Attributes:
        changes: other values of tags, as `Directory.as_first` takes them.
        planes: the number of channels that are decoded one by one; 0: all together.
        inverted: whether 0 is white, and OpenCV does not know it.
        bits: of a sample.
        second_channel: whether a channel that is not alpha is left out.
    """

    changes: dict[int, tuple[int, ...]]
    planes: int = 0
    inverted: bool = False
    bits: int = 8
    second_channel: bool = False


def _kind(page: Directory) -> _Kind:
    """How a page is decoded. Raises ImageError for a kind that is not supported."""
    color = page.number(PHOTOMETRIC, -1)
    _require_supported(page, color)
    bits = _bits(page)
    if color not in _GETTERS:
        raise undecodable()
    kind = _GETTERS[color](page, bits)
    if kind is None:
        channels = page.number(CHANNELS, 1)
        layout = f"{_NAMES[color]} TIFF with {channels} channel{'s' * (channels > 1)} of {bits} bits"
        tiles = ", in tiles" if TILE_WIDTH in page.entries else ""
        raise ImageError("unsupported", f"a {layout}{tiles}: save it as RGB or gray of 8 bits")
    return kind


def _gray(page: Directory, bits: int) -> _Kind | None:
    channels = page.number(CHANNELS, 1)
    inverted = page.number(PHOTOMETRIC, 1) == _WHITE_IS_ZERO
    if channels == 1 and bits == 4:
        return _Kind(_gray_palette(inverted))
    if channels == 1 and bits in (1, 8, 10, 12, 14, 16):
        return _Kind({}, inverted=inverted and bits > 8, bits=bits)
    if channels == 2 and bits in (8, 16):
        second = page.numbers(EXTRA)[:1] not in ((_ASSOCIATED,), (_UNASSOCIATED,))
        if _is_planar(page):
            return _Kind({PHOTOMETRIC: (_BLACK_IS_ZERO,)}, 1, inverted, bits, second)
        if TILE_WIDTH not in page.entries:
            return _Kind({}, 0, inverted and bits > 8, bits, second)
    return None


def _color(page: Directory, bits: int) -> _Kind | None:
    channels, extra = page.number(CHANNELS, 1), page.numbers(EXTRA)
    if channels not in (3, 4) or (channels == 4 and len(extra) > 1):
        return None
    if bits == 8:
        return _Kind({EXTRA: (_ASSOCIATED,)} if extra == (_UNASSOCIATED,) else {})
    if _is_planar(page):
        return _Kind({PHOTOMETRIC: (_BLACK_IS_ZERO,)}, 3, bits=bits) if bits == 16 else None
    return _Kind({}, bits=bits) if bits == 16 or (channels == 3 and bits in (10, 12, 14)) else None


def _palette(page: Directory, bits: int) -> _Kind | None:
    return _Kind({}) if page.number(CHANNELS, 1) == 1 and bits in (1, 4, 8) else None


def _cmyk(page: Directory, bits: int) -> _Kind | None:
    return _Kind({}) if page.number(CHANNELS, 1) == 4 and bits == 8 and page.number(INKS, 1) == 1 else None


def _ycbcr(page: Directory, bits: int) -> _Kind | None:
    if page.number(COMPRESSION, 1) == _JPEG:
        whole = not _is_planar(page)
    else:
        whole = page.numbers(SUBSAMPLING, (2, 2)) == (1, 1)
    return _Kind({}) if page.number(CHANNELS, 1) == 3 and bits == 8 and whole else None


_GETTERS = {
    _WHITE_IS_ZERO: _gray,
    _BLACK_IS_ZERO: _gray,
    _RGB: _color,
    _PALETTE_COLOR: _palette,
    _CMYK: _cmyk,
    _YCBCR: _ycbcr,
}
_NAMES = {
    _WHITE_IS_ZERO: "gray",
    _BLACK_IS_ZERO: "gray",
    _RGB: "RGB",
    _PALETTE_COLOR: "palette",
    _CMYK: "CMYK",
    _YCBCR: "YCbCr",
}


def _is_planar(page: Directory) -> bool:
    """Whether the page stores one channel after the other."""
    return page.number(PLANAR, 1) == 2 and page.number(CHANNELS, 1) > 1


def _bits(page: Directory) -> int:
    """Bits of a sample. Raises ImageError for samples that differ, and for those that are not unsigned integers."""
    bits, formats = set(page.numbers(BITS, (1,))), set(page.numbers(FORMAT, (_UINT,)))
    if len(bits) > 1 or len(formats) > 1:
        raise ImageError("unsupported", "a TIFF whose channels are of different types: save it as RGB or gray")
    one, kind = bits.pop(), formats.pop()
    if kind not in (_UINT, _UNDEFINED):
        raise unsupported_type(f"{_FORMATS.get(kind, 'unknown')}{one}")
    if one > 16:
        raise unsupported_type(f"uint{one}")
    return one


def _require_supported(page: Directory, color: int) -> None:
    compression = page.number(COMPRESSION, 1)
    if color in _COLORS:
        what = _COLORS[color]
        remedy = "convert it to TIFF, PNG or JPEG" if what == "a raw photo" else "save it as RGB or gray"
        raise ImageError("unsupported", f"a TIFF that holds {what}: {remedy}")
    if compression not in _COMPRESSIONS:
        name = _COMPRESSION_NAMES.get(compression, f"number {compression}")
        raise ImageError("unsupported", f"a TIFF with the compression {name}: save it with LZW or Deflate")
    if page.number(PREDICTOR, 1) not in (1, 2):
        raise ImageError("unsupported", "a TIFF with a predictor for floating-point numbers: save it without")


def _gray_palette(inverted: bool) -> dict[int, tuple[int, ...]]:
    """Tags that describe a gray page of 4 bits, which OpenCV does not decode, as a page with a palette."""
    grays = tuple(level * 65535 // 15 for level in (range(15, -1, -1) if inverted else range(16)))
    return {PHOTOMETRIC: (_PALETTE_COLOR,), PALETTE: grays * 3}


def _whole(page: Directory, kind: _Kind) -> NDArray[Any]:
    return _decoded(page.as_first(kind.changes), COLOR)


def _by_planes(page: Directory, kind: _Kind) -> NDArray[Any]:
    """The channels of a page that stores one after the other: H x W, or H x W x 3, RGB."""
    tiled = TILE_WIDTH in page.entries
    tags = (TILE_OFFSETS, TILE_SIZES) if tiled else (OFFSETS, SIZES)
    chunks = [page.numbers(tag) for tag in tags]
    channels = page.number(CHANNELS, 1)
    count = len(chunks[0]) // channels
    if not count or any(len(chunk) != count * channels for chunk in chunks):
        raise undecodable()
    single = {CHANNELS: (1,), PLANAR: (1,), EXTRA: (), BITS: (kind.bits,), FORMAT: (), **kind.changes}
    planes = []
    for start in range(0, kind.planes * count, count):
        place = {tag: chunk[start : start + count] for tag, chunk in zip(tags, chunks, strict=True)}
        planes.append(_decoded(page.as_first({**single, **place}), GRAY))
    return planes[0] if len(planes) == 1 else np.stack(planes, axis=-1)


def _decoded(data: bytes, flags: int) -> NDArray[Any]:
    pixels = imdecode(data, flags)
    if pixels is None:
        raise undecodable()
    return pixels


def _white(page: Directory, kind: _Kind, pixels: NDArray[Any]) -> tuple[int, str]:
    """The value of white in pixels of 16 bits, and the remark on it."""
    if kind.bits < 16:
        return 65535, ""  # OpenCV has shifted them
    most = int(pixels.max())
    stated = max(page.numbers(MAXIMUM, (65535,)))
    if stated in {(1 << bits) - 1 for bits in range(8, 16)}:
        return (stated, "") if most <= stated else (65535, WRONG_MAXIMUM)
    return 65535, low_values(most)
