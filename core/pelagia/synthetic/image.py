"""Draws one image of a simulated survey: the organism, other particles, and the optics of its station.

Invariant: an image depends only on (survey seed, station index, image index, class).
"""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from pelagia.synthetic.organisms import ORGANISMS
from pelagia.synthetic.pen import SUPERSAMPLE, Pen
from pelagia.synthetic.station import Floats, Planned, Station

Rng: TypeAlias = np.random.Generator
Pixels: TypeAlias = npt.NDArray[np.uint8]  # H x W x 3, blue, green, red, 0 to 255

SHORTEST, LONGEST = 40, 160  # pixels a side

# Length of the long axis in pixels, before the station's magnification.
LENGTH = {
    "copepod": (55, 105),
    "chain_diatom": (60, 120),
    "dinoflagellate": (50, 90),
    "medusa": (50, 95),
    "arrow_worm": (75, 135),
    "fish_larva": (70, 130),
    "appendicularia": (65, 115),
    "radiolarian": (45, 90),
    "detritus": (40, 110),
    "bubble": (32, 85),
}

SPHERES = ("bubble", "radiolarian")  # the same from every side


def draw_image(item: Planned, seed: int) -> Pixels:
    """One image as the station's instrument would save it: uint8, H x W x 3, blue, green, red, 0..255."""
    station = item.station
    rng = np.random.default_rng(np.random.SeedSequence((seed, station.index, item.index, 3)))
    tissue, pigment = _clutter(*_crop(*_organism(item.kind, station, rng), rng), station, rng)
    blur = float(np.clip(station.focus * np.exp(rng.normal(0, 0.45)), 0.3, 1.9))
    return _expose(_blurred(tissue, blur), _blurred(pigment, blur), station, rng)


def _blurred(layer: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigma), np.float32)


def _organism(kind: str, station: Station, rng: Rng) -> tuple[Floats, Floats]:
    """Density layers (tissue, pigment), float32 H x W at image resolution, far larger than the organism."""
    pen = Pen(rng, float(rng.uniform(*LENGTH[kind])) * station.magnification, tilts=kind not in SPHERES)
    ORGANISMS[kind](pen, rng)
    side = pen.tissue.shape[0] // SUPERSAMPLE
    tissue, pigment = (
        np.asarray(cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA), np.float32)
        for layer in (pen.tissue, pen.pigment)
    )
    return tissue, pigment


