"""PNGs that are difficult for decoders."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hostile_jpeg import SELF_REFERRING, exif_block
from hostile_kit import TOO_LARGE, UNDECODABLE, Hostile, by_pillow, exif, frames, picture, seen_by_pillow

PNG_START = b"\x89PNG\r\n\x1a\n"


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
    """An interlaced PNG with the seven passes of Adam7."""
    image, passes = (
        picture(),
        ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
    )
    parts = b"".join(rows(image[top::down, left::right]) for top, left, down, right in passes)
    return png(header(40, 30, 8, 2, 1), chunk(b"IDAT", zlib.compress(parts)))


def animation(filter_byte: int = 0, hidden: bool = False) -> bytes:
    """Three frames, one with a filter that does not exist: OpenCV 4.12 crashes if it sees the animation."""

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
    yield "exif_self.png", Hostile(with_chunk(b"eXIf", exif_block(SELF_REFERRING * 9, 9, 8)[6:]), **same)
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
