"""Converts a PyTorch network to ONNX.

Invariant: the graph has a free batch axis, holds all of its weights, and holds nothing of the machine that made it: no
folder, no line of a program, no name of a user.

torch has two exporters. The newer one (``dynamo=True``) is used first; some networks, such as hiera and beit, are only
converted by the older one, which records the operations of one example.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor

from pelagia.errors import ModelError, first_line
from pelagia.model.graph import INPUT_NAME, SIZE_NAME
from pelagia.model.onnx_file import has_external_data
from pelagia_training.network.backbone import Embedder, example_inputs
from pelagia_training.network.ensemble import Exportable

_LARGEST_MODEL = 2_000_000_000  # bytes; protobuf's limit for one message
_OPSET = 18


def to_onnx(network: Exportable | Embedder, size: int) -> bytes:
    """``network`` as a serialized ONNX ModelProto with a free batch axis.

    Args:
        network: the network; its input is uint8, N x size x size x 3, RGB, 0..255.
        size: side of the images in pixels.

    Raises:
        ModelError: the network is too large for one file, or neither of torch's exporters converts it.
    """
    example = example_inputs(network.classifier, size)
    if isinstance(network, Embedder):
        example = example[:1]  # features do not depend on the size of the image
    outputs = list(network.outputs)
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if weights > _LARGEST_MODEL:
        raise ModelError(_too_large(weights))
    faults: list[str] = []
    for convert in (_by_dynamo, _by_tracing):
        try:
            with _quietly():
                proto = convert(network.eval(), example, outputs)
        except Exception as error:  # torch's exporters raise many errors, some of them with long texts
            faults.append(_cause(error))
            continue
        return _serialized(proto)
    causes = "; ".join(dict.fromkeys(faults))
    raise ModelError(f"neither of the exporters of torch {torch.__version__} converts this network ({causes})")


def without_traces(proto: Any) -> Any:
    """``proto`` without the notes of the exporter: source lines, stack traces and original names. Changed in place."""
    del proto.metadata_props[:]
    proto.doc_string = ""
    _clean_graph(proto.graph)
    for function in proto.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        _clean_nodes(function.node)
    return proto


def _clean_graph(graph: Any) -> None:
    for part in (graph, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    _clean_nodes(graph.node)


def _clean_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _clean_graph(graph)


def _by_dynamo(network: Exportable | Embedder, example: tuple[Tensor, ...], outputs: list[str]) -> Any:
    batch = {0: torch.export.Dim("N", min=1, max=4096)}
    program = torch.onnx.export(
        network,
        example,
        input_names=_inputs(example),
        output_names=outputs,
        dynamic_shapes=tuple(batch for _ in example),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return program.model_proto  # type: ignore[union-attr]


def _by_tracing(network: Exportable | Embedder, example: tuple[Tensor, ...], outputs: list[str]) -> Any:
    file, names = io.BytesIO(), _inputs(example)
    with _stderr_hidden():
        torch.onnx.export(
            network,
            example,
            file,  # type: ignore[arg-type]
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: {0: "N"} for name in (*names, *outputs)},
            opset_version=_OPSET,
            dynamo=False,
            verbose=False,
        )
    return onnx.load_from_string(file.getvalue())


@contextmanager
def _stderr_hidden() -> Iterator[None]:
    """Hides what the C++ code of the older exporter writes to the standard error, which no Python filter can."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _inputs(example: tuple[Tensor, ...]) -> list[str]:
    return [INPUT_NAME, SIZE_NAME][: len(example)]


def _serialized(proto: Any) -> bytes:
    if proto.ByteSize() > _LARGEST_MODEL:
        raise ModelError(_too_large(proto.ByteSize()))
    graph: bytes = without_traces(proto).SerializeToString()
    if has_external_data(graph):
        raise ModelError(
            "the exporter wrote weights into a second file; please report this with your versions of torch and onnx"
        )
    return graph


def _too_large(size: int) -> str:
    return (
        f"the network has {size / 1e9:.1f} GB of weights, but one .onnx file can hold only 2 GB: "
        "choose a smaller backbone"
    )


def _cause(error: BaseException) -> str:
    """The first line of the error that began a chain of errors, which says most."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return re.sub(r"\x1b\[[0-9;]*m", "", first_line(error) if isinstance(error, Exception) else type(error).__name__)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hides the warnings and the log of torch's exporters."""
    loggers: list[tuple[Callable[[int], None], int]] = []
    for name in ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir"):
        logger = logging.getLogger(name)
        loggers.append((logger.setLevel, logger.level))
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for restore, level in loggers:
            restore(level)
