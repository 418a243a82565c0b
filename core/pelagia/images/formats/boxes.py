"""Files of boxes (ISO/IEC 14496-12): AVIF, JPEG 2000, and the photos and videos that are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pelagia.images.error import ImageError, undecodable
from pelagia.images.formats.opencv import COLOR, Pixels, built_with, eight_bits, imdecode, missing_decoder, rgb
from pelagia.images.remarks import PAGES

_HEIC = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_MOST_BOXES = 1000


class Box(NamedTuple):
    """A box: its kind, and the place of its content in the file."""

    kind: bytes
    start: int
    end: int


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes of a part of a file."""
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind, header = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = end if size == 0 else min(start + size, end)
        if stop < start + header:
            return
        yield Box(kind, start + header, stop)
        start = stop


def decode(data: bytes) -> tuple[Pixels, str]:
    """The pixels of an AVIF, uint8, H x W x 3, RGB, 0..255, turned as it says; and the remark.

    Raises:
        ImageError: it is damaged or not supported; or it is another file of boxes, such as HEIC, which is named.
    """
    length = int.from_bytes(data[:4])
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(length, len(data), 256), 4))}
    if not brands & {b"avif", b"avis"}:
        raise _refused(brands)
    facts = _facts(data)
    pixels = imdecode(data, COLOR)
    if pixels is None:
        raise undecodable() if built_with("AVIF") else missing_decoder("AVIF")
    turned = np.rot90(rgb(eight_bits(pixels, facts.white)), facts.quarter_turns)
    if facts.mirrored is not None:
        turned = turned[:, ::-1] if facts.mirrored else turned[::-1]
    return np.ascontiguousarray(turned), PAGES if b"avis" in brands and data[8:12] == b"avis" else ""


class _Facts(NamedTuple):
    """The value of white; the turns by 90 degrees to the left; and the axis of a mirror image (0: upside down)."""

    white: int
    quarter_turns: int
    mirrored: int | None


def _facts(data: bytes) -> _Facts:
    """What the properties of an AVIF say (AVIF 1.1, HEIF: ISO/IEC 23008-12)."""
    found: dict[bytes, list[bytes]] = {}
    for box in _properties(data):
        found.setdefault(box.kind, []).append(data[box.start : min(box.end, box.start + 32)])
    flags = {config[2] for config in found.get(b"av1C", []) if len(config) > 2}
    depths = {12 if flag & 0x20 else 10 if flag & 0x40 else 8 for flag in flags}
    gray = bool(flags) and all(flag & 0x10 for flag in flags)
    full_range = any(color[:4] == b"nclx" and color[10:11] >= b"\x80" for color in found.get(b"colr", []))
    if len(depths) > 1 or b"clap" in found or (gray and not full_range):
        raise ImageError(
            "unsupported", "an AVIF that is cut, gray of limited range, or of several depths: save it as PNG"
        )
    turns, mirrors = set(found.get(b"irot", [])), set(found.get(b"imir", []))
    if len(turns) > 1 or len(mirrors) > 1:
        raise ImageError("unsupported", "an AVIF whose parts are turned in several ways: save it as PNG")
    depth = max(depths, default=8)
    axes = [mirror[0] & 1 for mirror in mirrors if mirror]
    return _Facts((1 << depth) - 1, next((turn[0] & 3 for turn in turns if turn), 0), axes[0] if axes else None)


def _properties(data: bytes) -> Iterator[Box]:
    for top in boxes(data, 0, len(data)):
        if top.kind == b"meta":
            for inner in boxes(data, top.start + 4, top.end):
                if inner.kind == b"iprp":
                    for group in boxes(data, inner.start, inner.end):
                        if group.kind == b"ipco":
                            yield from boxes(data, group.start, group.end)


def _refused(brands: set[bytes]) -> ImageError:
    if brands & _HEIC:
        what = "a HEIC photo: convert it to JPEG or PNG; a phone can be set to take JPEG (most compatible)"
    elif b"crx " in brands:
        what = "a raw photo of a Canon camera (CR3): convert it to TIFF, PNG or JPEG"
    else:
        what = "a video or another file of type MP4, not an image: save its frames as PNG or JPEG"
    return ImageError("unsupported", what)
