"""Models that compute embeddings: any model that was exported with one, and embedders, which compute nothing else.

An embedder is one .onnx file for the time before there is a model: a network of timm with its first weights, which
knows no classes. Its document, `EmbedderMetadata`, is under `EMBEDDER_KEY`; the SHA-256 at the end of the file is that
of a model (`pelagia.model.sealed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pelagia.config import Strict
from pelagia.errors import ModelError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.graph import Graph
from pelagia.model.metadata import EmbeddingOutput, ModelFile
from pelagia.model.onnx_file import with_metadata
from pelagia.model.sealed import EMBEDDER_KEY, read_sealed, sealed
from pelagia.system.files import new_file, sha256_of
from pelagia.system.paths import StrPath


class EmbedderMetadata(Strict):
    """What an embedder says about itself."""

    schema_version: Literal[1] = 1
    name: str = Field(description="the name of the network in timm")
    created: str = Field(description="ISO 8601, UTC")
    pelagia_version: str
    weights: str = Field(description="where the weights come from: timm's hub, or the name of a file")
    weights_sha256: str = Field(default="", description="SHA-256 of that file; empty for weights of timm's hub")
    licence: str = Field(default="", description="license of the weights; empty if it is not known")
    preprocess: PreprocessSpec
    normalisation: dict[str, tuple[float, float, float]] = Field(description="mean and std in the graph, on 0..1")
    embedding: EmbeddingOutput


@dataclass(frozen=True)
class EmbeddingModel:
    """A file that computes embeddings.

    Attributes:
        name: the name of the model, or of the embedder's network.
        sha256: SHA-256 of the file, 64 hex digits.
        graph: its graph.
        embedding: what is known of its embedding.
    """

    name: str
    sha256: str
    graph: Graph
    embedding: EmbeddingOutput


def read_embedding_model(path: StrPath) -> EmbeddingModel:
    """Reads an embedder, or a model with an embedding.

    Raises:
        ModelError: as `ModelFile.read`; or the model has no embedding.
    """
    path = Path(path)
    data, entries = read_sealed(path)
    if EMBEDDER_KEY not in entries:
        return embedding_model_of(ModelFile.read(path))
    try:
        about = EmbedderMetadata.model_validate_json(entries[EMBEDDER_KEY])
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ModelError(f"what {path} says about itself cannot be read ({reason}): update Pelagia") from None
    graph = Graph(path, data, about.preprocess, (), embedding=about.embedding.dimensions)
    return EmbeddingModel(about.name, sha256_of(data), graph, about.embedding)


def embedding_model_of(model: ModelFile) -> EmbeddingModel:
    """``model`` as a file that computes embeddings. Raises ModelError if it has no embedding."""
    if model.embedding is None:
        raise ModelError(
            f"{model.path} has no embedding: export its run again with `pelagia export RUN --embedding --out NEW.onnx`"
        )
    return EmbeddingModel(model.metadata.name, model.sha256, model.graph, model.embedding)


def write_embedder(path: Path, graph: bytes, about: EmbedderMetadata) -> None:
    """Writes an embedder. The file is complete or absent. ``graph`` is a serialized ModelProto without metadata."""
    with new_file(path) as file:
        file.write(sealed(with_metadata(graph, EMBEDDER_KEY, about.model_dump_json())))
