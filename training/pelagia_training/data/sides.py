"""The side of the training images in each epoch: small images first, for a faster training.

Progressive resizing as in EfficientNetV2 (Tan and Le 2021, arXiv 2104.00298), without its growing augmentation.

Invariant: the side depends only on the epoch and on the config, so a resumed run trains on the same images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

_STEP = 16
"""The side grows in steps of this many pixels."""
_GROWTH = 0.75
"""The share of the epochs in which the images grow."""


def growing(epochs: int, first: int | None, last: int) -> Callable[[int], int]:
    """A function: epoch (from 1) -> the side of its training images in pixels.

    The side grows from ``first`` to ``last`` in the first three quarters of the ``epochs``, in steps of 16 pixels.

    Args:
        first: the side in the first epoch; None: ``last`` in all epochs.
        last: the side of the images that the network will classify.
    """
    return partial(_side, epochs=epochs, first=last if first is None else first, last=last)


def _side(epoch: int, epochs: int, first: int, last: int) -> int:
    grown = (epoch - 1) / max(1.0, _GROWTH * (epochs - 1))
    return last if grown >= 1 or epoch == epochs else min(last, first + round((last - first) * grown / _STEP) * _STEP)


def shrunk(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """``image``, uint8 of S x S x 3, 0..255, at ``side`` x ``side`` pixels; ``side`` is at most S."""
    if len(image) == side:
        return image
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
