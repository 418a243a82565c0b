"""The conversion to int8 of graphs whose shapes ONNX Runtime's symbolic inference does not know."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pelagia_training.export import precision
from pelagia_training.export.precision import to_int8
from pelagia_training.network.backbone import Deployed, Normalized, build_network
from pelagia_training.network.onnx_graph import to_onnx

SIZE = 32
BATCH = (np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8), np.zeros((4, 3), np.float32))


def test_a_graph_that_symbolic_shape_inference_does_not_know_is_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = precision.quant_pre_process

    def incomplete(model: Any, prepared: Path, **options: Any) -> None:
        """As ONNX Runtime: it leaves a file in the current folder and fails."""
        if not options.get("skip_symbolic_shape"):
            Path("sym_shape_infer_temp.onnx").write_bytes(b"left")
            raise TypeError("object of type 'NoneType' has no len()")
        real(model, prepared, **options)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision, "quant_pre_process", incomplete)
    network = build_network("test_resnet", 3, pretrained=False, drop_rate=0.0, options={})
    graph = to_onnx(Deployed(Normalized(network, (0.5,) * 3, (0.5,) * 3)), SIZE)
    small = onnx.load_from_string(to_int8(graph, [BATCH]))
    assert any(node.op_type == "QuantizeLinear" for node in small.graph.node)
    assert list(tmp_path.iterdir()) == []
