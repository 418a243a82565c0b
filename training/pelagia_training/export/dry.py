"""The dry export: whether a network can be exported is known before it is trained.

The untrained network is converted to ONNX and compared with PyTorch on a few images, as the parity gate does at the end
(`pelagia_training.export.parity`). It takes seconds. No file is written, and the network and the random numbers of the
run stay as they are.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import ConfigError, ModelError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.graph import Graph
from pelagia_inference.machine.session import Answers, Session
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import load_fitted, sizes_of, spread
from pelagia_training.export.parity import answers_of, compare
from pelagia_training.network.backbone import Deployed, Normalized, features_of, require_features, shows_features
from pelagia_training.network.onnx_graph import to_onnx
from pelagia_training.network.unknown import Vim, VirtualLogit

IMAGES = 9
"""The number of images: one more than the largest batch of the gate, so that an incomplete batch is compared too."""
_TOLERANCE = 1e-2
"""Largest difference of a probability, and of a score as a share of the largest score. The logits of an untrained
network are stretched, and so are their rounding errors; a graph that computes something else differs by much more."""


def check_export(
    config: TrainConfig, dataset: Dataset, rows: Sequence[Record], network: Normalized, report: Callable[[str], None]
) -> None:
    """Checks on a few images of ``rows`` that the network of a run can be exported: see `require_export`.

    Args:
        config: the run's config.
        dataset: the dataset of the images.
        rows: the images.
        network: the untrained network, on the CPU.
        report: called with a line of text for people.

    Raises:
        ConfigError: the network cannot be exported, so that no time should be spent on its training.
    """
    records = spread(rows, IMAGES)
    pixels = load_fitted(dataset, records, config.preprocess)
    inputs: list[Any] = [pixels, sizes_of(records)] if config.model.size else [pixels]
    require_export(
        network,
        config.model.backbone,
        config.preprocess,
        inputs,
        scored=config.decision.unknown,
        embedding=config.model.embedding,
        report=report,
    )


def require_export(
    classifier: Normalized,
    backbone: str,
    spec: PreprocessSpec,
    inputs: Sequence[NDArray[Any]],
    *,
    scored: bool = True,
    embedding: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Exports the untrained network and compares its outputs in ONNX Runtime with those in PyTorch.

    Args:
        classifier: the network, on the CPU; ``backbone`` is its name, for the message.
        spec: the run's preprocessing.
        inputs: N fitted images, uint8, N x S x S x 3, RGB, 0..255; and if the network takes sizes, float32, N x 3.
        scored: whether the model will have an out-of-distribution score.
        embedding: whether the model will give embeddings.
        report: called with a line of text for people.

    Raises:
        ConfigError: the network cannot be exported, or its outputs differ.
    """
    report(f"checking that {backbone} can be exported (skip it with --no-export)")
    if embedding:
        require_features(classifier, spec.size, backbone)
    began = time.monotonic()
    tensors = [torch.from_numpy(array) for array in inputs]
    with torch.random.fork_rng(), torch.no_grad():
        whole = copy.deepcopy(classifier).to(memory_format=torch.contiguous_format)
        network = _deployed(whole, tensors, scored, embedding)
        expected = answers_of(network, network(*tensors))
    try:
        fault = _fault(network, spec, tensors, expected)
    except ModelError as error:
        fault = str(error)
    if fault:
        advice = "choose another model.backbone, or train without a model file with --no-export"
        raise ConfigError("model.backbone", [f"{backbone} cannot be exported: {fault}: {advice}"])
    report(f"{backbone} can be exported: checked in {time.monotonic() - began:.0f} s")


def _deployed(classifier: Normalized, inputs: Sequence[Tensor], scored: bool, embedding: bool) -> Deployed:
    """The graph to export, with a temperature that spreads the untrained logits, and any subspace for the score."""
    _settle(classifier, inputs)
    logits = classifier.eval()(*inputs)
    width = float((logits - logits.mean(1, keepdim=True)).std())
    virtual = None
    if scored and shows_features(classifier, inputs[0][:2]):
        dimensions = features_of(classifier, inputs[0][:2]).shape[1]
        half = np.eye(dimensions, max(1, dimensions // 2), dtype=np.float32)
        virtual = VirtualLogit(Vim(np.zeros(dimensions, np.float32), half, 1.0))
    width = width if math.isfinite(width) and width > 0 else 1.0
    return Deployed(classifier, width, virtual, embedding=embedding).eval()


def _settle(classifier: Normalized, inputs: Sequence[Tensor]) -> None:
    """Sets the statistics of batch normalization from the images: without them, an untrained network can overflow."""
    norms = [module for module in classifier.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, here of one
    pixels, *sizes = inputs
    if len(pixels) == 1:  # batch normalization refuses a single value: the negative of the image is the second one
        pixels, sizes = torch.cat((pixels, 255 - pixels)), [torch.cat((one, one)) for one in sizes]
    classifier.train()(pixels, *sizes)


def _fault(network: Deployed, spec: PreprocessSpec, inputs: Sequence[Tensor], expected: Answers) -> str:
    """What is wrong with the exported graph; empty if its outputs are those of ``network``."""
    classes = tuple(map(str, range(expected.probabilities.shape[1])))
    data = to_onnx(network, spec.size)
    length = 0 if expected.embedding is None else expected.embedding.shape[1]
    graph = Graph(Path("the exported graph"), data, spec, classes, network.unknown is not None, length)
    session = Session(graph, embedding=True)
    pixels = inputs[0].numpy()
    sizes = inputs[1].numpy() if len(inputs) > 1 else np.zeros((len(pixels), 3), np.float32)
    if not np.isfinite(expected.probabilities).all():
        return ""  # an untrained network may overflow, and then there is nothing to compare
    found = compare(session, pixels, sizes, expected)
    if not found.probability <= _TOLERANCE:
        return f"a probability differs by {found.probability:.2g} from that in PyTorch"
    if expected.unknown is not None and not found.score <= _TOLERANCE * max(1.0, np.abs(expected.unknown).max()):
        return f"an out-of-distribution score differs by {found.score:.2g} from that in PyTorch"
    if not found.embedding <= _TOLERANCE:
        return f"an embedding differs by {found.embedding:.2g} of its length from that in PyTorch"
    return ""
