"""A network that takes long for a batch is waited for, and a decoder that hangs is not."""

import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME, Graph
from pelagia_inference.workers.pool import WorkerPool
from pelagia_inference.workers.protocol import Response

_SIDE = 1200


def slow_graph(seconds: float) -> Graph:
    """A graph that takes at least so many seconds for each batch, on one core of this machine."""
    a = np.ones((_SIDE, _SIDE), np.float32)
    start = time.perf_counter()
    for _ in range(3):
        a @ a
    rounds = int(seconds / ((time.perf_counter() - start) / 3)) * 2 + 1  # numpy may use several cores
    float_matrix = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT, shape=[_SIDE, _SIDE])
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["still"]),
            helper.make_node("MatMul", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            float_matrix("before"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), float_matrix("after")],
    )
    constants = [
        helper.make_tensor("rounds", TensorProto.INT64, [], [rounds]),
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("half", TensorProto.FLOAT, [1, 2], [0.5, 0.5]),
        helper.make_tensor("sides", TensorProto.INT64, [2], [_SIDE, _SIDE]),
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
    ]
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        helper.make_node("Expand", ["nothing", "sides"], ["matrix"]),
        helper.make_node("Loop", ["rounds", "true", "matrix"], ["last"], body=body),
        helper.make_node("ReduceMax", ["last"], ["still_nothing"], keepdims=0),
        helper.make_node("ReduceMean", ["float", "axes"], ["each"], keepdims=0),
        helper.make_node("Mul", ["each", "still_nothing"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "axis"], ["column"]),
        helper.make_node("Add", ["column", "half"], [OUTPUT_NAME]),
    ]
    constants.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["n", 16, 16, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return Graph(Path("slow.onnx"), made.SerializeToString(), PreprocessSpec(size=16), ("a", "b"))


def answer(graph: Graph, readers: list[Any], timeout: float) -> Response:
    from pelagia_inference.machine.setting import Setting

    with WorkerPool(SimpleNamespace(graph=graph), "cpu", Setting(1, 1, 4), timeout) as pool:
        return pool.submit([[(reader, 0.0) for reader in readers]]).result()


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((20, 20, 3), 9, np.uint8))
    return str(path)


def test_a_network_slower_than_the_timeout_is_waited_for(image: str) -> None:
    start = time.monotonic()
    found = answer(slow_graph(seconds=5), [image, image], timeout=4)
    assert time.monotonic() - start > 4
    assert [outcome.reason for outcome in found.outcomes] == ["", ""]
    assert found.probabilities.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_reader_that_hangs_beside_a_slow_network_is_found(image: str) -> None:
    found = answer(slow_graph(seconds=0.1), [image, partial(time.sleep, 1000), image], timeout=4)
    assert [outcome.reason for outcome in found.outcomes] == ["", "timed_out", ""]
