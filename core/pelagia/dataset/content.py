"""The texture of what an image shows, without the plain corners or edges that a program put around it.

A crop that was rotated has black (or white) corners, and a microscope's field is a disc on black. These corners are
the strongest shape in the image, and the same in many images, so two different animals look like copies. Here the
corners are found, and textures are compared only where both images show something.

Invariant: only a black or white ground is left out, which touches a corner, is constant, and leaves a convex content as
wide and as high as the image. The ground of a scanner around an animal does not count: there the outline matters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import Image

Floats = NDArray[np.float32]

SIDE = 24
LEAST_AGREEMENT = 0.95
"""The contents of two near-duplicates correlate at least this well, at the best of the shifts by one cell."""

_LONGEST = 96
_WORKING = 64
_CONSTANT = 8  # a corner that was saved as a JPEG differs by a few levels
_PLAIN_SPREAD = 2.0
_OUTSIDE = -128
_LEAST_CELLS = 40
_SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def content_of(image: Image) -> bytes:
    """The texture of the content, `SIDE` x `SIDE` int8 (-127..127; -128: not content); empty if nothing is left out.

    Args:
        image: uint8, H x W x 3, RGB, 0..255.
    """
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    content = _convex_content(np.asarray(gray, np.uint8))
    return b"" if content is None else _texture(np.asarray(gray, np.uint8), content).tobytes()


def _convex_content(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """1 where the image shows something, 0 in its plain corners (uint8, H x W); None if it has no such corners."""
    ground = _plain_corners(gray)
    inside = (ground == 0).astype(np.uint8)
    if not 0.2 < float(inside.mean()) < 0.97 or float(gray[ground > 0].std()) > _PLAIN_SPREAD:
        return None
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    hull = cv2.convexHull(outline)
    _, _, wide, high = cv2.boundingRect(outline)
    spans = wide >= 0.97 * gray.shape[1] - 1 and high >= 0.97 * gray.shape[0] - 1
    if not spans or cv2.contourArea(outline) < 0.95 * cv2.contourArea(hull):
        return None
    filled: NDArray[np.uint8] = np.zeros(gray.shape, np.uint8)
    cv2.fillConvexPoly(filled, hull, (1,))
    return filled


def _plain_corners(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 in the black or white regions that touch a corner (uint8, H x W)."""
    height, width = gray.shape
    mask = np.zeros((height + 2, width + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (1 << 8)
    for x, y in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        if not mask[y + 1, x + 1] and not _CONSTANT < gray[y, x] < 255 - _CONSTANT:
            cv2.floodFill(gray, mask, (x, y), (0,), (_CONSTANT,), (_CONSTANT,), flags)
    return mask[1:-1, 1:-1]


def _texture(gray: NDArray[np.uint8], content: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The finer structure of the content, without a rim of some pixels, whose edge would look like a structure."""
    side = (_WORKING, _WORKING)
    values = cv2.resize(gray, side, interpolation=cv2.INTER_AREA).astype(np.float32)
    whole = cv2.resize(content, side, interpolation=cv2.INTER_NEAREST)
    near = cv2.erode(whole, np.ones((3, 3), np.uint8), iterations=2).astype(np.float32)
    inner = cv2.erode(whole, np.ones((3, 3), np.uint8), iterations=5).astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(near, (0, 0), 4.0), 1e-3)
    fine = (values - cv2.GaussianBlur(values * near, (0, 0), 4.0) / weight) * inner
    share = cv2.resize(inner, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)
    shown = share > 0.5
    spread = float(cells[shown].std()) if shown.any() else 1.0
    scaled = np.clip(np.round(cells * (127 / max(4 * spread, 1.0))), -127, 127)
    return np.where(shown, scaled, _OUTSIDE).astype(np.int8)


def agreement(first: bytes, second: bytes) -> float:
    """How well two contents of `content_of` correlate where both show something, -1..1; 1 if there is no content.

    The best of nine shifts counts, because an image that was scaled or cropped by a pixel is displaced by a part of a
    cell.
    """
    if not first or not second:
        return 1.0
    one, other = (np.frombuffer(text, np.int8).reshape(SIDE, SIDE) for text in (first, second))
    return max(_shifted_agreement(one, other, down, right) for down, right in _SHIFTS)


def _shifted_agreement(one: NDArray[np.int8], other: NDArray[np.int8], down: int, right: int) -> float:
    here = one[max(down, 0) : SIDE + min(down, 0), max(right, 0) : SIDE + min(right, 0)]
    there = other[max(-down, 0) : SIDE + min(-down, 0), max(-right, 0) : SIDE + min(-right, 0)]
    both = (here != _OUTSIDE) & (there != _OUTSIDE)
    if both.sum() < _LEAST_CELLS:
        return 1.0 if down == right == 0 else -1.0  # too little content to tell
    left, opposite = here[both].astype(np.float32), there[both].astype(np.float32)
    left, opposite = left - left.mean(), opposite - opposite.mean()
    length = float(np.sqrt((left @ left) * (opposite @ opposite)))
    return float(left @ opposite) / length if length else 0.0
