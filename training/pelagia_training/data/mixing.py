"""Mixup and CutMix: mix an image with another one of its batch, and mix their targets in the same proportion.

Invariant: the result is computed only from the batch and the seed. At least half of a mixed image is the original
image, so the size of the original, which may be an input of the network, remains correct.

The papers: mixup, Zhang et al. 2018 (arXiv 1710.09412); CutMix, Yun et al. 2019 (arXiv 1905.04899).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALPHA = 0.8
"""The parameter of mixup's beta distribution. CutMix uses 1, as in the paper."""


def mix(
    pixels: Tensor, targets: Tensor, *, mixup: float, cutmix: float, seed: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Blends a fraction ``mixup`` of the images with another image, and pastes a square into a fraction ``cutmix``.

    Args:
        pixels: the images, uint8, N x S x S x 3.
        targets: float32, N x C; each row sums to 1.
        mixup: the share of images to blend, 0..1.
        cutmix: the share of images to paste into, 0..1.
        seed: the numbers that seed the random choices, such as (run's seed, step, process).

    Returns:
        The mixed pixels and targets, with the same types and shapes; the arguments themselves if no image is mixed.
    """
    count, side = pixels.shape[:2]
    random = np.random.default_rng(seed)
    kind = random.random(count)
    blended, patched = kind < mixup, (kind >= mixup) & (kind < mixup + cutmix)
    if not (blended | patched).any():
        return pixels, targets
    partner = torch.from_numpy(random.permutation(count)).to(pixels.device)
    share = np.where(blended, _larger(random.beta(_ALPHA, _ALPHA, count)), 1.0)
    inside = _rectangles(random, np.where(patched, _larger(random.beta(1.0, 1.0, count)), 1.0), side)
    kept = np.where(patched, 1 - inside.mean(axis=(1, 2)), share)

    def on_device(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(pixels.device)

    others = pixels[partner]
    weight = on_device(share)[:, None, None, None]
    mixed = (pixels * weight + others * (1 - weight)).round().to(pixels.dtype)
    mixed = torch.where(torch.from_numpy(inside).to(pixels.device)[..., None], others, mixed)
    own = on_device(kept)[:, None]
    return mixed, targets * own + targets[partner] * (1 - own)


def _larger(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(shares, 1 - shares)


def _rectangles(random: np.random.Generator, outside: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """bool, N x side x side: True in a random square inside each image; ``outside`` is the share outside it."""
    length = (side * np.sqrt(1 - outside)).astype(int)
    corner = (random.random((2, len(outside))) * (side - length + 1)).astype(int)
    at = np.arange(side)
    rows, columns = ((at >= start[:, None]) & (at < (start + length)[:, None]) for start in corner)
    inside: NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
    return inside
