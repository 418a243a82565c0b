"""Predicts the logits of many images, in batches that fit into the device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pelagia.errors import TrainingError
from pelagia.images.preprocess import Image
from pelagia_training.data.batches import prefetched

_BATCH = 64


@torch.no_grad()
def predict(
    model: nn.Module, images: Sequence[Image] | NDArray[np.uint8], sizes: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """The logits of fitted images, float32 N x C.

    Args:
        images: N images, each uint8 of S x S x 3.
        sizes: float32, N x 3, as for `SizeHead`; None if the model takes no sizes.

    Raises:
        TrainingError: not even one image fits into the memory.
    """
    model.eval()
    most, parts = _BATCH, []

    def batch(start: int) -> list[Tensor]:
        place = range(start, min(start + _BATCH, len(images)))
        pixels = np.stack([images[index] for index in place])
        inputs = [pixels] if sizes is None else [pixels, sizes[place.start : place.stop]]
        return [torch.from_numpy(array) for array in inputs]

    with closing(prefetched(map(batch, range(0, len(images), _BATCH)))) as batches:
        for inputs in batches:
            logits, most = _within_memory(model, inputs, most)
            parts.append(logits.numpy())
    return np.concatenate(parts)


def _within_memory(model: nn.Module, inputs: Sequence[Tensor], most: int) -> tuple[Tensor, int]:
    """The logits, float32 N x C on the CPU, and the number of images per forward pass: ``most``, or as many as fit."""
    device = next(model.parameters()).device
    while True:
        with suppress(torch.OutOfMemoryError):
            parts = zip(*(torch.split(one, most) for one in inputs), strict=True)
            return torch.cat([model(*(one.to(device) for one in part)).float().cpu() for part in parts]), most
        # outside the `with`, the tensors that filled the memory are freed
        most = min(most, len(inputs[0])) // 2
        if not most:
            raise TrainingError(
                "the device's memory is too small to classify even 1 image: choose a smaller preprocess.size or "
                "backbone"
            )
        if device.type == "cuda":
            torch.cuda.empty_cache()
