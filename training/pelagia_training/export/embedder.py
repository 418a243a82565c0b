"""`pelagia embedder`: a network of timm with its first weights as an .onnx file that computes embeddings.

Invariant: the file is written only if its embeddings are those of the network in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from pelagia import __version__
from pelagia.embeddings import EMBEDDING_TOLERANCE, relative_distance
from pelagia.errors import InputError, ParityError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.embedder import EmbedderMetadata, EmbeddingModel, read_embedding_model, write_embedder
from pelagia.model.metadata import EmbeddingOutput, new_model, refuse_model
from pelagia.shell import command_line
from pelagia.system.files import sha256_of_file
from pelagia.system.paths import StrPath
from pelagia_inference.machine.session import Session
from pelagia_training.export.parity import BATCH_SIZES
from pelagia_training.network.backbone import (
    Embedder,
    Normalized,
    build_network,
    normalization,
    require_features,
    require_fit,
)
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.network.weights import load_weights

_ANY_CLASSES = 2
_IMAGES = 9


def make_embedder(
    backbone: str,
    out: StrPath,
    *,
    weights: Path | None = None,
    size: int | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> EmbeddingModel:
    """Writes an embedder.

    Args:
        backbone: a name of timm.
        out: the .onnx file to make.
        weights: a local file with the weights; None: those of timm's hub, which needs internet access once.
        size: the side of the images in pixels; None: the size that the weights were trained with.
        report: called with a line of text for people.

    Raises:
        InputError: ``out`` exists, or the weights cannot be loaded or do not fit.
        ConfigError: timm does not know the backbone, it does not take images of this size, or it has no embedding.
        ModelError, ParityError: the network cannot be converted. No file is left behind.
    """
    refuse_model(out := Path(out))
    if weights is not None and weights.is_dir():
        make = command_line("pelagia", "export", weights, "--embedding", "--out", out)
        raise InputError(f"{weights} is a folder: name a file of weights; if it is a run of yours, use `{make}`")
    side = size or _own_size(backbone)
    classifier = _network(backbone, weights, side, report)
    report("tracing the network")
    embedder, spec = Embedder(classifier).eval(), PreprocessSpec(size=side)
    graph = to_onnx(embedder, side)
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, side, side, 3), np.uint8)
    with torch.no_grad():
        expected = embedder(torch.from_numpy(images)).numpy()
    about = EmbedderMetadata(
        name=backbone,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        pelagia_version=__version__,
        weights="timm's hub" if weights is None else weights.name,
        weights_sha256="" if weights is None else sha256_of_file(weights),
        preprocess=spec,
        normalisation={"mean": classifier.mean, "std": classifier.std},
        embedding=EmbeddingOutput(dimensions=expected.shape[1]),
    )
    with new_model(out) as candidate:
        write_embedder(candidate, graph, about)
        difference = _difference(read_embedding_model(candidate), images, expected)
        checked = about.embedding.model_copy(update={"max_difference": difference})
        write_embedder(candidate, graph, about.model_copy(update={"embedding": checked}))
    return read_embedding_model(out)


def _network(backbone: str, weights: Path | None, side: int, report: Callable[[str], None]) -> Normalized:
    """The network with its first weights. Raises as `make_embedder`."""
    network = build_network(backbone, _ANY_CLASSES, pretrained=weights is None, drop_rate=0.0, options={}, size=side)
    if weights is not None:
        load_weights(network, weights, keep_head=False, report=report)
    mean, std = normalization(network, None, None)
    classifier = Normalized(network, mean, std).eval()
    require_fit(classifier, side, backbone)
    require_features(classifier, side, backbone)
    return classifier


def _own_size(backbone: str) -> int:
    """The side of the images that the weights of timm were trained with, in pixels; 224 if timm does not say."""
    try:
        config = timm.get_pretrained_cfg(backbone)
    except RuntimeError:  # no weights have this name; building the network reports it
        config = None
    return PreprocessSpec.size if config is None else int(config.input_size[1])


def _difference(made: EmbeddingModel, images: NDArray[np.uint8], expected: NDArray[np.float32]) -> float:
    """The largest difference between the file's embeddings and ``expected``, at several batch sizes.

    Raises:
        ParityError: it is larger than `EMBEDDING_TOLERANCE`.
    """
    session, largest = Session(made.graph, embedding=True), 0.0
    for batch in BATCH_SIZES:
        found = [session.answers(images[start : start + batch]).embedding for start in range(0, len(images), batch)]
        vectors = np.concatenate([part for part in found if part is not None])
        largest = max(largest, relative_distance(vectors, expected))
    if not largest <= EMBEDDING_TOLERANCE:
        raise ParityError(
            f"the exported network does not give the embeddings of PyTorch: the largest difference is {largest:.2g} of "
            f"a vector's length (allowed: {EMBEDDING_TOLERANCE:g}); nothing was written: choose another backbone"
        )
    return largest
