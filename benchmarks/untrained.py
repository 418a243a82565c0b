"""Model files with untrained networks: as fast as trained ones, and made in a second."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pelagia import __version__
from pelagia.images.preprocess import PreprocessSpec, load
from pelagia.model.graph import INPUT_NAME, OUTPUT_NAME
from pelagia.model.metadata import ModelFile, ModelMetadata, Parity, ReferenceImage, write_model
from pelagia.taxonomy import taxonomy_of_names
from pelagia_inference.machine.session import Session

TINY_CLASSES = 10
TINY_SIZE = 32


def write_untrained(path: Path, graph: bytes, classes: int, spec: PreprocessSpec) -> Path:
    """Writes a model file with ``graph``, which takes uint8, N x size x size x 3, and gives probabilities."""
    names = [f"class{number:03}" for number in range(classes)]
    data = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))[1].tobytes()

    def metadata(probabilities: tuple[float, ...]) -> ModelMetadata:
        return ModelMetadata(
            name=path.stem,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            pelagia_version=__version__,
            taxonomy=taxonomy_of_names(path.stem, names),
            preprocess=spec,
            normalisation={"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
            validation_confusion=tuple((0,) * classes for _ in names),
            dataset={"name": "none", "fingerprint": "0" * 64, "counts": {name: {"train": 0} for name in names}},
            training={"model": {"backbone": "untrained"}},
            parity=Parity(images=0, batch_sizes=(1,), top1_disagreements=0, max_probability_difference=0.0),
            references=(ReferenceImage.of("noise.png", data, probabilities),),
        )

    write_model(path, graph, metadata((1 / classes,) * classes))
    answer = Session(ModelFile.read(path)).probabilities(load(data, spec)[None])[0]
    write_model(path, graph, metadata(tuple(answer.tolist())))
    return path


def write_tiny(path: Path) -> Path:
    """Two convolutions over 32 x 32 pixels: with this network, nearly all of a run is Pelagia's own work."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, TINY_CLASSES)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), n) for n, shape in shapes.items()]
    scale = numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=1),
    ]
    taken = helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["N", TINY_SIZE, TINY_SIZE, 3])
    given = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", TINY_CLASSES])
    body = helper.make_graph(nodes, "tiny", [taken], [given], [*weights, scale])
    return write_untrained(path, _serialised(body), TINY_CLASSES, PreprocessSpec(size=TINY_SIZE))


def _serialised(body: object) -> bytes:
    proto: ModelProto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data: bytes = proto.SerializeToString()
    return data
