"""The canvas on which organisms are drawn as optical density, and the shapes that they consist of.

Invariant: coordinates are body units: the long axis of an organism is along x and about 2 units long. The canvas itself
chooses the pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]  # points: N x 2 (x, y) in body units; layers: H x W, density
Rng: TypeAlias = np.random.Generator

SUPERSAMPLE = 2  # canvas pixels per image pixel, each way; lines are anti-aliased on top of it
REACH = 1.7  # half the canvas, in body units
_SHIFT = 4  # binary places of OpenCV's fixed-point coordinates


class Pen:
    """A square canvas of two float32 H x W layers of density: `tissue`, and `pigment` (gut, eyes, chloroplasts).

    Density is absorbance: 0 is clear, 1 absorbs two thirds of the light, below 0 gathers light (a droplet's highlight).
    """

    def __init__(self, rng: Rng, length: float, *, tilts: bool = True) -> None:
        """Start a clear canvas on which 2 body units span `length` image pixels, in a random pose."""
        self.unit = length / 2 * SUPERSAMPLE
        side = int(2 * REACH * self.unit) + 1
        self.tissue: Floats = np.zeros((side, side), np.float32)
        self.pigment: Floats = np.zeros((side, side), np.float32)
        self._grain: Floats = np.zeros((side, side), np.float32)
        for cells, share in ((int(rng.integers(14, 26)), 0.6), (int(rng.integers(40, 70)), 0.6)):
            coarse = rng.standard_normal((cells, cells)).astype(np.float32) * np.float32(share)
            self._grain += np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
        angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice((-1.0, 1.0))
        cos, sin = np.cos(angle), np.sin(angle)
        along, across = (rng.uniform(0.88, 1.0), rng.uniform(0.85, 1.08)) if tilts else (1.0, 1.0)
        self._pose = (np.array(((cos, -sin), (sin, cos))) @ np.diag((along, mirror * across)) * self.unit).T
        self._center = side / 2

    def fill(self, outline: Floats, density: float, *, grain: float = 0.0, pigment: bool = False) -> None:
        """Add `density` inside a closed outline, mottled by `grain` (0 even, 1 strongly)."""
        self._add([outline], 0, density, grain, pigment, closed=True)

    def line(
        self,
        paths: Floats | Sequence[Floats],
        width: float,
        density: float,
        *,
        closed: bool = False,
        pigment: bool = False,
    ) -> None:
        """Add `density` along one path or several, `width` body units wide; where they cross it counts once."""
        self._add([paths] if isinstance(paths, np.ndarray) else paths, width, density, 0.0, pigment, closed)

    def body(self, outline: Floats, density: float, rim: float, *, grain: float = 0.4, width: float = 0.03) -> None:
        """Add a translucent body: filled, mottled, and denser by `rim` along its outline."""
        self.fill(outline, density, grain=grain)
        self.line(outline, width, rim, closed=True)

    def dots(self, centers: Floats, radii: Floats | float, density: float, *, pigment: bool = False) -> None:
        """Add one round spot per center (N x 2); `radii` is one radius or N."""
        for (x, y), radius in zip(centers, np.broadcast_to(radii, len(centers)), strict=True):
            self.fill(oval(x, y, float(radius), float(radius), points=10), density, pigment=pigment)

    def _add(
        self, paths: Sequence[Floats], width: float, density: float, grain: float, pigment: bool, closed: bool
    ) -> None:
        """Rasterize into the smallest window that holds the paths and add it to a layer; width 0 fills."""
        layer = self.pigment if pigment else self.tissue
        placed = [path @ self._pose + self._center for path in paths]
        wanted = width * self.unit
        thickness = max(1, round(wanted))
        everything = np.concatenate(placed)
        low = np.maximum(np.floor(everything.min(axis=0)).astype(int) - thickness - 1, 0)
        high = np.minimum(np.ceil(everything.max(axis=0)).astype(int) + thickness + 2, layer.shape[0])
        if (high - low).min() <= 0:
            return
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        fixed = [np.round((path - low) * (1 << _SHIFT)).astype(np.int32) for path in placed]
        if width:
            cv2.polylines(mask, fixed, closed, (255,), thickness, cv2.LINE_AA, _SHIFT)
            density *= min(1.0, max(0.35, wanted / thickness))
        else:
            cv2.fillPoly(mask, fixed, (255,), cv2.LINE_AA, _SHIFT)
        window = slice(low[1], high[1]), slice(low[0], high[0])
        amount = mask.astype(np.float32) * np.float32(density / 255)
        if grain:
            amount *= np.clip(1 + np.float32(grain) * self._grain[window], 0, 2.5)
        layer[window] += amount


# --- outlines and paths: every function gives float32 N x 2 in body units --------------------------------------------


def point(xy: Sequence[float]) -> Floats:
    """Two numbers, x and y, as an array: a point, a shift or a stretch."""
    return np.array(xy, np.float32)


def curl(start: Sequence[float] | Floats, heading: float, length: float, turn: float, points: int = 24) -> Floats:
    """A path that leaves `start` at `heading` (radians) and turns by `turn` radians over its length."""
    angles = heading + turn * np.linspace(0, 1, points)
    steps = np.stack((np.cos(angles), np.sin(angles)), axis=1) * (length / (points - 1))
    steps[0] = 0
    return (np.asarray(start) + np.cumsum(steps, axis=0)).astype(np.float32)


def spine(length: float, turn: float, points: int = 40) -> Floats:
    """A bent center line, its middle near the origin and running along x."""
    path = curl((0, 0), -turn / 2, length, turn, points)
    return np.asarray(path - path.mean(axis=0), np.float32)


def normals(path: Floats) -> Floats:
    """Unit normals of a path, to its left."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    return np.stack((-tangent[:, 1], tangent[:, 0]), axis=1).astype(np.float32)


def ribbon(path: Floats, half: npt.ArrayLike) -> Floats:
    """The outline of a band that reaches `half` (one width or N) to either side of a path."""
    reach = np.broadcast_to(np.asarray(half, np.float32), len(path))[:, None] * normals(path)
    return np.concatenate((path + reach, (path - reach)[::-1])).astype(np.float32)


def crossbars(
    path: Floats, half: npt.ArrayLike, at: Sequence[int] | npt.NDArray[np.int_], lean: int = 0
) -> list[Floats]:
    """Lines across a band at the given indices; `lean` bends them into chevrons."""
    normal, width = normals(path), np.broadcast_to(np.asarray(half, np.float32), len(path))
    last = len(path) - 1
    return [
        np.stack((path[i] + normal[i] * width[i], path[min(i + lean, last)], path[i] - normal[i] * width[i]))
        for i in at
    ]


def oval(x: float, y: float, rx: float, ry: float, angle: float = 0.0, points: int = 32) -> Floats:
    """An ellipse."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    cos, sin = np.cos(angle), np.sin(angle)
    px, py = rx * np.cos(t), ry * np.sin(t)
    return np.stack((x + px * cos - py * sin, y + px * sin + py * cos), axis=1).astype(np.float32)


def blob(rng: Rng, radius: float, roughness: float, stretch: float = 1.0, points: int = 56) -> Floats:
    """An irregular closed outline; roughness 0 is a circle, 1 is ragged."""
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    order = np.arange(2, 18)
    waves = np.cos(order * t[:, None] + rng.uniform(0, 2 * np.pi, len(order)))
    r = radius * np.clip(1 + roughness * (waves * rng.normal(0, 0.62, len(order)) / order**0.85).sum(axis=1), 0.5, 1.8)
    return np.stack((r * np.cos(t) * stretch, r * np.sin(t)), axis=1).astype(np.float32)


# --- organisms --------------------------------------------------------------------------------------------------------