def _crop(tissue: Floats, pigment: Floats, rng: Rng) -> tuple[Floats, Floats]:
    """Cuts out the organism with an uneven margin; one in nine is at the edge of the frame and loses a part."""
    found = np.abs(tissue) + pigment > 0.08
    spans = []
    clipped = int(rng.integers(0, 4)) if rng.random() < 0.11 else -1
    for axis in (0, 1):
        hit = np.flatnonzero(found.any(axis=1 - axis))
        low, high = (int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, found.shape[axis])
        extent = high - low
        ends = [low - int(3 + extent * rng.uniform(0, 0.22)), high + int(3 + extent * rng.uniform(0, 0.22))]
        if clipped // 2 == axis:
            cut = int(extent * rng.uniform(0.06, 0.18))
            ends[clipped % 2] = low + cut if clipped % 2 == 0 else high - cut
        lacking = SHORTEST - (ends[1] - ends[0])
        if lacking > 0:
            ends = [ends[0] - lacking // 2, ends[1] + lacking - lacking // 2]
        excess = max(0, ends[1] - ends[0] - LONGEST)
        spans.append((ends[0] + excess // 2, ends[1] - (excess - excess // 2)))
    (top, bottom), (left, right) = spans
    height, width = found.shape
    pad = max(0, -top, -left, bottom - height, right - width)
    window = slice(top + pad, bottom + pad), slice(left + pad, right + pad)
    return np.pad(tissue, pad)[window].copy(), np.pad(pigment, pad)[window].copy()


def _clutter(tissue: Floats, pigment: Floats, station: Station, rng: Rng) -> tuple[Floats, Floats]:
    """Adds specks, a fiber, and the edge of a neighboring organism. Outlines are (x, y) in pixels."""
    height, width = tissue.shape
    mask = np.zeros((height * SUPERSAMPLE, width * SUPERSAMPLE), np.uint8)
    circle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = np.stack((np.cos(circle), np.sin(circle)), axis=1)

    def fixed(points: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int32]]:
        return [np.round(points * (SUPERSAMPLE * 16)).astype(np.int32)]

    for _ in range(int(rng.poisson(2 * station.clutter))):
        radii = rng.uniform(0.5, 2.0) * rng.uniform(0.7, 1.3, (14, 1))
        speck = rng.uniform(0, (width, height)) + circle * radii
        cv2.fillPoly(mask, fixed(speck), (int(rng.integers(50, 200)),), cv2.LINE_AA, 4)
    if rng.random() < 0.07 * station.clutter:
        ends = rng.uniform(0, (width, height), (2, 2))
        middle = ends.mean(axis=0) + rng.normal(0, 0.12 * (width + height), 2)
        t = np.linspace(0, 1, 16)[:, None]
        fiber = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * middle + t**2 * ends[1]
        cv2.polylines(mask, fixed(fiber), False, (110,), SUPERSAMPLE, cv2.LINE_AA, 4)
    if rng.random() < 0.09 * station.clutter:
        radii = rng.uniform(0.05, 0.22) * min(width, height) * rng.uniform(0.7, 1.3, (14, 1))
        neighbor = rng.integers(0, 2, 2) * (width, height) + circle * radii
        cv2.fillPoly(mask, fixed(neighbor), (150,), cv2.LINE_AA, 4)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return tissue + small.astype(np.float32) / np.float32(160), pigment


def _expose(tissue: Floats, pigment: Floats, station: Station, rng: Rng) -> Pixels:
    """Simulates light, lens and sensor. Brightfield gives dark on light, darkfield illumination light on dark."""
    instrument, (height, width) = station.instrument, tissue.shape
    light = _illumination(height, width, station, rng)[..., None] * station.background
    contrast = station.contrast * float(np.exp(rng.normal(0, 0.18)))
    browns = np.array((1.0, 1.0, 1.0) if instrument.gray else (1.5, 1.02, 0.75), np.float32)
    density = contrast * (tissue[..., None] * station.tint + pigment[..., None] * browns * np.float32(0.9))
    if instrument.darkfield:
        scattered = 1 - np.exp(-np.maximum(density, 0) * 0.8)
        glow = scattered - 0.35 * _blurred(scattered, 2.5)
        image = light + np.maximum(glow, 0) * np.float32(235) * station.tint
    else:
        passed = np.exp(-np.maximum(density, -0.35))
        halo = passed - _blurred(passed, 2.2)
        image = light * (passed + 0.3 * halo)
    channels = 1 if instrument.gray else 3
    image = image + rng.standard_normal((height, width, channels), np.float32) * np.float32(station.noise)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _illumination(height: int, width: int, station: Station, rng: Rng) -> Floats:
    """Relative light, float32, H x W, around 1: a slope, and faint stripes in a flow cell."""
    heading, level = rng.uniform(0, 2 * np.pi), 1 + rng.normal(0, 0.04)
    down, across = np.linspace(-0.5, 0.5, height), np.linspace(-0.5, 0.5, width)
    slope = np.sin(heading) * down[:, None] + np.cos(heading) * across[None, :]
    field = level + station.gradient * slope
    if station.instrument.name == "flow imager":
        field = field + rng.normal(0, 0.008, width)[None, :]
    return np.asarray(field, np.float32)


def encode(image: Pixels, station: Station) -> bytes:
    """The bytes of the file that the station's instrument saves."""
    extension = station.instrument.extension
    options = [cv2.IMWRITE_JPEG_QUALITY, station.quality] if extension == "jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
    done, data = cv2.imencode(f".{extension}", image, options)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a {image.shape} image as {extension}")
    return data.tobytes()
