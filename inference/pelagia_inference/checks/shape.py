"""Size and biovolume of one object: formulas only, each with its source.

Lengths are in pixels unless a name says otherwise. Volumes are estimates: an image shows two dimensions, and each
formula assumes the third.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia_inference.checks.outline import Mask, Outline

LEAST_OUTLINE = 50
"""An object with fewer pixels has no usable outline: its volume is that of the sphere with its area."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def equivalent_diameter(area: float) -> float:
    """The diameter of the circle with this area; as the diameter of a sphere it is called ESD."""
    return 2 * math.sqrt(area / math.pi)


def sphere_volume(diameter: float) -> float:
    """The volume of a sphere."""
    return math.pi / 6 * diameter**3


def feret(points: NDArray[np.int32]) -> tuple[float, float]:
    """Length and width: the largest and the smallest distance of two parallel lines that enclose the object (Feret).

    Args:
        points: int32, P x 2, pixels of the contour as x, y. A pixel has a size of 1, which is added to the distances
            of the centers.
    """
    hull = cv2.convexHull(points)[:, 0].astype(np.float64)
    if len(hull) < 3:
        return float(np.linalg.norm(hull[-1] - hull[0])) + 1, 1.0
    length = float(np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max()))
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([-edges[:, 1], edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    across = hull @ normals.T  # the smallest width is at right angles to one of the edges
    width = float((across.max(axis=0) - across.min(axis=0)).min())
    return length + 1, width + 1


@dataclass(frozen=True, slots=True)
class Axes:
    """The ellipse with the same second moments as the object: its axes in pixels, and its direction as x, y."""

    major: float
    minor: float
    direction: tuple[float, float]

    @property
    def eccentricity(self) -> float:
        """0 for a circle, near 1 for a line."""
        return math.sqrt(max(0.0, 1 - (self.minor / self.major) ** 2))


def axes_of(mask: Mask) -> Axes:
    """The ellipse of a mask (uint8, H x W, 0 or 1), each pixel taken as a square of side 1."""
    y, x = np.nonzero(mask)
    spread = np.cov(np.stack([x, y]).astype(np.float64), bias=True) + np.eye(2) / 12
    values, vectors = np.linalg.eigh(spread)
    direction = (float(vectors[0, 1]), float(vectors[1, 1]))
    return Axes(4 * math.sqrt(values[1]), 4 * math.sqrt(values[0]), direction)


def rotational_solid(mask: Mask, direction: tuple[float, float]) -> float:
    """The volume of the solid that arises when the object turns around its major axis, in cubic pixels.

    The object is cut at right angles to the axis into slices of one pixel; each slice is a disk whose diameter is the
    width of the object there. Source: the solid of revolution in the code of Moberg and Sosik (2012).
    """
    y, x = np.nonzero(mask)
    along = x * direction[0] + y * direction[1]
    along -= along.min()
    below = np.floor(along).astype(np.intp)
    part = along - below
    size = int(below.max()) + 2
    widths = np.bincount(below, 1 - part, size) + np.bincount(below + 1, part, size)
    return float(math.pi / 4 * (widths**2).sum())


def distance_map_volume(mask: Mask) -> float:
    """The volume from the distance map, in cubic pixels.

    Each pixel is as high as it is far from the perimeter. The cross-sections that follow are diamonds, and are
    corrected to circles. Source: Moberg and Sosik (2012), Limnology and Oceanography: Methods 10, 278-288, doi
    10.4319/lom.2012.10.278.
    """
    wide = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    off_perimeter = np.asarray(1 - wide + cv2.erode(wide, _CROSS), np.uint8)
    distances = cv2.distanceTransform(off_perimeter, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[wide > 0].astype(np.float64)
    distances += 1
    transect = 4 * distances.mean() - 2
    return float(transect**2 / (transect**2 + 2 * transect + 0.5) * math.pi * distances.sum())


def volume_of(outline: Outline) -> float:
    """The volume of an object in cubic pixels: the choice that Moberg and Sosik (2012) make for each image.

    A rotational solid if the outline is nearly convex (convex area below 1.2 times the area) or nearly round
    (eccentricity below 0.8 and an equivalent diameter above 0.8 of the major axis); else the distance map. An object
    below `LEAST_OUTLINE` is a sphere.
    """
    area = outline.area
    diameter = equivalent_diameter(area)
    if area < LEAST_OUTLINE:
        return sphere_volume(diameter)
    axes = axes_of(outline.mask)
    hull = cv2.fillConvexPoly(np.zeros_like(outline.mask), cv2.convexHull(outline.points), 1)
    is_convex = hull.sum() / area < 1.2
    is_round = axes.eccentricity < 0.8 and diameter / axes.major > 0.8
    return (
        rotational_solid(outline.mask, axes.direction) if is_convex or is_round else distance_map_volume(outline.mask)
    )
