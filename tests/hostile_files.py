"""Files that survey disks hold and that decoders stumble over, each with what must become of it.

Invariant: every file follows from this code alone. `FILES` is what `pelagia classify` and the decoder's fuzzer are
given: the bytes under a name, the reason of failure that is expected (none: the image is fine), and what was drawn.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
PNG_START = b"\x89PNG\r\n\x1a\n"
UNDECODABLE, TOO_LARGE, UNSUPPORTED = "undecodable", "too_large", "unsupported"


@dataclass(frozen=True)
class Hostile:
    """A file.

    Attributes:
        reason: of failure, or empty.
        drawn: uint8, H x W x 3, RGB: what a decoder must see; None where only success is asked for.
        tolerance: largest mean difference from ``drawn``; lossy formats need one.
    """

    data: bytes
    reason: str = ""
    drawn: Pixels | None = None
    tolerance: float = 0.0


@cache
def picture(seed: int = 0, height: int = 30, width: int = 40) -> Pixels:
    """A smooth coloured image, uint8, H x W x 3, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def grey(image: Pixels | None = None) -> Pixels:
    """The first channel three times."""
    return np.repeat((picture() if image is None else image)[..., :1], 3, axis=2)


def by_pillow(form: str, mode: str = "RGB", image: Pixels | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture() if image is None else image).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def seen_by_pillow(data: bytes) -> Pixels:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def frames(form: str, **options: Any) -> bytes:
    more = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    return by_pillow(form, save_all=True, append_images=more, **options)


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


# JPEG


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segment(marker: int, content: bytes, data: bytes | None = None) -> bytes:
    data = by_pillow("JPEG") if data is None else data
    return data[:2] + segment(marker, content) + data[2:]


