"""The part of a model file that a worker process needs: its graph and its preprocessing.

`pelagia.model.metadata` defines the rest. A worker process imports this module, but neither the metadata nor pydantic,
so it starts sooner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pelagia.images.preprocess import PreprocessSpec

INPUT_NAME = "image"
SIZE_NAME = "size"
OUTPUT_NAME = "probabilities"
UNKNOWN_NAME = "unknown"
EMBEDDING_NAME = "embedding"


@dataclass(frozen=True, slots=True)
class Graph:
    """A serialized ONNX graph.

    Attributes:
        path: the path of the model file.
        data: the serialized ModelProto.
        preprocess: how images are prepared for it.
        classes: the names of its classes, in the order of the probabilities; empty for a graph without probabilities,
            which only computes embeddings.
        scores_unknown: whether it has the output `UNKNOWN_NAME`, the out-of-distribution score.
        embedding: the length of a vector of the output `EMBEDDING_NAME`; 0 if the graph has no such output.
    """

    path: Path
    data: bytes = field(repr=False)
    preprocess: PreprocessSpec
    classes: tuple[str, ...]
    scores_unknown: bool = False
    embedding: int = 0
