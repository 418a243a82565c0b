"""Logits of many images, within the device's memory."""

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
    """Logits of fitted images (N of uint8 S x S x 3), with their sizes (N x 3) if the model takes them: float32 N x C.

    Raises:
        TrainingError: the memory does not hold one image.
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
    """Logits, float32 N x C on the CPU, with ``most`` images at once or as many as the memory holds; and how many."""
    device = next(model.parameters()).device
    while True:
        with suppress(torch.OutOfMemoryError):
            parts = zip(*(torch.split(one, most) for one in inputs), strict=True)
            return torch.cat([model(*(one.to(device) for one in part)).float().cpu() for part in parts]), most
        most = (
            min(most, len(inputs[0])) // 2
        )  # outside the `with`, nothing refers to the tensors that filled the memory
        if not most:
            raise TrainingError(
                "the device's memory does not hold 1 image to classify: choose a smaller preprocess.size or backbone"
            )
        if device.type == "cuda":
            torch.cuda.empty_cache()