def frame_changed(kind: int | None = None, bits: int = 8, sides: tuple[int, int] | None = None) -> bytes:
    """A baseline JPEG whose frame header claims something else."""
    data = bytearray(by_pillow("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1] = kind or 0xC0
    data[at + 4] = bits
    if sides:
        data[at + 5 : at + 9] = struct.pack(">HH", *sides)
    return bytes(data)


def grey_frame(kind: int, side: int) -> bytes:
    return segment(kind, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")


def arithmetic_jpeg() -> bytes:
    """One block of mid-grey; its three bytes of arithmetic code were found by trying."""
    tables = segment(0xDB, bytes([0, *[16] * 64]))
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return b"\xff\xd8" + tables + grey_frame(0xC9, 8) + scan + b"\x42\xf7\x82\xff\xd9"


def lossless_jpeg() -> bytes:
    """Mid-grey: every sample is predicted rightly, and one bit says so."""
    codes = segment(0xC4, b"\x00" + bytes([1, *[0] * 15]) + b"\x00")
    scan = segment(0xDA, b"\x01\x01\x00\x01\x00\x00")
    return b"\xff\xd8" + grey_frame(0xC3, 16) + codes + scan + bytes(32) + b"\xff\xd9"


def ycck_jpeg() -> bytes:
    data = bytearray(by_pillow("JPEG", "CMYK"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def progressive_jpeg(side: int, scans: int) -> bytes:
    """A grey square in which nothing happens, refined again and again: a pass over all blocks for twelve bytes."""
    tables = segment(0xDB, bytes([0, *[16] * 64])) + segment(0xC4, b"\0" + bytes([1, *[0] * 15]) + b"\0")
    runs = segment(0xC4, b"\x10" + bytes([0, 1, *[0] * 14]) + b"\xe0")
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + bytes(2)
    more = segment(0xDA, b"\x01\x01\0\1\x3f\0") + bytes(2)
    return b"\xff\xd8" + tables + grey_frame(0xC2, side) + runs + first + more * (scans - 1) + b"\xff\xd9"


def exif_block(entries: bytes, count: int, following: int = 0) -> bytes:
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + struct.pack("<I", following)


_ORIENTATION = struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0)
_SELF = struct.pack("<HHII", 0x8769, 4, 1, 8)  # the Exif IFD lies where this IFD lies
_FAR = struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 0xFFFFFFF0)


def jpegs() -> Iterator[tuple[str, Hostile]]:
    plain = by_pillow("JPEG")
    near = {"drawn": picture(), "tolerance": 8.0}
    for part in (1, 2, 20, len(plain) // 2, len(plain) - 1):
        yield f"cut_at_{part}.jpg", Hostile(plain[:part], UNDECODABLE)
    yield "zeros_at_its_end.jpg", Hostile(plain[: len(plain) // 2] + bytes(len(plain) // 2), UNDECODABLE)
    yield "grey.jpg", Hostile(by_pillow("JPEG", "L"), tolerance=1.0, drawn=seen_by_pillow(by_pillow("JPEG", "L")))
    for name, data in (("cmyk", by_pillow("JPEG", "CMYK")), ("ycck", ycck_jpeg())):
        yield f"{name}.jpg", Hostile(data, drawn=seen_by_pillow(data), tolerance=1.0)
    yield "progressive.jpg", Hostile(by_pillow("JPEG", progressive=True), **near)
    yield "arithmetic.jpg", Hostile(arithmetic_jpeg(), drawn=np.full((8, 8, 3), 128, np.uint8))
    yield "ten_scans.jpg", Hostile(progressive_jpeg(64, 10), drawn=np.full((64, 64, 3), 128, np.uint8))
    yield "a_thousand_scans.jpg", Hostile(progressive_jpeg(16000, 1000), UNSUPPORTED)
    yield "lossless.jpg", Hostile(lossless_jpeg(), UNSUPPORTED)
    yield "twelve_bits.jpg", Hostile(frame_changed(0xC1, 12), UNSUPPORTED)
    yield "hierarchical.jpg", Hostile(frame_changed(0xC5), UNSUPPORTED)
    yield "largest_claim.jpg", Hostile(frame_changed(sides=(65500, 65500)), TOO_LARGE)
    yield "progressive_claim.jpg", Hostile(frame_changed(0xC2, sides=(65500, 65500)), TOO_LARGE)
    yield "no_height.jpg", Hostile(frame_changed(sides=(0, 40)), UNDECODABLE)
    yield "no_frame.jpg", Hostile(b"\xff\xd8" + segment(0xFE, b"words") + b"\xff\xd9", UNDECODABLE)
    for orientation in range(1, 9):
        data = by_pillow("JPEG", exif=exif(orientation))
        yield f"turned_{orientation}.jpg", Hostile(data, drawn=seen_by_pillow(data), tolerance=1.0)
    for name, block in (
        ("cut", exif_block(_ORIENTATION, 1)[:12]),
        ("noise", b"Exif\0\0" + b"\xa5" * 100),
        ("self", exif_block(_SELF + _ORIENTATION, 2, 8)),
        ("far", exif_block(_FAR, 1, 0xFFFFFFF0)),
        ("many", exif_block(_ORIENTATION * 4, 0xFFFF)),
    ):
        yield f"exif_{name}.jpg", Hostile(with_segment(0xE1, block), **near)
    yield "largest_segment.jpg", Hostile(with_segment(0xE5, b"\xff\xd9\xff\xd8" * 16383), **near)
    many = plain[:2] + segment(0xED, bytes(65533)) * 100 + plain[2:]
    yield "many_segments.jpg", Hostile(many, **near)
    yield "junk_behind.jpg", Hostile(plain + b"\xff\xda\xff\xc0\0\x11\x0c junk" * 50, **near)
    yield "a_second_behind.jpg", Hostile(plain + by_pillow("JPEG", image=picture(1)), **near)
    yield "bits_changed.jpg", Hostile(with_bits_changed(plain))


def with_bits_changed(data: bytes) -> bytes:
    """Whole by its markers, damaged within: libjpeg warns, and gives pixels."""
    start = data.index(b"\xff\xda") + 14
    damaged = bytes(byte ^ 0x11 for byte in data[start : start + 60] if byte not in (0xFF, 0xEE))
    return data[:start] + damaged + data[start + 60 :]


# PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, bits: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced))


END = chunk(b"IEND", b"")


def png(*chunks: bytes) -> bytes:
    return PNG_START + b"".join(chunks) + END


def with_chunk(kind: bytes, content: bytes) -> bytes:
    data = by_pillow("PNG")
    return data[:33] + chunk(kind, content) + data[33:]


def rows(image: NDArray[Any], filter_byte: int = 0) -> bytes:
    return b"".join(bytes([filter_byte]) + row.tobytes() for row in image)


@cache
def zeros(count: int) -> bytes:
    """Zeros, deflated a megabyte at a time."""
    packer = zlib.compressobj(9)
    return (
        b"".join(packer.compress(bytes(min(1 << 20, count - at))) for at in range(0, count, 1 << 20)) + packer.flush()
    )


def interlaced_png() -> bytes:
    """The seven passes of Adam7 by hand."""
    image, passes = (
        picture(),
        ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
    )
    parts = b"".join(rows(image[top::down, left::right]) for top, left, down, right in passes)
    return png(header(40, 30, 8, 2, 1), chunk(b"IDAT", zlib.compress(parts)))


def animation(filter_byte: int = 0, hidden: bool = False) -> bytes:
    """Three frames; a filter that does not exist makes OpenCV 4.12 crash, unless it never learns of the animation."""

    def control(number: int) -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 40, 30, 0, 0, 1, 10, 0, 0))

    first = chunk(b"IDAT", zlib.compress(rows(picture(), filter_byte)))
    more = b"".join(
        control(2 * seed)
        + chunk(b"fdAT", struct.pack(">I", 2 * seed + 1) + zlib.compress(rows(picture(seed), filter_byte)))
        for seed in (1, 2)
    )
    start = chunk(b"acTL", struct.pack(">II", 2 if hidden else 3, 0))
    return png(header(40, 30, 8, 2), start, b"" if hidden else control(0), first, more)


def pngs() -> Iterator[tuple[str, Hostile]]:
    plain, body = by_pillow("PNG"), chunk(b"IDAT", zlib.compress(rows(picture())))
    same = {"drawn": picture()}
    for part in (4, 8, 20, 33, len(plain) // 2, len(plain) - 6):
        yield f"cut_at_{part}.png", Hostile(plain[:part], UNDECODABLE)
    yield "claims_65535.png", Hostile(png(header(65535, 65535), chunk(b"IDAT", zeros(65536))), TOO_LARGE)
    yield "bomb_20000.png", Hostile(png(header(20000, 20000, 1), chunk(b"IDAT", zeros(20000 * 2501))), TOO_LARGE)
    yield "claims_2_31.png", Hostile(png(header(2**31 - 1, 2**31 - 1), chunk(b"IDAT", zeros(65536))), TOO_LARGE)
    yield "no_width.png", Hostile(png(header(0, 30), body), UNDECODABLE)
    packed = b"name\0\0" + zeros(1 << 27)
    yield "profile_bomb.png", Hostile(with_chunk(b"iCCP", packed), **same)
    yield "text_bomb.png", Hostile(with_chunk(b"zTXt", packed), **same)
    yield "bad_profile.png", Hostile(with_chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no profile")), **same)
    yield (
        "more_than_its_rows.png",
        Hostile(png(header(40, 30, 8, 2), chunk(b"IDAT", zlib.compress(rows(picture()) * 9))), **same),
    )
    line = np.arange(65535, dtype=np.uint32).astype(np.uint8)[None, :, None].repeat(3, axis=2)
    yield "one_row.png", Hostile(by_pillow("PNG", image=line), drawn=line)
    yield "one_column.png", Hostile(by_pillow("PNG", image=line.swapaxes(0, 1)), drawn=line.swapaxes(0, 1))
    yield "one_pixel.png", Hostile(by_pillow("PNG", image=picture()[:1, :1]), drawn=picture()[:1, :1])
    sixteen = (np.arange(1200, dtype=np.uint16) * 54).reshape(30, 40)
    rounded = np.repeat(np.round(sixteen / 257).astype(np.uint8)[..., None], 3, axis=2)
    yield "grey_16.png", Hostile(cv2.imencode(".png", sixteen)[1].tobytes(), drawn=rounded)
    deep = picture().astype(np.uint16) * 257
    yield "rgb_16.png", Hostile(cv2.imencode(".png", deep[..., ::-1])[1].tobytes(), **same)
    yield "interlaced.png", Hostile(interlaced_png(), **same)
    yield "animated.png", Hostile(frames("PNG"), **same)
    yield "animated_behind_a_picture.png", Hostile(animation(hidden=True), **same)
    yield "animated_bad_filter.png", Hostile(animation(filter_byte=9), UNDECODABLE)
    yield (
        "bad_filter.png",
        Hostile(png(header(40, 30, 8, 2), chunk(b"IDAT", zlib.compress(rows(picture(), 9)))), UNDECODABLE),
    )
    for mode in ("P", "1", "LA", "RGBA"):
        data = by_pillow("PNG", mode)
        yield f"mode_{mode}.png", Hostile(data, drawn=seen_by_pillow(data))
    see_through = by_pillow("PNG", "P", transparency=3)
    yield "palette_see_through.png", Hostile(see_through, drawn=seen_by_pillow(see_through))
    for orientation in (3, 6):
        data = by_pillow("PNG", exif=exif(orientation))
        yield f"turned_{orientation}.png", Hostile(data, drawn=seen_by_pillow(data))
    yield "exif_self.png", Hostile(with_chunk(b"eXIf", exif_block(_SELF * 9, 9, 8)[6:]), **same)
    at = plain.index(b"IDAT") + 20
    yield "wrong_checksum.png", Hostile(plain[:at] + b"\0\0" + plain[at + 2 :], UNDECODABLE)
    yield "no_pixels.png", Hostile(png(header(40, 30, 8, 2)), UNDECODABLE)
    yield (
        "pixels_too_few.png",
        Hostile(png(header(40, 30, 8, 2), chunk(b"IDAT", zlib.compress(rows(picture()[:9])))), UNDECODABLE),
    )
    yield "no_deflate.png", Hostile(png(header(40, 30, 8, 2), chunk(b"IDAT", b"these are words")), UNDECODABLE)
    yield "two_headers.png", Hostile(png(header(40, 30, 8, 2), header(4000, 3000, 8, 2), body), UNDECODABLE)
    yield (
        "no_palette.png",
        Hostile(png(header(40, 30, 8, 3), chunk(b"IDAT", zlib.compress(rows(picture()[..., 0])))), UNDECODABLE),
    )
    yield "unknown_critical.png", Hostile(png(header(40, 30, 8, 2), chunk(b"QQqq", b"x"), body), UNDECODABLE)
    yield "length_2_31.png", Hostile(PNG_START + header(40, 30) + b"\x7f\xff\xff\xffIDAT" + bytes(99), UNDECODABLE)


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
    """Four tiles of 64 x 64 that reach over the edges of 100 x 70."""
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
    yield "claims_4e9.tif", Hostile(tiff(rgb_tags(2**32 - 1, 2**32 - 1), raw), UNDECODABLE)
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
    """Four rows of one colour each, packed as runs (RLE8), from the bottom up."""
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
        ("paper.jpg", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n"),
        ("program.png", b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\x3e\0" + bytes(300)),
        (
            "video.jpg",
            struct.pack(">I", 24) + b"ftypisom\0\0\2\0isommp41" + struct.pack(">I", 4000) + b"mdat" + bytes(3992),
        ),
        ("zeros.tif", bytes(5000)),
        ("zip.bmp", b"PK\3\4" + bytes(100)),
        ("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"),
    ):
        yield name, Hostile(data, UNDECODABLE)
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
"""Names that a POSIX disk takes, in bytes."""
