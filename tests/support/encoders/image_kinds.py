"""Images of every mode, depth, compression and layout that libtiff, libpng and Pillow write, and what they show.

What an image shows follows from the pixels that were written, or, where the compression is lossy, from Pillow's
decoder. Alpha channels are dropped; 16 bits are scaled from 0..65535.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps

from encoders.tiff_writer import (
    BLACK_IS_ZERO,
    CMYK,
    DEFLATE,
    LZW,
    NONE,
    OLD_DEFLATE,
    PACKBITS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Page,
    tiff,
)

HEIGHT, WIDTH = 21, 45


class Made(NamedTuple):
    """An encoded image, and what it shows (uint8, H x W x 3, RGB), give or take ``tolerance``."""

    name: str
    data: bytes
    shows: np.ndarray
    tolerance: int = 0


def samples(channels: int, bits: int, seed: int = 0) -> np.ndarray:
    """A smooth image with values from 0 to 2**bits - 1: uint8 or uint16, H x W x channels."""
    coarse = np.random.default_rng(seed).random((4, 6, channels), np.float32)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).reshape(HEIGHT, WIDTH, channels)
    low, high = smooth.min(), smooth.max()
    scaled = np.round((smooth - low) / (high - low) * ((1 << bits) - 1))
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


def shown(values: np.ndarray, bits: int) -> np.ndarray:
    """Samples of one or three channels as 8 bits, H x W x 3."""
    eight = np.round(values / ((1 << bits) - 1) * 255).astype(np.uint8)
    return np.repeat(eight, 3, axis=2) if eight.shape[2] == 1 else eight


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


_ONE, _TWO, _EIGHT_16 = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16), (8, 16), (8, 16)
_TIFF_KINDS: tuple[tuple[int, int, tuple[int, ...], tuple[int, ...]], ...] = (
    *((color, 1, (bits,), ()) for color in (WHITE_IS_ZERO, BLACK_IS_ZERO) for bits in _ONE),
    (PALETTE, 1, (1, 2, 4, 8), ()),
    (RGB, 3, (2, 4, 8, 10, 12, 14, 16), ()),
    *((RGB, 4, _TWO, (extra,)) for extra in (0, 1, 2)),
    (RGB, 4, _TWO, ()),
    (RGB, 5, _TWO, (0, 0)),
    *((color, 2, _TWO, (extra,)) for color in (WHITE_IS_ZERO, BLACK_IS_ZERO) for extra in (0, 1, 2)),
    (BLACK_IS_ZERO, 3, _TWO, (0, 0)),
    (BLACK_IS_ZERO, 5, _TWO, (0, 0, 0, 0)),
    (CMYK, 4, _TWO, ()),
    (CMYK, 5, _TWO, (2,)),
    (YCBCR, 3, (8,), ()),
    (8, 3, (8,), ()),
)


def tiffs(step: int = 1) -> Iterator[Made]:
    """All layouts of unsigned integers that our own writer writes, or each ``step``-th of them."""
    number = 0
    layouts = list(itertools.product((False, True), (NONE, LZW, DEFLATE, PACKBITS, OLD_DEFLATE), (False, True)))
    forms = list(itertools.product((None, (16, 32)), "<>", (False, True), (False, True)))
    for color, channels, depths, extra in _TIFF_KINDS:
        for bits in depths:
            values = samples(channels, bits)
            tags, shows = _tags_and_picture(color, values, bits)
            for (planar, compression, predictor), (tile, order, big, reverse) in itertools.product(layouts, forms):
                if (predictor and (compression in (NONE, PACKBITS) or bits not in (8, 16))) or (
                    planar and channels == 1
                ):
                    continue
                number += 1
                if number % step:
                    continue
                page = Page(
                    values,
                    color,
                    bits,
                    planar,
                    compression,
                    predictor,
                    tile,
                    extra=extra,
                    reverse_bits=reverse,
                    tags=tags,
                )
                layout = f"{planar=} {compression=} {predictor=} {tile=} {order=} {big=} {reverse=}"
                name = f"{color=} {channels=} {bits=} {extra=} {layout}"
                yield Made(name, tiff(page, order=order, big=big), shows, int(bits > 8 or color in (CMYK, YCBCR)))


def _tags_and_picture(color: int, values: np.ndarray, bits: int) -> tuple[dict[int, Any], np.ndarray]:
    """The other tags that a page needs, and what it shows."""
    if color == PALETTE:
        colors = np.random.default_rng(1).integers(0, 256, (3, 1 << bits)).astype(np.uint8)
        return {320: [int(value) * 257 for value in colors.ravel()]}, np.moveaxis(colors[:, values[..., 0]], 0, -1)
    if color == CMYK:
        inks = values / ((1 << bits) - 1)
        return {}, np.round((1 - inks[..., :3]) * (1 - inks[..., 3:4]) * 255).astype(np.uint8)
    if color == YCBCR:
        return {530: [1, 1]}, np.asarray(Image.fromarray(values, "YCbCr").convert("RGB"))
    if color == 8:
        return {}, np.zeros((HEIGHT, WIDTH, 3), np.uint8)  # no decoder here converts CIELab: it must be refused
    gray = color in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    shows = shown(values[..., : 1 if gray else 3], bits)
    return {}, 255 - shows if color == WHITE_IS_ZERO else shows


def other_tiffs() -> Iterator[Made]:
    """Samples that are no unsigned integers of up to 16 bits, which have no picture: they must be refused."""
    nothing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for kind, channels in itertools.product(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u4", "u8"], (1, 3)):
        values = samples(channels, 7).astype(kind)
        for planar, tile, order in itertools.product((False, True), (None, (16, 32)), "<>"):
            page = Page(values, RGB if channels == 3 else BLACK_IS_ZERO, values.itemsize * 8, planar, tile=tile)
            yield Made(f"{kind} {channels} {planar=} {tile=} {order=}", tiff(page, order=order), nothing)


_LOSSY = ("jpeg", "webp")
_LIBTIFF = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "zstd", "lzma", "jpeg", "webp")
_CCITT = ("tiff_ccitt", "group3", "group4")


def pillow_tiffs(step: int = 1) -> Iterator[Made]:
    """The modes, compressions and orientations of Pillow, which writes through libtiff."""
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F")
    all_of_them = itertools.product(modes, (*_LIBTIFF, *_CCITT), (1, 2, 3, 4, 5, 6, 7, 8), (False, True))
    for mode, compression, orientation, big in itertools.islice(all_of_them, 0, None, step):
        try:
            data, shows = _pillow_tiff(mode, compression, orientation, big)
        except (OSError, RuntimeError, ValueError, KeyError, SystemError):
            continue  # libtiff does not write this combination
        yield Made(f"{mode} {compression} {orientation=} {big=}", data, shows, 2 if compression in _LOSSY else 1)


def _pillow_tiff(mode: str, compression: str, orientation: int, big: bool) -> tuple[bytes, np.ndarray]:
    image = _image(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=compression, tiffinfo={274: orientation}, big_tiff=big)
    data = buffer.getvalue()
    if mode in ("I", "F", "LAB"):
        return data, np.zeros((1, 1, 3), np.uint8)
    if mode.startswith("I;16"):
        turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
        return data, shown(turned[..., None], 16)
    return data, by_pillow(data)


def _image(mode: str) -> Image.Image:
    if mode.startswith("I;16"):
        return Image.frombytes(
            mode, (WIDTH, HEIGHT), samples(1, 16).astype(">u2" if mode.endswith("B") else "<u2").tobytes()
        )
    if mode in ("RGBA", "LA"):
        return Image.fromarray(samples(len(mode), 8), mode)
    if mode == "LAB":
        return Image.fromarray(samples(3, 8), mode)
    return Image.fromarray(samples(3, 8)).convert(mode)


_TIFFFILE_KINDS = (
    ("minisblack", 1, None, BLACK_IS_ZERO),
    ("miniswhite", 1, None, WHITE_IS_ZERO),
    ("rgb", 3, None, RGB),
    ("rgb", 4, "unassalpha", RGB),
    ("rgb", 4, "assocalpha", RGB),
    ("minisblack", 2, "unassalpha", BLACK_IS_ZERO),
    ("separated", 4, None, CMYK),
)


def tifffiles(step: int = 1) -> Iterator[Made]:
    """The layouts of tifffile, as far as it writes them by itself, or each ``step``-th of them."""
    packings = ((None, False), ("zlib", False), ("zlib", True), ("lzma", False), ("lzma", True))
    forms = [((16, 32), None), (None, 5), (None, HEIGHT)]
    all_of_them = itertools.product(
        _TIFFFILE_KINDS, (8, 16), packings, ("contig", "separate"), forms, "<>", (False, True)
    )
    for (color, channels, extra, number), bits, packing, planar, (tile, rows), order, big in itertools.islice(
        all_of_them, 0, None, step
    ):
        values = samples(channels, bits)
        options: dict[str, Any] = {"photometric": color, "compression": packing[0], "predictor": packing[1]}
        options |= {"tile": tile} if tile else {"rowsperstrip": rows}
        options |= {"extrasamples": [extra]} if extra else {}
        options |= {"planarconfig": planar} if channels > 1 else {}
        written = values[..., 0] if channels == 1 else np.moveaxis(values, -1, 0) if planar == "separate" else values
        buffer = io.BytesIO()
        with tifffile.TiffWriter(buffer, byteorder=order, bigtiff=big) as writer:
            writer.write(np.ascontiguousarray(written), **options)
        shows = _tags_and_picture(number, values, bits)[1]
        name = f"tifffile {channels} {bits} {options} {order} {big=}"
        yield Made(name, buffer.getvalue(), shows, int(bits == 16 or number == CMYK))


_INTERLACE = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_PNG_COLORS = ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (3, 1, (1, 2, 4, 8)), (4, 2, (8, 16)), (6, 4, (8, 16)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    values: np.ndarray, bits: int, color: int, *, interlaced: bool = False, extra: bytes = b"", up: bool = False
) -> bytes:
    """A PNG of H x W x C samples; ``up``: with the filter that takes the difference to the row above."""
    raw = b""
    for top, left, down, across in _INTERLACE if interlaced else ((0, 0, 1, 1),):
        part = values[top::down, left::across]
        if part.size:
            rows = np.stack([_png_row(row.reshape(-1), bits) for row in part])
            if up:
                rows = np.concatenate((rows[:1], rows[1:] - rows[:-1]))
            raw += b"".join(bytes([2 if up else 0]) + row.tobytes() for row in rows)
    height, width = values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def _png_row(row: np.ndarray, bits: int) -> np.ndarray:
    if bits >= 8:
        return np.frombuffer(row.astype(">u2" if bits == 16 else "u1").tobytes(), np.uint8)
    return np.packbits((row[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8))


def pngs() -> Iterator[Made]:
    """All types of color and depths of PNG, with and without interlace, a transparent color, and filters."""
    for color, channels, depths in _PNG_COLORS:
        for bits, interlaced, clear, up in itertools.product(depths, (False, True), (False, True), (False, True)):
            if clear and color in (4, 6):
                continue
            values, extra = samples(channels, bits), b""
            shows = shown(values[..., : 1 if color in (0, 4) else 3], bits)
            if color == 3:
                palette = np.random.default_rng(2).integers(0, 256, (1 << bits, 3)).astype(np.uint8)
                extra, shows = chunk(b"PLTE", palette.tobytes()), palette[values[..., 0]]
            if clear:
                first = struct.pack(f">{channels}H", *map(int, values[0, 0]))
                extra += chunk(b"tRNS", b"\0\x64" if color == 3 else first)
            data = png(values, bits, color, interlaced=interlaced, extra=extra, up=up)
            yield Made(f"png {color=} {bits=} {interlaced=} {clear=} {up=}", data, shows, int(bits == 16))


def others() -> Iterator[Made]:
    """JPEG, WebP, GIF, BMP, PNM, JPEG 2000 and AVIF as Pillow writes them."""
    forms: list[tuple[str, str, dict[str, Any], int]] = []
    for mode, progressive, quality, sampling, restarts in itertools.product(
        ("L", "RGB", "CMYK", "YCbCr"), (False, True), (60, 100), (0, 1, 2), (0, 1)
    ):
        options = {
            "progressive": progressive,
            "quality": quality,
            "subsampling": sampling,
            "restart_marker_blocks": restarts,
        }
        forms.append(("JPEG", mode, options, 2))
    forms += [
        ("WEBP", mode, {"lossless": lossless, "exact": True}, 2)
        for mode in ("RGB", "RGBA")
        for lossless in (False, True)
    ]
    forms += [("GIF", mode, {"interlace": lines}, 0) for mode in ("1", "L", "P") for lines in (0, 1)]
    forms += [("GIF", "P", {"transparency": 3}, 0)]
    forms += [("BMP", mode, {}, 0) for mode in ("1", "L", "P", "RGB", "RGBA")]
    forms += [("PPM", mode, {}, 0) for mode in ("1", "L", "RGB")]
    forms += [
        ("JPEG2000", mode, {"irreversible": lossy, "no_jp2": stream, "num_resolutions": 3}, 2)
        for mode in ("L", "LA", "RGB", "RGBA", "YCbCr", "I;16")
        for lossy in (False, True)
        for stream in (False, True)
    ]
    forms += [
        ("AVIF", mode, {"quality": quality, "subsampling": sampling, "range": reach}, 3)
        for mode in ("L", "RGB", "RGBA")
        for quality in (60, 100)
        for sampling in ("4:2:0", "4:4:4")
        for reach in ("full", "limited")
    ]
    for form, mode, options, tolerance in forms:
        buffer = io.BytesIO()
        _image(mode).save(buffer, form, **options)
        data = buffer.getvalue()
        is_wide = mode == "I;16"
        shows = shown(np.asarray(Image.open(io.BytesIO(data)))[..., None], 16) if is_wide else by_pillow(data)
        yield Made(f"{form} {mode} {options}", data, shows, tolerance)


def turned() -> Iterator[Made]:
    """The orientations of a camera in each format that has them."""
    for form, mode, orientation in itertools.product(("JPEG", "PNG", "AVIF"), ("L", "RGB"), range(1, 9)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        _image(mode).save(buffer, form, exif=exif, **({"subsampling": "4:4:4", "quality": 95} if form != "PNG" else {}))
        yield Made(f"{form} {mode} {orientation=}", buffer.getvalue(), by_pillow(buffer.getvalue()), 3)
    for channels, bits, planar, orientation in itertools.product((1, 3), (4, 8, 12, 16), (False, True), range(1, 9)):
        if (bits == 4 and channels == 3) or (planar and channels == 1):
            continue
        values = samples(channels, bits)
        page = Page(values, RGB if channels == 3 else BLACK_IS_ZERO, bits, planar, tags={274: [orientation]})
        yield Made(
            f"{channels=} {bits=} {planar=} {orientation=}", tiff(page), _turned(shown(values, bits), orientation), 1
        )


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    ways = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Pillow's transpositions
    way = ways[orientation]
    return pixels if way is None else np.asarray(Image.fromarray(pixels).transpose(Image.Transpose(way)))


FAMILIES = {
    "tiff": tiffs,
    "tiff of other numbers": other_tiffs,
    "tiff by Pillow": pillow_tiffs,
    "tiff by tifffile": tifffiles,
    "png": pngs,
    "other formats": others,
    "orientations": turned,
}
