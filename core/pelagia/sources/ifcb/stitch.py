"""Finds and joins the two overlapping images into which instruments of style I cut one organism, as pyifcb does.

Two consecutive images of one trigger are parts of one image if their rectangles overlap by more than two pixels in each
direction. The joined image is the rectangle around both, with the second drawn over the first; the other pixels get the
mean of the pixels next to them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb.adc import Roi
from pelagia.sources.image import MAX_BYTES

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
_OVERLAP = 2


def overlap(first: Roi, second: Roi) -> bool:
    """Whether two consecutive images are parts of one image."""
    if first.trigger != second.trigger or first.fault or second.fault:
        return False
    return _meet(first.x, first.width, second.x, second.width) and _meet(first.y, first.height, second.y, second.height)


def _meet(start: int, length: int, other: int, other_length: int) -> bool:
    return start < other + other_length - _OVERLAP and start + length > other + _OVERLAP


def stitch(first: Roi, second: Roi, pixels: tuple[Pixels, Pixels]) -> Pixels:
    """The two images joined.

    Args:
        pixels: the pixels of both images, uint8, height x width, 0..255.

    Returns:
        uint8, height x width, 0..255.

    Raises:
        ImageError: the joined image would be larger than an image may be.
    """
    left, top = min(first.x, second.x), min(first.y, second.y)
    width = max(first.x + first.width, second.x + second.width) - left
    height = max(first.y + first.height, second.y + second.height) - top
    if width * height > MAX_BYTES:
        raise ImageError("too_large", f"{width} x {height} pixels when stitched")
    canvas = np.zeros((height, width), np.uint8)
    missing = np.ones((height, width), np.bool_)
    for roi, part in zip((first, second), pixels, strict=True):
        place = np.s_[roi.y - top : roi.y - top + roi.height, roi.x - left : roi.x - left + roi.width]
        canvas[place], missing[place] = part, False
    if missing.any():
        canvas[missing] = _filling(canvas, missing)
    return canvas


def _filling(canvas: Pixels, missing: Mask) -> int:
    """The mean of the known pixels that are one pixel away from the missing ones, rounded half to even."""
    wide = missing | _shifted_any(missing)
    border = wide & _shifted_any(~wide, outside=True)
    border[:, 0], border[:, -1] = border[:, 1], border[:, -2]
    border[0], border[-1] = border[1], border[-2]
    known = canvas[border & ~missing]
    return round(float(known.mean())) if len(known) else 0


def _shifted_any(mask: Mask, outside: bool = False) -> Mask:
    """The pixels of which one of the four neighbors is set; neighbors outside the image count as ``outside``."""
    padded = np.pad(mask, 1, constant_values=outside)
    found: Mask = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return found
