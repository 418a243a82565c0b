"""Converts a float ONNX graph to int8 or half precision. The first and the last operations stay in float32.

Invariant: the following nodes compute in float32:

- the nodes between the input and the first layer with weights (the cast and the normalization);
- the nodes after the last layer with weights (temperatures and softmax);
- the nodes that are computed from the image's size, which is only a few numbers per image;
- in int8 also the last layer, the classifier: it takes little time, and its rounding errors would change the
  probabilities directly;
- in a model with an out-of-distribution score, all nodes that are computed from the features, because the score is a
  small difference between large numbers.

Int8 uses the QDQ form: activations are uint8, weights are int8 with one scale per output channel, and the ranges are
measured on calibration images. A CPU without VNNI adds two products of 8 bits in 16 bits and saturates, which changed a
probability by up to 0.21. So weights use 7 bits: no sum overflows, and every x86 CPU computes the same result.
Depthwise convolutions are computed differently. They never overflow, and they lose accuracy with 7 bits, so their
weights use 8 bits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
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

from pelagia.errors import ModelError, first_line
from pelagia.model.graph import EMBEDDING_NAME, INPUT_NAME, OUTPUT_NAME, SIZE_NAME, UNKNOWN_NAME
from pelagia_training.network.onnx_graph import without_traces

_OUTPUTS = {OUTPUT_NAME, UNKNOWN_NAME, EMBEDDING_NAME}
_WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
Batch = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Pixels (uint8, N x size x size x 3, RGB, 0..255), and image sizes (float32, N x 3) for models that take sizes."""
_HALF, _FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


def is_float(graph: bytes) -> bool:
    """Whether a serialized ModelProto holds neither quantized nor half-precision values."""
    body = onnx.load_from_string(graph).graph
    quantized = any(node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv") for node in body.node)
    return not quantized and all(tensor.data_type != _HALF for tensor in body.initializer)


def to_int8(graph: bytes, batches: Iterable[Batch]) -> bytes:
    """The graph in int8, as a serialized ModelProto.

    Args:
        graph: serialized ModelProto of a float model that `pelagia export` made.
        batches: calibration images, which determine the range of every activation.

    Raises:
        ModelError: ONNX Runtime cannot quantize this network.
    """
    with TemporaryDirectory(prefix="pelagia-quantize-") as folder, _errors_as_one_line("quantize"):
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        _infer_shapes(graph, prepared)
        proto = onnx.load(prepared)
        _name_nodes(proto.graph)
        onnx.save(proto, prepared)
        quantize_static(
            prepared,
            quantized,
            _CalibrationReader(batches, {value.name for value in proto.graph.input}),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[
                *_nodes_that_need_float(proto.graph),
                *_first_nodes(proto.graph),
                *_last_nodes(proto.graph, with_layer=True),
            ],
            extra_options={"TensorQuantOverrides": _eight_bits_for_depthwise(proto.graph)},
        )
        return _serialized(onnx.load(quantized))


def _infer_shapes(graph: bytes, prepared: Path) -> None:
    """Writes the graph, optimized and with the shapes of its values, which the quantizer needs, to ``prepared``.

    ONNX Runtime's symbolic inference knows most shapes, but fails on some operators, and then leaves files in the
    current folder. In this case, the shapes that the onnx package infers are used.
    """
    try:
        with chdir(prepared.parent):
            quant_pre_process(onnx.load_from_string(graph), prepared)
    except Exception:  # it raises many errors for operators that it does not know
        given = prepared.with_name("given.onnx")
        given.write_bytes(graph)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)


def to_fp16(graph: bytes) -> bytes:
    """The graph in half precision, as a serialized ModelProto; its input and outputs keep their types.

    Args:
        graph: serialized ModelProto of a float model that `pelagia export` made.

    Raises:
        ModelError: ONNX Runtime cannot convert this network.
    """
    with _errors_as_one_line("convert"):
        proto = onnx.load_from_string(graph)
        _name_nodes(proto.graph)
        del proto.graph.value_info[:]  # it lists constants too, and the converter would take them for half precision
        float_nodes = [*_first_nodes(proto.graph), *_last_nodes(proto.graph, with_layer=False)]
        half = ONNXModel(convert_float_to_float16(proto, keep_io_types=True, node_block_list=float_nodes))
        half.topological_sort()
        _remove_double_casts(half.model.graph)
        return _serialized(half.model)


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Gives the batches to ONNX Runtime one after the other, under the names of the graph's inputs."""

    def __init__(self, batches: Iterable[Batch], names: set[str]) -> None:
        self._batches = iter(batches)
        self._names = names

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        named: dict[str, NDArray[Any]] = {INPUT_NAME: batch[0], SIZE_NAME: batch[1]}
        return {name: values for name, values in named.items() if name in self._names}


def _nodes_that_need_float(graph: Any) -> list[str]:
    """Names of nodes for which 8 bits are too coarse: softmax, and a transformer's additions and normalizations."""
    operators = {node.op_type for node in graph.node}
    excluded = {"Softmax", "LayerNormalization", *(["Add"] if "LayerNormalization" in operators else [])}
    return [node.name for node in graph.node if node.op_type in excluded]


