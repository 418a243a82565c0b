"""Difficult files that are found on the disks of surveys, each with the result that decoding must give.

Invariant: every file follows from this code alone. `FILES` is what `pelagia classify` and the decoder's fuzzer are
given: the bytes under a name, the reason of failure that is expected (none: the image is fine), and what was drawn.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np

from hostile_jpeg import jpegs
from hostile_kit import (
    TOO_LARGE,
    UNDECODABLE,
    UNSUPPORTED,
    Hostile,
    Pixels,
    by_pillow,
    frames,
    grey,
    picture,
    seen_by_pillow,
)
from hostile_png import pngs

# TIFF


def tiff(
    tags: Mapping[int, Sequence[int]], pixels: bytes, *, order: str = "<", big: bool = False, following: int = 0
) -> bytes:
    """A TIFF by hand: header, ``pixels`` at byte 16, then one IFD, all values LONG; an IFD of 0 and -1 loops."""
    word, count, size, room = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    at = 16 + len(pixels) + len(pixels) % 2
    start = (b"II" if order == "<" else b"MM") + (
        struct.pack(f"{order}HHHQ", 43, 8, 0, at) if big else struct.pack(f"{order}HI", 42, at)
    )
    entries, outside = b"", b""
    behind = at + struct.calcsize(f"={count}") + size * len(tags) + room
    for tag, values in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        if len(content) > room:
            outside, content = outside + content, struct.pack(f"{order}{word}", behind + len(outside))
        entries += struct.pack(f"{order}HH{word}", tag, 4, len(values)) + content.ljust(room, b"\0")
    ifd = struct.pack(f"{order}{count}", len(tags)) + entries
    ifd += struct.pack(f"{order}{word}", at if following < 0 else following)
    return start.ljust(16, b"\0") + pixels.ljust(at - 16, b"\0") + ifd + outside


def rgb_tags(width: int = 40, height: int = 30, offset: int = 16, count: int = 3600) -> dict[int, Sequence[int]]:
    shape = {256: (width,), 257: (height,), 258: (8, 8, 8), 259: (1,), 262: (2,), 277: (3,), 278: (height,)}
    return {**shape, 273: (offset,), 279: (count,)}


def tiled_tiff() -> bytes:
    """Four tiles of 64 x 64, larger together than the image of 100 x 70."""
    padded = np.zeros((128, 128, 3), np.uint8)
    padded[:70, :100] = picture(0, 70, 100)
    tiles = [padded[y : y + 64, x : x + 64].tobytes() for y in (0, 64) for x in (0, 64)]
    tags = {tag: values for tag, values in rgb_tags(100, 70).items() if tag not in (273, 278, 279)}
    places = tuple(16 + 12288 * index for index in range(4))
    return tiff({**tags, 322: (64,), 323: (64,), 324: places, 325: (12288,) * 4}, b"".join(tiles))


def tiffs() -> Iterator[tuple[str, Hostile]]:
    plain, raw = by_pillow("TIFF"), picture().tobytes()
    same = {"drawn": picture()}
    for part in (3, 8, 100, len(plain) // 2):
        yield f"cut_at_{part}.tif", Hostile(plain[:part], UNDECODABLE)
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"{packing}.tif", Hostile(by_pillow("TIFF", compression=packing), **same)
    yield "jpeg_inside.tif", Hostile(by_pillow("TIFF", compression="jpeg"), drawn=picture(), tolerance=8.0)
    yield "big_endian.tif", Hostile(tiff(rgb_tags(), raw, order=">"), **same)
    yield "big_tiff.tif", Hostile(tiff(rgb_tags(), raw, big=True), **same)
    yield "big_tiff_big_endian.tif", Hostile(tiff(rgb_tags(), raw, big=True, order=">"), **same)
    yield "tiles.tif", Hostile(tiled_tiff(), drawn=picture(0, 70, 100))
    yield "pages.tif", Hostile(frames("TIFF"), **same)
    yield "ifd_loop.tif", Hostile(tiff(rgb_tags(), raw, following=-1), **same)
    yield "strip_beyond.tif", Hostile(tiff(rgb_tags(offset=1 << 31), raw), UNDECODABLE)
    yield "strip_count_too_small.tif", Hostile(tiff(rgb_tags(count=90), raw), **same)
    without = {tag: values for tag, values in rgb_tags().items() if tag not in (273, 279)}
    yield "no_strips.tif", Hostile(tiff(without, raw), UNDECODABLE)
    yield "no_width.tif", Hostile(tiff(rgb_tags(width=0), raw), UNDECODABLE)
    yield "claims_4e9.tif", Hostile(tiff(rgb_tags(2**32 - 1, 2**32 - 1), raw), TOO_LARGE)
    yield "claims_100000.tif", Hostile(tiff(rgb_tags(100_000, 100_000), raw), TOO_LARGE)
    yield (
        "claims_big_tiles.tif",
        Hostile(tiff({**without, 322: (2**31 - 16,), 323: (2**31 - 16,), 324: (16,), 325: (3600,)}, raw), UNDECODABLE),
    )
    yield "ifd_beyond.tif", Hostile(b"II*\0" + struct.pack("<I", 0xFFFFFFF0) + raw, UNDECODABLE)
    sixteen = (np.arange(1200, dtype=np.uint16) * 54).reshape(30, 40)
    rounded = np.repeat(np.round(sixteen / 257).astype(np.uint8)[..., None], 3, axis=2)
    yield "grey_16.tif", Hostile(cv2.imencode(".tif", sixteen)[1].tobytes(), drawn=rounded)
    deep = picture().astype(np.uint16) * 257
    yield "rgb_16.tif", Hostile(cv2.imencode(".tif", deep[..., ::-1])[1].tobytes(), **same)
    for kind in (np.float32, np.float64, np.int32):
        data = cv2.imencode(".tif", np.ones((5, 5), kind))[1].tobytes()
        yield f"{kind.__name__}.tif", Hostile(data, UNSUPPORTED)
    for mode in ("P", "1", "CMYK", "RGBA"):
        data = by_pillow("TIFF", mode)
        yield f"mode_{mode}.tif", Hostile(data, drawn=seen_by_pillow(data), tolerance=1.0)


# BMP, WebP, GIF


def bmp(width: int, height: int, bits: int, pixels: bytes, packing: int = 0, palette: bytes = b"") -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(pixels), 0, 0, len(palette) // 4, 0)
    start = 54 + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + palette + pixels


def run_length_bmp() -> tuple[bytes, Pixels]:
    """Four rows of one color each, compressed as runs (RLE8), from the bottom up."""
    palette = bytes(value for index in range(256) for value in (index, 255 - index, 7, 0))
    packed = b"".join(bytes((40, 50 * row, 0, 0)) for row in range(4)) + b"\0\1"
    drawn = np.array([[(7, 255 - 50 * row, 50 * row)] * 40 for row in (3, 2, 1, 0)], np.uint8)
    return bmp(40, 4, 8, packed, 1, palette), drawn


def others() -> Iterator[tuple[str, Hostile]]:
    bgr = picture()[..., ::-1].tobytes()  # 40 pixels of 3 bytes need no padding
    plain = by_pillow("BMP")
    for part in (1, 20, 54, len(plain) // 2):
        yield f"cut_at_{part}.bmp", Hostile(plain[:part], UNDECODABLE)
    yield "top_down.bmp", Hostile(bmp(40, -30, 24, bgr), drawn=picture())
    packed, drawn = run_length_bmp()
    yield "runs.bmp", Hostile(packed, drawn=drawn)
    yield "runs_too_long.bmp", Hostile(bmp(40, 4, 8, b"\xff\1" * 4000, 1, bytes(1024)), UNDECODABLE)
    yield "claims_2_31.bmp", Hostile(bmp(2**31 - 1, 2**31 - 1, 24, bgr), TOO_LARGE)
    yield "claims_minus_2_31.bmp", Hostile(bmp(40, -(2**31), 24, bgr), UNDECODABLE)
    yield "claims_30000.bmp", Hostile(bmp(30000, 30000, 24, bgr), TOO_LARGE)
    yield "minus_width.bmp", Hostile(bmp(-40, 30, 24, bgr), UNDECODABLE)
    for mode in ("P", "1", "L"):
        data = by_pillow("BMP", mode)
        yield f"mode_{mode}.bmp", Hostile(data, drawn=seen_by_pillow(data))
    four = bmp(40, 30, 32, picture(1)[..., :1].repeat(4, axis=2).tobytes())
    yield "with_alpha.bmp", Hostile(four, drawn=grey(picture(1))[::-1])
    lossless = by_pillow("WEBP", lossless=True)
    for part in (4, 12, 30, len(lossless) // 2):
        yield f"cut_at_{part}.webp", Hostile(lossless[:part], UNDECODABLE)
    yield "lossless.webp", Hostile(lossless, drawn=picture())
    yield "lossy.webp", Hostile(by_pillow("WEBP"), drawn=picture(), tolerance=10.0)
    yield "animated.webp", Hostile(frames("WEBP", lossless=True), drawn=picture())
    most = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", 0x0FFFFFFF) + b"\0"
    yield "claims_16384.webp", Hostile(b"RIFF" + struct.pack("<I", 18) + b"WEBP" + most, UNDECODABLE)
    wide = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    yield "claims_2_24.webp", Hostile(b"RIFF" + struct.pack("<I", 22) + b"WEBP" + wide, UNDECODABLE)
    yield "animated_gif.png", Hostile(frames("GIF"), drawn=picture(), tolerance=12.0)


# What is no image, and what is called wrongly


def impostors() -> Iterator[tuple[str, Hostile]]:
    yield "empty.png", Hostile(b"", "empty")
    yield "one_byte.jpg", Hostile(b"\xff", UNDECODABLE)
    for name, data in (
        ("text.jpg", b"these are words\n" * 40),
        ("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
        ("program.png", b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0" + bytes(300)),
        ("zeros.tif", bytes(5000)),
        ("zip.bmp", b"PK\3\4" + bytes(100)),
        ("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    ):
        yield name, Hostile(data, UNDECODABLE)
    for name, data in (
        ("paper.jpg", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n"),
        (
            "video.jpg",
            struct.pack(">I", 24) + b"ftypisom\0\0\2\0isommp41" + struct.pack(">I", 4000) + b"mdat" + bytes(3992),
        ),
    ):
        yield name, Hostile(data, UNSUPPORTED)
    made = {"jpg": by_pillow("JPEG"), "png": by_pillow("PNG"), "tif": by_pillow("TIFF"), "bmp": by_pillow("BMP")}
    made["webp"] = by_pillow("WEBP", lossless=True)
    for form, wrong in zip(made, [*list(made)[1:], "jpg"], strict=True):
        tolerance = 8.0 if form == "jpg" else 0.0
        yield f"really_{form}.{wrong}", Hostile(made[form], drawn=picture(), tolerance=tolerance)


def files() -> dict[str, Hostile]:
    """Every file by its name."""
    made: dict[str, Hostile] = {}
    for group in (jpegs, pngs, tiffs, others, impostors):
        for name, one in group():
            assert name not in made, name
            made[name] = one
    return made


NAMES: tuple[bytes, ...] = (
    b"not \xff\xfe utf-8.png",
    b"a\nnewline.png",
    b"a\rreturn.png",
    b"a\ttab.png",
    b'a,comma and a "quote".png',
    b"it's; rm -rf $HOME `x` | y.png",
    b"=1+1.png",
    b"-rf.png",
    b"@at.png",
    b"%s %d {0}.png",
    b"[red]markup[bold].png",
    b"back\\slash.png",
    b"#1?x=y&z.png",
    b" leading and trailing .png",
    "\N{TROPICAL FISH}\N{OCTOPUS}.png".encode(),
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe.png".encode(),
    "\u0633\u0645\u0643\u0629.png".encode(),
    "e\N{COMBINING ACUTE ACCENT}.png".encode(),
    "\N{LATIN SMALL LETTER E WITH ACUTE}.png".encode(),
    b"con.png",
    b"AUX.jpg",
    b"NUL.tif",
    b"UPPER.PNG",
    b"two.ends.jpg.png",
    b"\x1b[31mred\x07.png",
    b"n" * 251 + b".png",
)
"""Names that are possible on a POSIX disk, in bytes."""
