"""PNG (W3C, Portable Network Graphics, third edition): the checks that OpenCV does not make."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pelagia.images.error import ImageError, require_few_pixels
from pelagia.images.remarks import JOINED, PAGES, low_values

START = b"\x89PNG\r\n\x1a\n"
_NEEDED = (b"tRNS", b"eXIf")  # critical chunks, whose names begin with a capital letter, are needed too
_NOTED = (b"sBIT", b"acTL")


class Checked(NamedTuple):
    """A PNG that is whole.

    Attributes:
        data: the PNG without the chunks that its pixels do not need.
        bits: the significant bits of a sample, if the PNG has 16 bits and says so; else 0.
        frames: the number of frames of an animation; 0 if it is none.
    """

    data: bytes
    bits: int
    frames: int


def checked(data: bytes) -> Checked:
    """A PNG without the chunks that its pixels do not need: profiles and texts of any size, and further frames.

    OpenCV refuses a damaged PNG too, but then libpng writes to the terminal; and an animation whose first frame is
    damaged crashes OpenCV 4.12 (github.com/opencv/opencv/issues/27744).

    Raises:
        ImageError: it is damaged, truncated, or too large.
    """
    view, at, kept, noted = memoryview(data), len(START), [memoryview(START)], {}
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(data):
            break
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise ImageError("undecodable", f"a damaged PNG: the checksum at byte {end - 4} is wrong")
        if critical or kind in _NEEDED:
            kept.append(view[at:end])
        elif kind in _NOTED:
            noted[kind] = data[at + 8 : end - 4]
        if kind == b"IEND":
            require_few_pixels(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
            bits = max(noted.get(b"sBIT", b"\0"), default=0) if data[24] == 16 else 0
            return Checked(b"".join(kept), bits, int.from_bytes(noted.get(b"acTL", b"")[:4]))
        at = end
    raise ImageError("undecodable", "a truncated PNG: its end is missing")


def white_and_remark(found: Checked, pixels: NDArray[Any]) -> tuple[int, str]:
    """The value of white in pixels of 16 bits, and the remark on the image.

    A PNG with fewer significant bits should scale its samples to all 16 bits (section 12.4). Programs of cameras write
    the samples unscaled. They are unscaled if all of them fit into the significant bits.
    """
    remarks = [PAGES] if found.frames > 1 else []
    white = 65535
    if pixels.dtype == np.uint16:
        most, bits = int(pixels.max()), found.bits
        if 8 <= bits < 16 and most < 1 << bits:
            white = (1 << bits) - 1
        elif low := low_values(most):
            remarks.append(low)
    return white, JOINED.join(remarks)
