"""A float ONNX graph -> the same network in int8 or half precision. Its ends stay as they are.

Invariant: what lies between the input and the first layer with weights (the cast and the normalisation), and what
follows the last such layer (temperatures and softmax), computes in float32, and so does all that is made of the size,
which is a few numbers an image. In int8 the last layer, the classifier, stays float as well: it costs next to no time,
and its rounding would go straight into the probabilities. Where there is a score of the unknown, so does in both all
that is computed from the features: the score is a small difference of them.

Int8 is QDQ form: activations uint8, weights int8 with a scale for each output channel, ranges from calibration images.
A CPU without VNNI adds two products of 8 bits in 16 and cuts off what does not fit, which moved a probability by up to
0.21. So weights take 7 bits, where no sum can overflow, and every x86 CPU computes the same. Depthwise convolutions are
computed in another way, never overflow, and suffer from 7 bits: they keep 8.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from pelagia.errors import ModelError
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME

_OUTPUTS = {OUTPUT_NAME, UNKNOWN_NAME}
_WEIGHTED = ("Conv", "Gemm", "MatMul")
Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""uint8, N x size x size x 3, and sizes, float32, N x 3; these are for the models that take them."""
_HALF, _FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def is_float(graph: bytes) -> bool:
    """Whether a serialised ModelProto holds neither quantised nor half-precision values."""
    body = onnx.load_from_string(graph).graph
    quantised = any(node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in body.node)
    return not quantised and all(tensor.data_type != _HALF for tensor in body.initializer)


def to_int8(graph: bytes, batches: Iterable[Batch]) -> bytes:
    """The graph in int8.

    Args:
        graph: serialised ModelProto of a float model of ours.
        batches: calibration images; every activation's range is what it takes on them.

    Raises:
        ModelError: ONNX Runtime cannot quantise this network.
    """
    with TemporaryDirectory(prefix="pelagia-quantize-") as folder, _first_sentence("quantise"):
        prepared, quantised = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(onnx.load_from_string(graph), prepared)
        proto = onnx.load(prepared)
        _name_nodes(proto.graph)
        onnx.save(proto, prepared)
        quantize_static(
            prepared,
            quantised,
            _Reader(batches, {one.name for one in proto.graph.input}),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[*_too_fine(proto.graph), *_front(proto.graph), *_end(proto.graph, with_layer=True)],
            extra_options={"TensorQuantOverrides": _all_bits_of_depthwise(proto.graph)},
        )
        return _serialised(onnx.load(quantised))


def to_fp16(graph: bytes) -> bytes:
    """The graph in half precision, its input and output of the same types as before.

    Raises:
        ModelError: ONNX Runtime cannot convert this network.
    """
    with _first_sentence("convert"):
        proto = onnx.load_from_string(graph)
        _name_nodes(proto.graph)
        del proto.graph.value_info[:]  # it also tells the types of constants, which would then be taken for half ones
        ends = [*_front(proto.graph), *_end(proto.graph, with_layer=False)]
        half = ONNXModel(convert_float_to_float16(proto, keep_io_types=True, node_block_list=ends))
        half.topological_sort()
        _join_casts(half.model.graph)
        return _serialised(half.model)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches under the names of the inputs that there are, as ONNX Runtime asks for them."""

    def __init__(self, batches: Iterable[Batch], names: set[str]) -> None:
        self._batches = iter(batches)
        self._names = names

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        named: dict[str, NDArray[Any]] = {INPUT_NAME: batch[0], SIZE_NAME: batch[1]}
        return {name: values for name, values in named.items() if name in self._names}


def _too_fine(graph: Any) -> list[str]:
    """Names of nodes whose values 8 bits do not hold: softmax; and what a transformer sums up and normalises."""
    kinds = {node.op_type for node in graph.node}
    never = {"Softmax", "LayerNormalization", *(["Add"] if "LayerNormalization" in kinds else [])}
    return [node.name for node in graph.node if node.op_type in never]


def _all_bits_of_depthwise(graph: Any) -> dict[str, list[dict[str, Any]]]:
    """What tells ONNX Runtime to keep 8 bits, for each weight of a depthwise convolution."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        groups = next((one.i for one in node.attribute if one.name == "group"), 1)
        if node.op_type == "Conv" and groups > 1 and shapes.get(node.input[1], ())[:2] == (groups, 1):
            found[node.input[1]] = [{"axis": 0, "reduce_range": False}]
    return found


