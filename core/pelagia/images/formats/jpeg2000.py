"""JPEG 2000 (ITU-T T.800): which images OpenCV decodes to the right pixels, and the others refused by name."""

from __future__ import annotations

import struct

from pelagia.images.error import ImageError, require_few_pixels, undecodable
from pelagia.images.formats.boxes import boxes
from pelagia.images.formats.opencv import COLOR, Pixels, eight_bits, imdecode, rgb
from pelagia.images.remarks import low_values

FILE_START = b"\0\0\0\x0cjP  \r\n\x87\n"
STREAM_START = b"\xff\x4f\xff\x51"
_SRGB, _GRAY = 16, 17


def decode(data: bytes) -> tuple[Pixels, str]:
    """The pixels of a JPEG 2000 file or codestream, uint8, H x W x 3, RGB, 0..255; and the remark.

    Raises:
        ImageError: it is damaged, too large, or not supported.
    """
    if data.startswith(STREAM_START):
        channels, bits, sides = _size(data, 0)
        data = _as_file(data, sides) if channels == 1 else data  # OpenCV 4.12 decodes no gray codestream
    else:
        channels, bits, sides = _size(data, _checked_stream(data))
    require_few_pixels(*sides)
    pixels = imdecode(data, COLOR)
    if pixels is None:
        raise undecodable()
    white = (1 << bits) - 1
    remark = low_values(int(pixels.max())) if bits == 16 else ""
    return rgb(eight_bits(pixels, white)), remark


def _checked_stream(data: bytes) -> int:
    """The place of the codestream. Raises ImageError for a palette and for colors that OpenCV does not convert."""
    supported = True
    for top in boxes(data, 0, len(data)):
        if top.kind == b"jp2h":
            for box in boxes(data, top.start, top.end):
                method, space = data[box.start : box.start + 1], int.from_bytes(data[box.start + 3 : box.start + 7])
                if box.kind == b"pclr" or (box.kind == b"colr" and method == b"\1" and space not in (_SRGB, _GRAY)):
                    supported = False
        if top.kind == b"jp2c" and not supported:
            raise ImageError("unsupported", "a JPEG 2000 image that is neither sRGB nor gray: save it as PNG")
        if top.kind == b"jp2c":
            return top.start
    raise undecodable()


def _size(data: bytes, at: int) -> tuple[int, int, tuple[int, int]]:
    """Number of channels, bits of a sample, and height and width, from the codestream at ``at``."""
    header = data[at : at + 42]
    if len(header) < 42 or not header.startswith(STREAM_START):
        raise undecodable()
    right, bottom, left, top = struct.unpack(">4I", header[8:24])
    channels = int.from_bytes(header[40:42])
    if len(data) < at + 42 + 3 * channels:
        raise undecodable()
    samples = {data[at + 42 + 3 * number : at + 45 + 3 * number] for number in range(min(channels, 5))}
    sample = samples.pop()
    bits = sample[0] + 1
    if samples or channels > 4 or not 8 <= bits <= 16 or sample[1:] != b"\1\1":
        raise ImageError(
            "unsupported",
            f"a JPEG 2000 image of {channels} channels that are signed, subsampled, or not of 8 to 16 bits",
        )
    return channels, bits, (max(bottom - top, 0), max(right - left, 0))


def _as_file(stream: bytes, sides: tuple[int, int]) -> bytes:
    """A gray codestream as a file (T.800, annex I)."""
    depth = stream[42]
    header = _box(b"ihdr", struct.pack(">IIHBBBB", *sides, 1, depth, 7, 0, 0)) + _box(b"colr", b"\1\0\0\0\0\0\x11")
    return FILE_START + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + _box(b"jp2h", header) + _box(b"jp2c", stream)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content
