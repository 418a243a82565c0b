"""The logits and features of a dataset's images, for everything that is fitted at an export.

On a CPU, ONNX Runtime computes the features of many images, as the runner does: one graph, and one thread for each
core, which decodes images and computes them. That takes about 0.6 of the time of PyTorch. Few images are not worth the
conversion of the network, and a GPU is faster; both use PyTorch. So do networks that show no features, and those that
cannot be converted, which the export itself then reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import ModelError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.graph import Graph
from pelagia.system.cores import thread_pool
from pelagia_inference.machine.session import Session
from pelagia_training.data.batches import load_fitted, sizes_of
from pelagia_training.data.crops import StreamedCrops
from pelagia_training.network.backbone import (
    Embedder,
    Normalized,
    example_inputs,
    features_of,
    last_layer,
    logits_of,
    shows_features,
)
from pelagia_training.network.onnx_graph import to_onnx

Progress = Callable[[int, int], None]
"""Called with (images done, total images)."""
Outputs = tuple[NDArray[np.float32], NDArray[np.float32] | None]
LEAST_VIEWS = 2_000
"""Least number of views (images times orientations) for which the network is converted: it takes some seconds."""
_IMAGES_IN_MEMORY = 512
_BATCH = 32
_RUNNER_BATCH = 8


def no_progress(done: int, total: int) -> None:
    """Shows nothing."""


@torch.no_grad()
def outputs(
    classifier: Normalized,
    dataset: Dataset,
    records: Sequence[Record],
    spec: PreprocessSpec,
    progress: Progress = no_progress,
) -> Outputs:
    """The logits (float32, N x C) and the features (float32, N x D) of a dataset's images.

    The features are None if the network does not expose them. Memory does not grow with the number of images.

    Args:
        classifier: the network, on the CPU.
        dataset: the dataset that holds the images.
        records: the N images.
        spec: the preprocessing.
        progress: called after each batch.

    Raises:
        DatasetError: an image is missing or cannot be decoded.
    """
    shown = shows_features(classifier.eval(), example_inputs(classifier, spec.size)[0])
    if shown and len(records) * classifier.orientations >= LEAST_VIEWS and not torch.cuda.is_available():
        with suppress(ModelError):  # the network cannot be converted
            return _by_runner(classifier, dataset, records, spec, progress)
    return _by_torch(classifier, dataset, records, spec, progress, shown)


def _by_runner(
    classifier: Normalized, dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec, progress: Progress
) -> Outputs:
    graph, width = to_onnx(Embedder(classifier), spec.size), last_layer(classifier).in_features
    session = Session(Graph(Path("the network"), graph, spec, (), embedding=width), embedding=True)
    images, batch = StreamedCrops(dataset, records, spec), max(1, _RUNNER_BATCH // classifier.orientations)

    def compute(start: int) -> NDArray[np.float32]:
        pixels = np.stack([images[index] for index in range(start, min(start + batch, len(records)))])
        embedding = session.answers(pixels).embedding
        assert embedding is not None  # noqa: S101 - the session was asked for it
        return embedding

    parts: list[NDArray[np.float32]] = []
    with thread_pool() as pool:
        for part in pool.map(compute, range(0, len(records), batch)):
            parts.append(part)
            progress(min(len(parts) * batch, len(records)), len(records))
    features = np.concatenate(parts)
    logits = logits_of(classifier, torch.from_numpy(features), torch.from_numpy(sizes_of(records)))
    return logits.float().numpy(), features


def _by_torch(
    classifier: Normalized,
    dataset: Dataset,
    records: Sequence[Record],
    spec: PreprocessSpec,
    progress: Progress,
    shown: bool,
) -> Outputs:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier.eval().to(device).to(memory_format=torch.channels_last)
    batch = max(1, _BATCH // classifier.orientations)
    logits, features, done = [], [], 0
    for start in range(0, len(records), _IMAGES_IN_MEMORY):
        chunk = records[start : start + _IMAGES_IN_MEMORY]
        fitted, sizes = torch.from_numpy(load_fitted(dataset, chunk, spec)), torch.from_numpy(sizes_of(chunk))
        for images, size in zip(torch.split(fitted, batch), torch.split(sizes, batch), strict=True):
            pooled = features_of(classifier, images.to(device)) if shown else None
            size = size.to(device)
            values = classifier(images.to(device), size) if pooled is None else logits_of(classifier, pooled, size)
            logits.append(values.float().cpu().numpy())
            features += [] if pooled is None else [pooled.float().cpu().numpy()]
            done += len(images)
            progress(done, len(records))
    classifier.cpu().to(memory_format=torch.contiguous_format)
    return np.concatenate(logits), np.concatenate(features) if features else None
