"""Random changes of a fitted crop, in training only: the one module that knows albumentations.

Invariant: what an image becomes depends on (seed, epoch, index) alone, not on how many processes share the work.
"""

from __future__ import annotations

from collections.abc import Callable

import albumentations as A  # noqa: N812 - the name that its documentation uses
import cv2
import numpy as np

from pelagia.preprocess import Image
from pelagia_training.config import AugmentConfig

Augment = Callable[[Image, int], Image]
"""(uint8 H x W x 3 RGB, seed) -> an array of the same shape and type."""


class _Augment:
    """A class and not a closure: worker processes that are not forked get it pickled."""

    def __init__(self, config: AugmentConfig) -> None:
        self._pipeline = A.Compose(_transforms(config))

    def __call__(self, image: Image, seed: int) -> Image:
        self._pipeline.set_random_seed(seed)
        changed: Image = self._pipeline(image=image)["image"]
        return changed


def build_augment(config: AugmentConfig) -> Augment:
    """The augmentation that a config describes."""
    return _Augment(config)


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """An independent 32-bit seed for each image of each epoch."""
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1)[0])


def _transforms(config: AugmentConfig) -> list[A.BasicTransform]:
    chosen: list[A.BasicTransform] = []
    if config.flips == "all":
        chosen.append(A.D4(p=1))
    elif config.flips == "horizontal":
        chosen.append(A.HorizontalFlip(p=0.5))
    if config.rotate or config.scale or config.shift:
        chosen.append(
            A.Affine(
                rotate=(-config.rotate, config.rotate),
                scale=(1 - config.scale, 1 + config.scale),
                translate_percent=(-config.shift, config.shift),
                border_mode=cv2.BORDER_REPLICATE,
                p=0.8,
            )
        )
    if config.light:
        chosen.append(A.RandomBrightnessContrast(config.light, config.light, p=0.7))
    if config.colour:
        chosen.append(A.HueSaturationValue(int(60 * config.colour), int(100 * config.colour), 0, p=0.7))
    if config.blur:
        chosen.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.5), p=config.blur))
    if config.noise:
        chosen.append(A.GaussNoise(std_range=(0.01, 0.05), p=config.noise))
    if config.jpeg:
        chosen.append(A.ImageCompression(quality_range=(40, 95), p=config.jpeg))
    if config.erase:
        chosen.append(
            A.CoarseDropout(
                num_holes_range=(1, 2), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=config.erase
            )
        )
    return chosen
