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
from pelagia.model import TOLERANCE, Parity
from pelagia.preprocess import Image, PreprocessSpec, load
from pelagia_inference.session import Session

GATE_IMAGES = 256
BATCH_SIZES = (1, 8)


def trained_probabilities(
    network: nn.Module, encoded: Sequence[bytes], load_for_training: Callable[[bytes], Image]
) -> NDArray[np.float32]:
    """What the trainer's side says: float32, N x classes; an image at a time, as no batch can then change it."""
    network.eval()
    with torch.no_grad():
        rows = [network(torch.from_numpy(load_for_training(data)[None])).numpy()[0] for data in encoded]
    return np.stack(rows)


def check_parity(session: Session, encoded: Sequence[bytes], expected: NDArray[np.float32]) -> Parity:
    """Compares the field's side with ``expected``, the trainer's.

    Args:
        session: the exported model as the runner loads it.
        encoded: images as they lie on the disk.
        expected: float32, N x classes.

    Raises:
        ParityError: a top-1 differs, or a probability differs by more than `TOLERANCE`.
    """
    spec: PreprocessSpec = session.graph.preprocess
    pixels = np.stack([load(data, spec) for data in encoded])
    disagreements, worst = 0, 0.0
    for size in BATCH_SIZES:
        parts = [session.probabilities(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        found = np.concatenate(parts)
        disagreements += int((found.argmax(1) != expected.argmax(1)).sum())
        worst = max(worst, float(np.abs(found - expected).max()))
    if disagreements or not worst <= TOLERANCE:
        raise ParityError(
            f"the exported model does not give the trainer's answers: over {len(encoded)} images at batch "
            f"{' and '.join(map(str, BATCH_SIZES))}, {disagreements} top-1 differ and the largest difference of a "
            f"probability is {worst:.2g} (allowed: 0 and {TOLERANCE:g}); nothing was written"
        )
    return Parity(images=len(encoded), batch_sizes=BATCH_SIZES, top1_disagreements=0, max_probability_difference=worst)
