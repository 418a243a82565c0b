"""The parity gate: every exported model must give the same outputs as the trained network.

The gate compares two sides on the encoded bytes of real validation images: the trainer (its preprocessing and PyTorch)
and the runner (its preprocessing and ONNX Runtime, at batch sizes 1 and 8). It finds models whose images the runner
preprocesses differently, and models that the conversion has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelagia.embeddings import EMBEDDING_TOLERANCE, relative_distance
from pelagia.errors import ParityError
from pelagia.images.preprocess import Image, load_sized
from pelagia.model.graph import EMBEDDING_NAME, OUTPUT_NAME, UNKNOWN_NAME
from pelagia.model.metadata import TOLERANCE, ModelFile, Parity
from pelagia.system.cores import thread_pool
from pelagia_inference.machine.session import Answers, Session, stacked
from pelagia_training.network.ensemble import Exportable
from pelagia_training.network.outputs import Progress, no_progress

GATE_IMAGES = 256
"""Least number of images that the gate uses; if the validation split has fewer images, the gate uses all of them."""
BATCH_SIZES = (1, 8)


def trained_answers(
    network: Exportable,
    encoded: Sequence[bytes],
    load_for_training: Callable[[bytes], Image],
    sizes: NDArray[np.float32] | None = None,
    progress: Progress = no_progress,
) -> Answers:
    """The trainer's outputs, computed one image at a time, so that the batch size has no effect on them.

    Args:
        network: the PyTorch network, on the CPU.
        encoded: the bytes of N image files.
        load_for_training: the trainer's preprocessing.
        sizes: float32, N x 3, the image sizes from the manifest, as in training; None if the network takes no sizes.
        progress: called with (images done, total images).
    """
    network.eval()
    outputs = []
    with torch.no_grad():
        for index, data in enumerate(encoded):
            size = () if sizes is None else (torch.from_numpy(sizes[index : index + 1]),)
            given = network(torch.from_numpy(load_for_training(data)[None]), *size)
            outputs.append(given if isinstance(given, tuple) else (given,))
            progress(index + 1, len(encoded))
        return answers_of(network, tuple(torch.cat(part) for part in zip(*outputs, strict=True)))


def answers_of(network: Exportable, given: Tensor | tuple[Tensor, ...]) -> Answers:
    """What ``network`` gave, under the names of its outputs."""
    parts = given if isinstance(given, tuple) else (given,)
    named = dict(zip(network.outputs, (part.numpy() for part in parts), strict=True))
    return Answers(named[OUTPUT_NAME], named.get(UNKNOWN_NAME), named.get(EMBEDDING_NAME))


@dataclass(frozen=True)
class Differences:
    """The differences between the outputs of the exported model and the trainer, over all images and batch sizes.

    Attributes:
        top1: number of predictions whose most probable class differs.
        probability: largest difference of a probability.
        score: largest difference of an out-of-distribution score.
        embedding: largest distance between two embeddings of an image, as a share of the embedding's length.
    """

    top1: int
    probability: float
    score: float
    embedding: float = 0.0


def check_parity(
    model: ModelFile, encoded: Sequence[bytes], expected: Answers, pixel_sizes: Sequence[float]
) -> tuple[Parity, float]:
    """Compares the exported model's outputs with ``expected``, the trainer's outputs.

    Args:
        model: the exported model.
        encoded: the bytes of N image files.
        expected: the trainer's outputs for these images.
        pixel_sizes: N, the side length of a pixel in micrometers; width and height come from the bytes.

    Returns:
        The result, and the largest difference of an embedding (`Differences.embedding`).

    Raises:
        ParityError: a top-1 class differs, a probability differs by more than `TOLERANCE`, an out-of-distribution
            score differs by more than the model's tolerance, or an embedding by more than `EMBEDDING_TOLERANCE`.
    """
    fitted = [load_sized(data, model.metadata.preprocess) for data in encoded]
    differences = compare(Session(model, embedding=True), *stacked(fitted, pixel_sizes), expected)
    _require_small(differences, model, len(encoded))
    parity = Parity(
        images=len(encoded),
        batch_sizes=BATCH_SIZES,
        top1_disagreements=0,
        max_probability_difference=differences.probability,
        max_unknown_difference=None if model.metadata.unknown is None else differences.score,
    )
    return parity, differences.embedding


def _require_small(differences: Differences, model: ModelFile, images: int) -> None:
    """Raises ParityError if a difference on some images is larger than allowed."""
    unknown = model.metadata.unknown
    if differences.top1 or not differences.probability <= TOLERANCE:
        raise ParityError(
            f"the exported model does not give the trainer's outputs: on {images} images at batch sizes "
            f"{' and '.join(map(str, BATCH_SIZES))}, {differences.top1} top-1 classes differ and the largest "
            f"difference of a probability is {differences.probability:.2g} (allowed: 0 and {TOLERANCE:g}); nothing was "
            "written"
        )
    if unknown is not None and not differences.score <= unknown.tolerance:
        raise ParityError(
            f"the exported model does not give the trainer's out-of-distribution scores: on {images} images the "
            f"largest difference is {differences.score:.2g} (allowed: {unknown.tolerance:g}); nothing was written"
        )
    if not differences.embedding <= EMBEDDING_TOLERANCE:
        raise ParityError(
            f"the exported model does not give the trainer's embeddings: on {images} images the largest "
            f"difference is {differences.embedding:.2g} of a vector's length (allowed: {EMBEDDING_TOLERANCE:g}); "
            "nothing was written"
        )


def compare(session: Session, pixels: NDArray[np.uint8], sizes: NDArray[np.float32], expected: Answers) -> Differences:
    """Runs an exported model at all `BATCH_SIZES`, and returns the differences from ``expected``.

    Args:
        session: the exported model in ONNX Runtime.
        pixels: uint8, N x S x S x 3, RGB, 0..255.
        sizes: float32, N x 3, as `stacked` returns them.
        expected: the outputs in PyTorch for these images.
    """
    top1, probability, score, embedding = 0, 0.0, 0.0, 0.0
    for batch_size in BATCH_SIZES:
        slices = [slice(start, start + batch_size) for start in range(0, len(pixels), batch_size)]
        with thread_pool() as pool:  # the session computes in the thread that calls it
            answers = list(pool.map(lambda part: session.answers(pixels[part], sizes[part]), slices))
        probabilities = np.concatenate([answer.probabilities for answer in answers])
        top1 += int((probabilities.argmax(1) != expected.probabilities.argmax(1)).sum())
        probability = max(probability, float(np.abs(probabilities - expected.probabilities).max()))
        if expected.unknown is not None:
            scores = np.concatenate([answer.scores for answer in answers])
            score = max(score, float(np.abs(scores - expected.unknown).max()))
        if expected.embedding is not None:
            vectors = np.concatenate([answer.embedding for answer in answers if answer.embedding is not None])
            embedding = max(embedding, relative_distance(vectors, expected.embedding))
    return Differences(top1, probability, score, embedding)
