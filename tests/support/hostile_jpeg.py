"""JPEGs that are difficult for decoders."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from hostile_kit import TOO_LARGE, UNDECODABLE, UNSUPPORTED, Hostile, by_pillow, exif, picture, seen_by_pillow


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segment(marker: int, content: bytes, data: bytes | None = None) -> bytes:
    data = by_pillow("JPEG") if data is None else data
    return data[:2] + segment(marker, content) + data[2:]


def frame_changed(kind: int | None = None, bits: int = 8, sides: tuple[int, int] | None = None) -> bytes:
    """A baseline JPEG whose frame header declares another kind."""
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
    """One block of middle gray; its three bytes of arithmetic code were found by trying."""
    tables = segment(0xDB, bytes([0, *[16] * 64]))
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return b"\xff\xd8" + tables + grey_frame(0xC9, 8) + scan + b"\x42\xf7\x82\xff\xd9"


def lossless_jpeg() -> bytes:
    """Middle gray: every sample is predicted correctly, which takes one bit."""
    codes = segment(0xC4, b"\x00" + bytes([1, *[0] * 15]) + b"\x00")
    scan = segment(0xDA, b"\x01\x01\x00\x01\x00\x00")
    return b"\xff\xd8" + grey_frame(0xC3, 16) + codes + scan + bytes(32) + b"\xff\xd9"


def ycck_jpeg() -> bytes:
    data = bytearray(by_pillow("JPEG", "CMYK"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def progressive_jpeg(side: int, scans: int) -> bytes:
    """A gray square with many refinement scans: each takes a pass over all blocks for twelve bytes."""
    tables = segment(0xDB, bytes([0, *[16] * 64])) + segment(0xC4, b"\0" + bytes([1, *[0] * 15]) + b"\0")
    runs = segment(0xC4, b"\x10" + bytes([0, 1, *[0] * 14]) + b"\xe0")
    first = segment(0xDA, b"\x01\x01\0\0\0\0") + bytes(2)
    more = segment(0xDA, b"\x01\x01\0\1\x3f\0") + bytes(2)
    return b"\xff\xd8" + tables + grey_frame(0xC2, side) + runs + first + more * (scans - 1) + b"\xff\xd9"


def exif_block(entries: bytes, count: int, following: int = 0) -> bytes:
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, count) + entries + struct.pack("<I", following)


_ORIENTATION = struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0)
SELF_REFERRING = struct.pack("<HHII", 0x8769, 4, 1, 8)  # the Exif IFD lies where this IFD lies
_FAR = struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 0xFFFFFFF0)


def jpegs() -> Iterator[tuple[str, Hostile]]:
    plain = by_pillow("JPEG")
    near = {"drawn": picture(), "tolerance": 8.0}
    for part in (1, 2, 20, len(plain) // 2, len(plain) - 3):
        yield f"cut_at_{part}.jpg", Hostile(plain[:part], UNDECODABLE)
    yield "without_its_end_mark.jpg", Hostile(plain[:-2], **near)
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
        ("self", exif_block(SELF_REFERRING + _ORIENTATION, 2, 8)),
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
    """A JPEG with all markers and damaged data: libjpeg prints a warning and returns pixels."""
    start = data.index(b"\xff\xda") + 14
    damaged = bytes(byte ^ 0x11 for byte in data[start : start + 60] if byte not in (0xFF, 0xEE))
    return data[:start] + damaged + data[start + 60 :]
