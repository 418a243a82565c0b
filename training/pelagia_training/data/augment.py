"""Augmentation: random changes of a fitted crop, in training only. The only module that uses albumentations.

Invariant: the augmented image depends only on (seed, epoch, index), not on the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import albumentations as A  # noqa: N812 - the name that its documentation uses
import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import Image, border_color
from pelagia_training.config import AugmentConfig

Augment = Callable[[Image, int], Image]
"""A function: (image, uint8 H x W x 3 RGB; seed) -> the augmented image, of the same shape and type."""


class _Augment:
    """A class and not a closure, because it must be pickled for worker processes that are not forked."""

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        self._pipeline = A.Compose(transforms)

    def __call__(self, image: Image, seed: int) -> Image:
        self._pipeline.set_random_seed(seed)
        changed: Image = self._pipeline(image=image)["image"]
        return changed


def build_augment(config: AugmentConfig) -> Augment:
    """Builds the augmentation that a config describes."""
    return _Augment(_transforms(config))


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """The seed of image ``index`` in ``epoch``, 32 bits, independent of all other seeds."""
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1)[0])


def _transforms(config: AugmentConfig) -> list[A.BasicTransform]:
    """The transforms in the order of the light path: organism, surroundings, optics, sensor, file."""
    return [*_orientation(config), *_scene(config), *_instrument(config)]


def _orientation(config: AugmentConfig) -> list[A.BasicTransform]:
    chosen: list[A.BasicTransform] = []
    scale, shift = (min(0.9, config.strength * one) for one in (config.scale, config.shift))
    if config.flips == "all":
        chosen.append(A.D4(p=1))
    elif config.flips == "horizontal":
        chosen.append(A.HorizontalFlip(p=0.5))
    if config.rotate or scale or shift:
        chosen.append(
            A.Affine(
                rotate=(-config.rotate, config.rotate),
                scale=(1 - scale, 1 + scale),
                translate_percent=(-shift, shift),
                border_mode=cv2.BORDER_REPLICATE,
                p=0.8,
            )
        )
    return chosen


def _scene(config: AugmentConfig) -> list[A.BasicTransform]:
    often = _probabilities(config)
    chosen: list[A.BasicTransform] = []
    if often("clip"):
        chosen.append(_Clip(p=often("clip")))
    if often("background"):
        chosen.append(_Background(p=often("background")))
    if often("bubbles"):
        chosen.append(_Bubbles(p=often("bubbles")))
    if often("erase"):
        chosen.append(
            A.CoarseDropout(
                num_holes_range=(1, 2), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=often("erase")
            )
        )
    return chosen


def _instrument(config: AugmentConfig) -> list[A.BasicTransform]:
    often = _probabilities(config)
    chosen: list[A.BasicTransform] = []
    light, colour = (min(1.0, config.strength * one) for one in (config.light, config.colour))
    if light:
        chosen.append(A.RandomBrightnessContrast(light, light, p=0.7))
    if colour:
        chosen.append(A.HueSaturationValue(int(60 * colour), int(100 * colour), 0, p=0.7))
    if often("illumination"):
        kinds = [A.Illumination(mode=mode, intensity_range=(0.05, 0.2)) for mode in ("linear", "corner", "gaussian")]
        chosen.append(A.OneOf(kinds, p=often("illumination")))
    if often("blur"):
        kinds = [A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.5)), _Defocus()]
        chosen.append(A.OneOf(kinds, p=often("blur")))
    if often("noise"):
        chosen.append(A.GaussNoise(std_range=(0.01, 0.05), p=often("noise")))
    if often("jpeg"):
        chosen.append(A.ImageCompression(quality_range=(40, 95), p=often("jpeg")))
    return chosen


def _probabilities(config: AugmentConfig) -> Callable[[str], float]:
    return lambda key: min(1.0, config.strength * float(getattr(config, key)))


class _Clip(A.ImageOnlyTransform):  # type: ignore[misc]
    """Cuts off up to a quarter of the organism at one side, as the edge of a camera's frame does."""

    def apply(self, img: Image, **_: object) -> Image:
        background = border_color(img)
        rows, columns = (np.flatnonzero(_differs(img, background).any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return img
        share, side = self.py_random.uniform(0.05, 0.25), self.py_random.randrange(4)
        seen = rows if side < 2 else columns
        first, last = int(seen[0]), int(seen[-1]) + 1
        cut = round(share * (last - first))
        gone = slice(None, first + cut) if side % 2 else slice(last - cut, None)
        clipped = img.copy()
        clipped[gone if side < 2 else (slice(None), gone)] = background
        return clipped


class _Background(A.ImageOnlyTransform):  # type: ignore[misc]
    """Changes the brightness and the tint of the pixels that have the background's color; the organism stays."""

    def apply(self, img: Image, **_: object) -> Image:
        background = border_color(img).astype(np.float32)
        brightness = self.py_random.uniform(-30, 30)
        change = np.array([brightness + self.py_random.uniform(-8, 8) for _ in range(3)], np.float32)
        distance = np.abs(img - background).max(axis=2, keepdims=True)
        changed = img + change * np.clip(1 - distance / _FAR, 0, 1)
        clipped: Image = np.clip(changed.round(), 0, 255).astype(np.uint8)
        return clipped


class _Bubbles(A.ImageOnlyTransform):  # type: ignore[misc]
    """Draws one to three circles with a dark rim and a bright middle."""

    def apply(self, img: Image, **_: object) -> Image:
        drawn, side = img.copy(), img.shape[0]
        background = border_color(img).astype(np.float32)
        rim, middle = background * self.py_random.uniform(0.2, 0.6), background * 0.4 + 0.6 * 255
        for _number in range(self.py_random.randint(1, 3)):
            centre = (self.py_random.randrange(side), self.py_random.randrange(img.shape[1]))
            radius = max(2, round(side * self.py_random.uniform(0.03, 0.1)))
            cv2.circle(drawn, centre, radius, rim.tolist(), -1, cv2.LINE_AA)
            cv2.circle(drawn, centre, max(1, round(radius * 0.6)), middle.tolist(), -1, cv2.LINE_AA)
        return drawn


class _Defocus(A.ImageOnlyTransform):  # type: ignore[misc]
    """Spreads each point over a disk with a radius of one to three pixels, 50 times as fast as A.Defocus."""

    def apply(self, img: Image, **_: object) -> Image:
        radius = self.py_random.uniform(1, 3)
        at = np.arange(-3, 4)
        disc = np.clip(radius + 0.5 - np.hypot(at, at[:, None]), 0, 1)
        blurred = cv2.filter2D(img, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)
        return blurred.astype(np.uint8, copy=False)


_FAR = 48.0
"""A pixel that differs from the background by this much (of 255 levels) belongs to the organism entirely."""


def _differs(image: Image, background: Image) -> NDArray[np.bool_]:
    """For each pixel, whether it is not background: bool, H x W."""
    distance: NDArray[np.bool_] = np.abs(image.astype(np.int16) - background).max(axis=2) > _FAR / 2
    return distance
