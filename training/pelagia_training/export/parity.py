"""The gate that every exported model passes: the trained network and the exported file give the same answers.

One side is the trainer: its preprocessing and torch. The other is the field: the runner's decode and ONNX Runtime, at
batch 1 and batch 8, on the encoded bytes of real validation images. Models that preprocess differently in the field, or
that a converter changed, are the silent fault that this project exists to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pelagia.errors import ParityError
from pelagia.images.preprocess import Image, load_sized
from pelagia.model.metadata import TOLERANCE, ModelFile, Parity
from pelagia_inference.machine.session import Answers, Session, stacked

GATE_IMAGES = 256
BATCH_SIZES = (1, 8)


def trained_answers(
    network: nn.Module,
    encoded: Sequence[bytes],
    load_for_training: Callable[[bytes], Image],
    sizes: NDArray[np.float32] | None = None,
) -> Answers:
    """What the trainer's side says; an image at a time, as no batch can then change it.

    Args:
        sizes: float32, N x 3, as the trainer took them from the manifest; None where the network takes none.
    """
    network.eval()
    found = []
    with torch.no_grad():
        for index, data in enumerate(encoded):
            size = () if sizes is None else (torch.from_numpy(sizes[index : index + 1]),)
            found.append(network(torch.from_numpy(load_for_training(data)[None]), *size))
    if isinstance(found[0], tuple):
        return Answers(*(torch.cat(part).numpy() for part in zip(*found, strict=True)))
    return Answers(torch.cat(found).numpy())


def check_parity(model: ModelFile, encoded: Sequence[bytes], expected: Answers, pixel_sizes: Sequence[float]) -> Parity:
    """Compares the field's side with ``expected``, the trainer's.

    Args:
        model: the exported file.
        encoded: images as they lie on the disk.
        pixel_sizes: micrometres along the side of a pixel of each image; the rest of a size is found in the bytes.

    Raises:
        ParityError: a top-1 differs, a probability differs by more than `TOLERANCE`, or a score of the unknown by more
            than the model's tolerance.
    """
    session, spec, unknown = Session(model), model.metadata.preprocess, model.metadata.unknown
    pixels, sizes = stacked([load_sized(data, spec) for data in encoded], pixel_sizes)
    disagreements, worst, scores = 0, 0.0, 0.0
    for size in BATCH_SIZES:
        places = [slice(start, start + size) for start in range(0, len(pixels), size)]
        parts = [session.answers(pixels[place], sizes[place]) for place in places]
        found = np.concatenate([part.probabilities for part in parts])
        disagreements += int((found.argmax(1) != expected.probabilities.argmax(1)).sum())
        worst = max(worst, float(np.abs(found - expected.probabilities).max()))
        if expected.unknown is not None:
            told = np.concatenate([part.scores for part in parts])
            scores = max(scores, float(np.abs(told - expected.unknown).max()))
    if disagreements or not worst <= TOLERANCE:
        raise ParityError(
            f"the exported model does not give the trainer's answers: over {len(encoded)} images at batch "
            f"{' and '.join(map(str, BATCH_SIZES))}, {disagreements} top-1 differ and the largest difference of a "
            f"probability is {worst:.2g} (allowed: 0 and {TOLERANCE:g}); nothing was written"
        )
    if unknown is not None and not scores <= unknown.tolerance:
        raise ParityError(
            f"the exported model does not give the trainer's score of the unknown: over {len(encoded)} images the "
            f"largest difference is {scores:.2g} (allowed: {unknown.tolerance:g}); nothing was written"
        )
    return Parity(
        images=len(encoded),
        batch_sizes=BATCH_SIZES,
        top1_disagreements=0,
        max_probability_difference=worst,
        max_unknown_difference=None if unknown is None else scores,
    )