def _name_nodes(graph: Any) -> None:
    """Nodes are excluded by name, and a name may be missing."""
    numbers = count()
    for node in graph.node:
        node.name = node.name or f"unnamed_{next(numbers)}"


def _front(graph: Any) -> list[str]:
    """Names of the nodes between the input and the first layers with weights, and of all that is made of the size."""
    made_of_size = _walk(graph.node, SIZE_NAME, "input", "output", through=True)[0]
    return [*_walk(graph.node, INPUT_NAME, "input", "output")[0], *made_of_size]


def _end(graph: Any, *, with_layer: bool) -> list[str]:
    """Names of the nodes between the last layers with weights and the output; and of these layers on request."""
    names, layers = _walk(graph.node, OUTPUT_NAME, "output", "input")
    if UNKNOWN_NAME in (one.name for one in graph.output):
        return _from_features(graph, layers)
    return [*names, *layers] if with_layer else names


def _from_features(graph: Any, last_layers: Sequence[str]) -> list[str]:
    """Names of all nodes that depend on what the last layer takes, and of those that prepare constants for them."""
    values = {node.input[0] for node in graph.node if node.name in last_layers}
    after = []
    for node in graph.node:
        if not values.isdisjoint(node.input):
            after.append(node)
            values.update(node.output)
    constants = {tensor.name for tensor in graph.initializer}
    taken = {name for node in after for name in node.input}
    prepare = [node for node in graph.node if constants.issuperset(node.input) and not taken.isdisjoint(node.output)]
    return [node.name for node in (*after, *prepare)]


def _walk(
    nodes: Sequence[Any], start: str, near: str, far: str, *, through: bool = False
) -> tuple[list[str], list[str]]:
    """Names of the nodes that are met on all ways from a value, and of the layers with weights where the ways end.

    Args:
        through: no layer ends a way.
    """
    passed, layers, values = [], [], {start}
    for node in nodes if near == "input" else reversed(nodes):  # a graph is sorted: one pass suffices
        if values.isdisjoint(getattr(node, near)) or node.op_type == "Shape":  # shapes reach all over a graph
            continue
        if node.op_type in _WEIGHTED and not through:
            layers.append(node.name)
        else:
            passed.append(node.name)
            values.update(getattr(node, far))
    return passed, layers


def _join_casts(graph: Any) -> None:
    """Removes float -> half -> float between two nodes that both compute in float."""
    makers = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        before = makers.get(node.input[0]) if _casts_to(node, _FLOAT) else None
        if before is None or not _casts_to(before, _HALF):
            continue
        value, copy = before.input[0], node.output[0]
        graph.node.remove(node)
        if copy in _OUTPUTS:
            value, copy = copy, value
            _rename(makers[copy].output, copy, value)
        for reader in graph.node:
            _rename(reader.input, copy, value)
    read = {name for node in graph.node for name in node.input} | _OUTPUTS
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] not in read:
            graph.node.remove(node)


def _casts_to(node: Any, kind: int) -> bool:
    return node.op_type == "Cast" and any(one.name == "to" and one.i == kind for one in node.attribute)


def _rename(names: Any, old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _serialised(proto: Any) -> bytes:
    """Valid, whole, and without what ONNX Runtime's tools noted down: unused domains and metadata of theirs."""
    used = {node.domain for node in proto.graph.node} | {""}
    domains = [one for one in proto.opset_import if one.domain in used]
    del proto.opset_import[:], proto.metadata_props[:], proto.graph.value_info[:]
    proto.opset_import.extend(domains)
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString()
    return data


@contextmanager
def _first_sentence(verb: str) -> Iterator[None]:
    """Silences the tools' advice to programmers, and turns what they raise, which may be anything, into one line."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ModelError(
            f"ONNX Runtime cannot {verb} this network ({type(error).__name__}: {first}): use the float model"
        ) from error
    finally:
        logging.disable(before)
