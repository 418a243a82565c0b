"""JPEG (ITU-T T.81): the checks that OpenCV does not make.

Invariant: a JPEG that is decoded is whole. OpenCV would fill the missing part of a truncated one with gray.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import cv2
import numpy as np

from pelagia.images.error import ImageError, require_few_pixels
from pelagia.images.formats.opencv import imdecode, silent_stderr
from pelagia.images.remarks import NO_END

START = b"\xff\xd8"
_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # without stuffed bytes, fill bytes and restart markers
_END, _SCAN, _RESTART_INTERVAL = 0xD9, 0xDA, 0xDD
_MOST_SCANS = 64
"""Largest number of scans in a progressive JPEG. Encoders write about ten. Even a scan of 12 bytes takes much time."""
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_DECODED = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # without lossless and hierarchical frames
_PROGRESSIVE = frozenset({0xC2, 0xCA})
_END_MARK = b"\xff\xd9"
_FILLINGS = tuple(Random(seed).randbytes(4096).replace(b"\xff", b"") for seed in range(3))  # noqa: S311
"""Bytes in place of those that may be missing: where any are missing, two of these give different pixels. They are
enough for a whole unit of blocks, of which some may lie outside the image."""
_RESTARTS = tuple(b"\xff" + bytes([0xD0 + number]) + _FILLINGS[0] for number in range(8))
"""The same after a restart marker: where the part before it is complete, libjpeg skips all bytes up to it."""
_MOST_PIXELS_WITHOUT_END = 1 << 25
"""A larger JPEG without an end mark counts as truncated: to find out, it would be decoded up to 13 times."""
_LAST_BYTES = 8
"""The pixels must depend on the last bytes of a JPEG without an end mark, or those belong to something else."""


def checked(data: bytes) -> tuple[bytes, tuple[int, int], str]:
    """Makes the checks that OpenCV does not make.

    Bytes after the end, such as a phone's video, are ignored. A JPEG without an end mark is accepted if all its pixels
    are there.

    Returns:
        The bytes to decode; height and width in the header, before the EXIF orientation (0, 0 if it has no size); and
        the remark.

    Raises:
        ImageError: it is truncated, too large, or of a kind that OpenCV does not decode.
    """
    at, frame, scans = 2, 0, 0
    while marker := _MARKER.search(data, at):
        start = marker.end()
        kind = data[start - 1]
        if kind == _END:
            break
        if kind in _FRAMES and not frame:
            frame = start
        scans += kind == _SCAN
        at = start + int.from_bytes(data[start : start + 2])
    remark = ""
    if not marker:
        height, width = (int.from_bytes(data[at : at + 2]) for at in (frame + 3, frame + 5))
        if not frame or scans > _MOST_SCANS or height * width > _MOST_PIXELS_WITHOUT_END:
            raise _truncated()
        data, remark = _with_end(data), NO_END
    if scans > _MOST_SCANS:
        raise ImageError("unsupported", f"a JPEG of {scans} scans; {_MOST_SCANS} are supported")
    sides = _sides_of_frame(data[frame - 1 : frame + 7]) if frame else (0, 0)
    require_few_pixels(*sides)  # OpenCV would check the reduced size
    return data, sides, remark


def _sides_of_frame(header: bytes) -> tuple[int, int]:
    """Height and width from a JPEG's frame header, which holds kind, length, bits, height and width."""
    if header[0] not in _DECODED:
        raise ImageError("unsupported", "a lossless or hierarchical JPEG")
    if header[3:4] != b"\x08":
        raise ImageError("unsupported", "a JPEG of other than 8 bits a sample")
    return int.from_bytes(header[4:6]), int.from_bytes(header[6:8])


def _with_end(data: bytes) -> bytes:
    """A JPEG without an end mark, with the mark. Raises ImageError if a part of its pixels is missing.

    All its scans must be there, so no scan may be missing at the end; and the last scan must be complete: then bytes
    that are added do not change the pixels, whatever they are, but a change of its last bytes does.
    """
    data = _without_zeros(data)
    if not _has_all_scans(data) or not _is_complete(data):
        raise _truncated()
    return data + _END_MARK


def _truncated() -> ImageError:
    return ImageError("undecodable", "a truncated JPEG: its end is missing")


def _is_complete(data: bytes) -> bool:
    with silent_stderr():  # libjpeg writes a warning about the bytes that are added
        pixels = imdecode(data + _END_MARK, cv2.IMREAD_COLOR)
        if pixels is None:
            return False
        changed = imdecode(data[:-_LAST_BYTES] + _FILLINGS[0] + _END_MARK, cv2.IMREAD_COLOR)
        if changed is None or np.array_equal(pixels, changed):
            return False
        has_restarts = any(kind == _RESTART_INTERVAL for kind, _ in _segments(data))
        for filling in (*_FILLINGS, *(_RESTARTS if has_restarts else ())):
            filled = imdecode(data + filling + _END_MARK, cv2.IMREAD_COLOR)
            if filled is None or not np.array_equal(pixels, filled):
                return False
        return True


def _without_zeros(data: bytes) -> bytes:
    """``data`` without the zeros or ones with which a disk filled its end, and without half an end mark."""
    stripped = data.rstrip(b"\0\xff")
    return stripped if len(data) - len(stripped) > 2 else data.removesuffix(b"\xff")


def _has_all_scans(data: bytes) -> bool:
    """Whether each component has a scan, and in a progressive JPEG each of its coefficients its last bit."""
    missing: dict[int, set[int]] = {}
    progressive = False
    for kind, body in _segments(data):
        if kind in _FRAMES and len(body) > 5 and not missing:
            progressive = kind in _PROGRESSIVE
            names = body[6 : 6 + 3 * body[5] : 3]
            missing = {name: set(range(64)) for name in names}
        if kind == _SCAN and body and len(body) >= 2 * body[0] + 4:
            first, last, bits = body[2 * body[0] + 1 : 2 * body[0] + 4]
            for name in body[1 : 2 * body[0] : 2]:
                if not progressive:
                    missing.pop(name, None)
                elif bits & 15 == 0 and name in missing:
                    missing[name] -= set(range(first, last + 1))
    return bool(missing or not progressive) and not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The kind of each segment, and its content without its length."""
    at = 2
    while marker := _MARKER.search(data, at):
        start = marker.end()
        at = start + int.from_bytes(data[start : start + 2])
        yield data[start - 1], data[start + 2 : at]
