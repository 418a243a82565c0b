"""Finds the same particle again: one that stuck to the flow cell is photographed each time another one triggers.

Rule: two images of one sample are the same particle if the pictures of their objects, cut out around the center of the
object (`centered`), are near-duplicates, their lengths differ by at most 5%, and, where the positions are known, their
centers are at most `MOST_PIXELS` apart in the view of the camera. All images of a particle but the first are flagged.

Near-duplicates: the hashes of `pelagia.dataset.near_duplicates` differ in at most eight bits, and the textures
correlate with 0.9 or more. Of 110,015 pairs of crops within 22 FlowCam samples, none passes; of crops that were moved
by a pixel, with other noise, and saved again, 98% do.

Positions are known for IFCB bins on the disk. Elsewhere the picture alone decides.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from pelagia.dataset.near_duplicates import find_near_duplicates
from pelagia.images.preprocess import Image
from pelagia.sources.ifcb.adc import Roi
from pelagia_inference.checks.outline import Outline

MOST_PIXELS = 10
"""The most that a stuck particle moves between two images."""
_LENGTHS = 1.05
_MOST_BITS, _LEAST_CORRELATION = 8, 0.9
_MOST_WAITING = 40_000

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """How an image looks and where it was: signature, length in pixels (0: unknown), center in the camera's view.

    ``sample`` is the number of its sample.
    """

    sample: int
    path: str
    signature: bytes
    length: float = 0.0
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """An image of a sample that shows the particle of an earlier one, and how many pixels away, if that is known."""

    sample: int
    path: str
    first: str
    pixels: float | None


@dataclass
class Repeats:
    """Collects the images of a survey in order of their paths, and finds those that show the same particle.

    At most `_MOST_WAITING` images are kept. A larger sample is compared in parts: each image with at least the 10,000
    before it.
    """

    _waiting: dict[int, list[Look]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0

    def add(self, look: Look) -> Iterator[Repeat]:
        """Adds an image; yields what was found so far if too many images are waiting."""
        self._waiting[look.sample].append(look)
        self._count += 1
        if self._count >= _MOST_WAITING:
            for number, looks in list(self._waiting.items()):
                yield from repeats_among(looks)
                kept = looks[-_MOST_WAITING // 4 :] if number == look.sample else []
                self._waiting[number] = kept
            self._count = len(self._waiting[look.sample])

    def rest(self) -> Iterator[Repeat]:
        """Yields what is found among the images that are waiting."""
        for looks in self._waiting.values():
            yield from repeats_among(looks)


def centered(image: Image, outline: Outline | None) -> Image:
    """The square around the center of an object, so that a crop of another size gives the same picture.

    Its side is 3.4 times the radius of the circle with the area of the object's core. Pixels outside the image repeat
    its border.

    Args:
        image: uint8, H x W x 3, RGB, 0..255.
        outline: the object; None: the whole image is returned.
    """
    if outline is None:
        return image
    moments = cv2.moments(outline.core, True)
    center = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    side = max(8, round(3.4 * math.sqrt(moments["m00"] / math.pi)))
    return np.asarray(cv2.getRectSubPix(image, (side, side), center), np.uint8)


def repeats_among(looks: list[Look]) -> Iterator[Repeat]:
    """The images of one sample that show the particle of an earlier one, each once."""
    signatures = [look.signature for look in looks]
    first_of: dict[int, int] = {}
    for pair in find_near_duplicates(signatures, range(len(looks)), _MOST_BITS, _LEAST_CORRELATION):
        one, other = looks[pair.first], looks[pair.second]
        pixels = _apart(one, other)
        if pair.second in first_of or (pixels or 0) > MOST_PIXELS or not _same_length(one, other):
            continue
        first_of[pair.second] = first_of.get(pair.first, pair.first)
        yield Repeat(other.sample, other.path, looks[first_of[pair.second]].path, pixels)


def _apart(one: Look, other: Look) -> float | None:
    if one.place is None or other.place is None:
        return None
    return max(abs(one.place[0] - other.place[0]), abs(one.place[1] - other.place[1]))


def _same_length(one: Look, other: Look) -> bool:
    shorter, longer = sorted((one.length, other.length))
    return longer <= _LENGTHS * shorter or shorter == 0


def place_of(roi: Roi) -> Place:
    """The center of the rectangle of an image in the view of the camera."""
    return roi.x + roi.width / 2, roi.y + roi.height / 2
