"""What the modules of hostile files share: a file with its expected result, and simple images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
UNDECODABLE, TOO_LARGE, UNSUPPORTED = "undecodable", "too_large", "unsupported"


@dataclass(frozen=True)
class Hostile:
    """A file.

    Attributes:
        reason: why decoding must fail; empty if it must succeed.
        drawn: uint8, H x W x 3, RGB: the expected pixels; None if any pixels will do.
        tolerance: largest mean difference from ``drawn``, for lossy formats.
    """

    data: bytes
    reason: str = ""
    drawn: Pixels | None = None
    tolerance: float = 0.0


@cache
def picture(seed: int = 0, height: int = 30, width: int = 40) -> Pixels:
    """A smooth color image, uint8, H x W x 3, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def grey(image: Pixels | None = None) -> Pixels:
    """The first channel three times."""
    return np.repeat((picture() if image is None else image)[..., :1], 3, axis=2)


def by_pillow(form: str, mode: str = "RGB", image: Pixels | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture() if image is None else image).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def seen_by_pillow(data: bytes) -> Pixels:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def frames(form: str, **options: Any) -> bytes:
    more = [Image.fromarray(picture(seed)) for seed in (1, 2)]
    return by_pillow(form, save_all=True, append_images=more, **options)


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made
