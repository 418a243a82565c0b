"""The outline of the object in a crop, by a simple segmentation that needs no settings.

1. The background is a plane, fitted to the gray values of the crop's border. Border pixels that differ from the plane
   by more than three robust standard deviations are left out, and the plane is fitted again.
2. A pixel belongs to an object if it differs from the background by more than a threshold, in either direction. The
   threshold is the largest of: four robust standard deviations of the border, 0.3 of Otsu's threshold of the
   differences (Otsu 1979), and `LEAST_CONTRAST` gray levels.
3. Gaps of up to four pixels are closed and holes are filled. The component with the largest area is the object.

The legend of a vignette of ZooProcess, a scale bar below the object, is not looked at (`without_legend`).

Limits: it takes the border for background. It gives no outline if the object covers more than half of the border, and
wrong outlines on backgrounds with structure (fish on a reef) and for very transparent objects, whose faint parts are
missed. In a crop with several objects it measures the largest one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import Image

Mask = NDArray[np.uint8]
Gray = NDArray[np.float32]

LEAST_CONTRAST = 6.0
"""The lowest threshold, in gray levels of 0..255."""
LEAST_AREA = 12
"""An object has at least this many pixels."""
_SPREADS, _OTSU_PART = 4.0, 0.3
_OUTLIER = 3.0
_MAD_TO_SD = 1.4826
_GAP = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
_LEGEND, _BAR_ROWS, _BAR_LENGTH = 20, slice(-8, -2), 20


@dataclass(frozen=True, slots=True)
class Outline:
    """The object in a crop.

    Attributes:
        mask: uint8, H x W, 1 inside the object and 0 outside; the object is one component without holes.
        core: uint8, H x W, 1 where the object has at least half of its usual contrast.
        points: int32, P x 2, the pixels of its outer contour as x, y.
    """

    mask: Mask
    core: Mask
    points: NDArray[np.int32]

    @property
    def area(self) -> int:
        """Its area in pixels."""
        return int(self.mask.sum())


def gray_of(image: Image) -> Gray:
    """The gray values of an image: float32, H x W, 0..255, from uint8, H x W x 3, RGB, 0..255."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)


def outline_of(gray: Gray) -> Outline | None:
    """The object in a crop; None if there is none, or if it covers more than half of the border.

    Args:
        gray: float32, H x W, 0..255.
    """
    if min(gray.shape) < 3:
        return None
    smooth = np.asarray(cv2.GaussianBlur(gray, (0, 0), 0.7), np.float32)
    background, spread = _background(smooth)
    difference = np.abs(smooth - background)
    otsu, _ = cv2.threshold(np.clip(difference, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    threshold = max(_SPREADS * spread, _OTSU_PART * otsu, LEAST_CONTRAST)
    found = cv2.morphologyEx((difference > threshold).astype(np.uint8), cv2.MORPH_CLOSE, _GAP)
    mask = _largest(_filled(np.asarray(found, np.uint8)))
    if mask is None or _border(mask).mean() > 0.5:
        return None
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    usual = float(np.median(difference[mask > 0]))
    core = mask * (difference > max(0.5 * usual, threshold)).astype(np.uint8)
    return Outline(mask, core, max(contours, key=len)[:, 0].astype(np.int32))


def without_legend(gray: Gray) -> Gray:
    """The image without the legend of a vignette of ZooProcess: its last rows, if they hold a dark bar on white."""
    bar = gray[_BAR_ROWS]
    if len(gray) < 2 * _LEGEND or gray[-2:].min() < 250:
        return gray
    longest = max((longest_run((row < 100).astype(np.uint8)) for row in bar), default=0)
    return gray[:-_LEGEND] if longest >= _BAR_LENGTH else gray


def longest_run(row: Mask) -> int:
    """The length of the longest run of ones."""
    padded = np.concatenate(([0], row, [0])).astype(np.int8)
    steps = np.diff(padded)
    return int((np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)).max(initial=0))


def _background(gray: Gray) -> tuple[Gray, float]:
    """The background (float32, H x W), and the robust standard deviation of the border around it."""
    height, width = gray.shape
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    terms = np.stack([_border(np.ones_like(gray)), _border(x), _border(y)], axis=1)
    values = _border(gray)
    plane = np.array([np.median(values), 0, 0], np.float32)
    for _ in range(2):
        rest = np.abs(values - terms @ plane)
        near = rest <= max(_OUTLIER * _MAD_TO_SD * float(np.median(rest)), 1.0)
        plane = np.linalg.lstsq(terms[near], values[near], rcond=None)[0]
    spread = _MAD_TO_SD * float(np.median(np.abs(values - terms @ plane)))
    return np.asarray(plane[0] + plane[1] * x + plane[2] * y, np.float32), spread


def _border(values: NDArray[np.float32] | Mask) -> Gray:
    """The outermost pixels of an array (H x W), as float32."""
    edge = np.concatenate((values[0], values[-1], values[1:-1, 0], values[1:-1, -1]))
    return np.asarray(edge, np.float32)


def _filled(mask: Mask) -> Mask:
    """The mask without holes."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED), np.uint8)


def _largest(mask: Mask) -> Mask | None:
    """The largest component; None if there is none of `LEAST_AREA`."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < LEAST_AREA:
        return None
    return np.asarray(labels == 1 + int(areas.argmax()), np.uint8)