def _eight_bits_for_depthwise(graph: Any) -> dict[str, list[dict[str, Any]]]:
    """The option of ONNX Runtime that keeps 8 bits for each weight of a depthwise convolution."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    overrides = {}
    for node in graph.node:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.op_type == "Conv" and groups > 1 and shapes.get(node.input[1], ())[:2] == (groups, 1):
            overrides[node.input[1]] = [{"axis": 0, "reduce_range": False}]
    return overrides


def _name_nodes(graph: Any) -> None:
    """Names the nodes without a name, because nodes are excluded from the conversion by name."""
    numbers = count()
    for node in graph.node:
        node.name = node.name or f"unnamed_{next(numbers)}"


def _first_nodes(graph: Any) -> list[str]:
    """Names of all nodes between the input and the first layers with weights, and of all nodes that use the size."""
    from_size = _nodes_along(graph.node, SIZE_NAME, "input", "output", past_layers=True)[0]
    return [*_nodes_along(graph.node, INPUT_NAME, "input", "output")[0], *from_size]


def _last_nodes(graph: Any, *, with_layer: bool) -> list[str]:
    """Names of the nodes between the last layers with weights and the output.

    With ``with_layer``, the names of these layers are included. If the graph computes an out-of-distribution score, the
    result of `_nodes_from_features` is returned.
    """
    names, layers = _nodes_along(graph.node, OUTPUT_NAME, "output", "input")
    if UNKNOWN_NAME in (value.name for value in graph.output):
        return _nodes_from_features(graph, layers)
    return [*names, *layers] if with_layer else names


def _nodes_from_features(graph: Any, last_layers: Sequence[str]) -> list[str]:
    """Names of all nodes that depend on the last layer's input, and of the nodes that prepare constants for them."""
    values = {node.input[0] for node in graph.node if node.name in last_layers}
    dependent = []
    for node in graph.node:
        if not values.isdisjoint(node.input):
            dependent.append(node)
            values.update(node.output)
    constants = {tensor.name for tensor in graph.initializer}
    inputs = {name for node in dependent for name in node.input}
    prepare = [node for node in graph.node if constants.issuperset(node.input) and not inputs.isdisjoint(node.output)]
    return [node.name for node in (*dependent, *prepare)]


def _nodes_along(
    nodes: Sequence[Any], start: str, near: str, far: str, *, past_layers: bool = False
) -> tuple[list[str], list[str]]:
    """Names of the nodes on all paths from a value to the next layers with weights, and names of these layers.

    Args:
        nodes: the nodes of a graph, in topological order.
        start: name of the value.
        near: "input" to follow the paths forward, "output" to follow them backward.
        far: "output" if ``near`` is "input", and "input" if ``near`` is "output".
        past_layers: whether the paths continue past the layers with weights.
    """
    passed, layers, values = [], [], {start}
    for node in nodes if near == "input" else reversed(nodes):  # the nodes are sorted, so one pass is enough
        if values.isdisjoint(getattr(node, near)) or node.op_type == "Shape":  # Shape nodes connect distant nodes
            continue
        if node.op_type in _WITH_WEIGHTS and not past_layers:
            layers.append(node.name)
        else:
            passed.append(node.name)
            values.update(getattr(node, far))
    return passed, layers


def _remove_double_casts(graph: Any) -> None:
    """Removes the casts float -> half -> float between two nodes that both compute in float."""
    producers = {name: node for node in graph.node for name in node.output}
    for node in list(graph.node):
        before = producers.get(node.input[0]) if _casts_to(node, _FLOAT) else None
        if before is None or not _casts_to(before, _HALF):
            continue
        value, copy = before.input[0], node.output[0]
        graph.node.remove(node)
        if copy in _OUTPUTS:
            value, copy = copy, value
            _rename(producers[copy].output, copy, value)
        for consumer in graph.node:
            _rename(consumer.input, copy, value)
    used = {name for node in graph.node for name in node.input} | _OUTPUTS
    for node in list(graph.node):
        if node.op_type == "Cast" and node.output[0] not in used:
            graph.node.remove(node)


def _casts_to(node: Any, data_type: int) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i == data_type for attribute in node.attribute
    )


def _rename(names: Any, old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _serialized(proto: Any) -> bytes:
    """The bytes of a checked ModelProto, without the unused domains and the metadata that ONNX Runtime's tools add."""
    used = {node.domain for node in proto.graph.node} | {""}
    domains = [opset for opset in proto.opset_import if opset.domain in used]
    del proto.opset_import[:], proto.graph.value_info[:]
    proto.opset_import.extend(domains)
    onnx.checker.check_model(without_traces(proto), full_check=True)
    data: bytes = proto.SerializeToString()
    return data


@contextmanager
def _errors_as_one_line(verb: str) -> Iterator[None]:
    """Turns any exception of ONNX Runtime's tools into a ModelError of one line, and hides their log messages."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except Exception as error:
        fault = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"ONNX Runtime cannot {verb} this network ({fault}): use the float model") from error
    finally:
        logging.disable(before)
