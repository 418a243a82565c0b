"""The MODEL: one .onnx file with everything that is needed to use it. This module is its only definition.

Graph: the input ``image`` is uint8, N x size x size x 3, RGB, 0..255, the result of `pelagia.images.preprocess.load`.
The output ``probabilities`` is float32, N x classes, each row summing to 1. Most models also have the output
``unknown``, float32, N: the out-of-distribution score, which is higher for an image that is less like the training
images. A model that was exported with an embedding has the output ``embedding``, float32, N x D: the input of the last
layer, which is similar for similar images. N is free. The graph itself casts, normalizes, runs the network and applies
the temperatures and the softmax.

A model that was trained with the size of the images has a second input, ``size``, float32, N x 3: width and height of
the image before it was fitted, in pixels, and the length of a pixel's side in micrometers
(`pelagia.images.pixel_size`). 0 means unknown. The graph takes the logarithms and normalizes them.

Metadata: one JSON document, `ModelMetadata`, under the key `METADATA_KEY`; `pelagia.model.sealed` says how the
file shows any change. What is known of the output ``embedding`` is a second document, `EmbeddingOutput`, under
`EMBEDDING_KEY`. Three more are `pelagia.model.policies.Policies`, what is needed to correct counts,
`pelagia.model.counting.Counting`, and the runs that an ensemble was made of, `pelagia.model.ensemble.Ensemble`.
Programs that do not know them read the model as before.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from pelagia.config import Schema, Strict
from pelagia.errors import ModelError, newer_schema
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.counting import COUNTING_KEY, Counting
from pelagia.model.decision import Decider, Decision
from pelagia.model.ensemble import ENSEMBLE_KEY, Ensemble
from pelagia.model.graph import Graph
from pelagia.model.onnx_file import with_metadata
from pelagia.model.policies import POLICIES_KEY, Policies
from pelagia.model.sealed import EMBEDDER_KEY, METADATA_KEY, read_sealed, sealed
from pelagia.system.files import new_file, refuse_existing_file, sha256_of
from pelagia.system.paths import StrPath
from pelagia.taxonomy import Taxonomy

EMBEDDING_KEY = "pelagia_embedding"
TOLERANCE = 1e-4
"""Largest allowed difference of a probability, if the metadata of the model has no tolerance."""


class Calibration(Strict):
    """The temperatures of the graph, and the calibration error of the probabilities before and after calibration.

    The expected calibration error compares the probability of the likeliest class with the share of images for which
    it is right, in bins with equal numbers of images. All metrics are measured on the validation split; the metrics
    after calibration are measured on images whose groups were not used in the fit.
    """

    temperatures: tuple[float, ...] = Field(description="one for each class; they divide the logits minus their mean")
    images: int
    bins: int
    error_before: float = Field(description="expected calibration error with every temperature 1")
    error: float
    error_by_chance: float = Field(description="error that a perfectly calibrated model would have by chance")
    likelihood_before: float = Field(description="mean negative log-likelihood with every temperature 1")
    likelihood: float


class Unknown(Strict):
    """How to use the output ``unknown``, the out-of-distribution score.

    ``vim`` is virtual-logit matching (Wang et al. 2022): the norm of the part of an image's features that is outside
    the principal subspace of the training images, scaled to a virtual logit, minus the log-sum-exp of the logits. Here
    the virtual logit is multiplied by ``weight``.
    """

    method: Literal["vim"] = "vim"
    dimensions: int = Field(description="number of dimensions of the principal subspace")
    principal_share: float = Field(description="share of the variance of the training features in that subspace")
    weight: float
    known_share: float = Field(description="share of the validation images with a score below the threshold")
    threshold: float = Field(description="an image with a higher score belongs to none of the classes")
    tolerance: float = Field(gt=0, description="largest allowed difference of a reference image's score")


class ReferenceImage(Strict):
    """An image of the validation split, with its original bytes, and the outputs that the model must compute for it.

    In an exported model they are the outputs of the trained network; in a quantized model, those of the model itself.
    """

    name: str
    sha256: str
    base64: str
    probabilities: tuple[float, ...]
    unknown: float | None = None
    pixel_size_um: float = Field(default=0.0, ge=0, description="0: unknown")

    @field_validator("base64")
    @classmethod
    def _decodable(cls, text: str) -> str:
        try:
            base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"not base64: {error}") from None
        return text

    @property
    def data(self) -> bytes:
        """The encoded image."""
        return base64.b64decode(self.base64)

    @classmethod
    def of(
        cls,
        name: str,
        data: bytes,
        probabilities: tuple[float, ...],
        unknown: float | None = None,
        pixel_size_um: float = 0.0,
    ) -> ReferenceImage:
        """A reference image from its encoded bytes ``data`` and its expected outputs."""
        return cls(
            name=name,
            sha256=sha256_of(data),
            base64=base64.b64encode(data).decode(),
            probabilities=probabilities,
            unknown=unknown,
            pixel_size_um=pixel_size_um,
        )


class Parity(Strict):
    """The result of the parity gate at export: the trained network compared with this file in ONNX Runtime."""

    images: int
    batch_sizes: tuple[int, ...]
    top1_disagreements: int
    max_probability_difference: float
    max_unknown_difference: float | None = None


class EmbeddingOutput(Strict):
    """The output ``embedding`` of a graph.

    Its values are the network's pooled features, which the last layer turns into logits. If a model averages several
    orientations of an image, the embedding is the mean over them as well. Vectors have any length.
    """

    schema_version: Literal[1] = 1
    dimensions: int = Field(ge=1, description="D, the length of a vector")
    orientations: int = Field(default=1, ge=1, description="number of views of an image whose features are averaged")
    max_difference: float | None = Field(
        default=None,
        description="parity gate: largest distance between the vectors in PyTorch and in ONNX Runtime, as a share of "
        "the vector's length; null: not compared, as in a quantized model",
    )


class Quantization(Strict):
    """The result of the quantization gate: the float model compared with this file, on a validation split."""

    kind: Literal["int8", "fp16"]
    float_sha256: str = Field(description="SHA-256 of the float model that it was made from")
    dataset: str = Field(description="name of the dataset for the calibration and the gate")
    fingerprint: str = Field(description="fingerprint of that dataset")
    calibration_images: int = Field(description="images of the training split used for calibration; 0 if none")
    images: int = Field(description="images of the validation split that the gate compared")
    top1_agreement: float = Field(description="share of those images for which both models give the same class")
    float_macro_f1: float
    macro_f1: float


class ModelMetadata(Strict):
    """Everything that a user of the model needs to know, and how its metrics were measured.

    Schema 2 has ``calibration``, ``unknown`` and a decision by thresholds; schema 1 has none of them.
    """

    schema_version: Literal[1, 2] = 2
    name: str
    created: str = Field(description="ISO 8601, UTC")
    pelagia_version: str
    licence: str = Field(default="", description="license of the weights; empty if it was not given")
    taxonomy: Taxonomy
    preprocess: PreprocessSpec
    normalisation: dict[str, tuple[float, float, float]] = Field(description="mean and std in the graph, on 0..1")
    temperature: float = Field(default=1.0, gt=0, description="geometric mean of the temperatures in the graph")
    calibration: Calibration | None = Field(default=None, description="null: `temperature` holds for every class")
    decision: Decision = Decision()
    unknown: Unknown | None = Field(default=None, description="null: the graph has no such output")
    validation_confusion: tuple[tuple[int, ...], ...] = Field(description="counts; rows: labels; columns: predictions")
    metrics: dict[str, float] = Field(default={})
    dataset: dict[str, Any] = Field(description="name, fingerprint and counts of the dataset")
    training: dict[str, Any] = Field(description="the config of the training run")
    parity: Parity
    quantisation: Quantization | None = Field(
        default=None, description="null: a float model. Else metrics, confusion and parity are those of the float model"
    )
    tolerance: float = Field(
        default=TOLERANCE, gt=0, le=0.1, description="largest allowed difference of a reference image's probability"
    )
    references: tuple[ReferenceImage, ...] = Field(min_length=1)

    @field_validator("preprocess", mode="before")
    @classmethod
    def _before_jpegs_were_reduced(cls, value: Any) -> Any:
        """A model without this key was trained on images decoded at full size."""
        return {"jpeg_scale": "full", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_probability_a_class(self) -> ModelMetadata:
        for reference in self.references:
            if len(reference.probabilities) != len(self.classes):
                found, wanted = len(reference.probabilities), len(self.classes)
                raise ValueError(f"'{reference.name}' has {found} probabilities, but there are {wanted} classes")
            if (reference.unknown is None) != (self.unknown is None):
                raise ValueError(
                    f"'{reference.name}' and the model do not agree whether there is an out-of-distribution score"
                )
        return self

    @property
    def decider(self) -> Decider:
        """The rule that turns probabilities and scores into verdicts."""
        return Decider(self.taxonomy, self.decision, None if self.unknown is None else self.unknown.threshold)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities."""
        return self.taxonomy.names


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and validated, but not loaded into a runtime.

    Attributes:
        path: where it was read from.
        data: the bytes of the file, which its ``repr`` does not show.
        sha256: SHA-256 of the file, 64 hex digits.
        metadata: what the file says about itself; the ``repr`` shows only its name and the number of classes.
        embedding: what is known of the output ``embedding``; None if the model has no such output.
        policies: a stricter rule and the exponent for tracks; None in models of older versions.
        counting: what is needed to correct counts; None if the model is older or was exported without it.
        ensemble: the runs that the model was made of; None if it was made of one.
    """

    path: Path
    data: bytes
    sha256: str
    metadata: ModelMetadata
    embedding: EmbeddingOutput | None = None
    policies: Policies | None = None
    counting: Counting | None = None
    ensemble: Ensemble | None = None

    def __repr__(self) -> str:
        name, classes = self.metadata.name, len(self.metadata.classes)
        return f"ModelFile({str(self.path)!r}, name={name!r}, classes={classes}, sha256={self.sha256[:12]!r})"

    @property
    def graph(self) -> Graph:
        """The part of the model that a worker needs."""
        data, length = self.metadata, self.embedding.dimensions if self.embedding else 0
        return Graph(self.path, self.data, data.preprocess, data.classes, data.unknown is not None, length)

    @classmethod
    def read(cls, path: StrPath) -> ModelFile:
        """Reads a model file.

        Raises:
            ModelError: the file is missing, not ONNX, not a model of Pelagia, changed or damaged, of another schema, or
                its weights are in another file.
        """
        path = Path(path)
        data, entries = read_sealed(path)
        if METADATA_KEY in entries:
            embedding = _document(entries, EMBEDDING_KEY, EmbeddingOutput, "its embedding", path)
            policies = _document(entries, POLICIES_KEY, Policies, "its policies", path)
            counting = _document(entries, COUNTING_KEY, Counting, "the correction of counts", path)
            ensemble = _document(entries, ENSEMBLE_KEY, Ensemble, "its members", path)
            parsed = _parse(entries[METADATA_KEY], path)
            return cls(path, data, sha256_of(data), parsed, embedding, policies, counting, ensemble)
        if EMBEDDER_KEY in entries:
            raise ModelError(
                f"{path} computes embeddings but knows no classes, so it is for `pelagia embed`: name a model that "
                "`pelagia export` made"
            )
        raise ModelError(
            f"{path} is not a model of Pelagia: it has no classes and no preprocessing; "
            "export one with `pelagia export`"
        )


def _parse(text: str, path: Path) -> ModelMetadata:
    try:
        return ModelMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if fault := newer_schema(_schema_of(text), get_args(ModelMetadata.model_fields["schema_version"].annotation)):
            raise ModelError(f"{path} {fault}, or export the model again") from None
        place = ".".join(str(step) for step in first["loc"]) or METADATA_KEY
        raise ModelError(f"the metadata of {path} are damaged ({place}: {first['msg']}): copy the file again") from None


def _document(entries: Mapping[str, str], key: str, schema: type[Schema], what: str, path: Path) -> Schema | None:
    if (text := entries.get(key)) is None:
        return None
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ModelError(f"what {path} says of {what} cannot be read ({reason}): update Pelagia") from None


def _schema_of(text: str) -> object:
    try:
        found: object = json.loads(text)["schema_version"]
    except (ValueError, KeyError, TypeError):
        return ""
    return found


def write_model(
    path: Path,
    graph: bytes,
    metadata: ModelMetadata,
    embedding: EmbeddingOutput | None = None,
    *,
    policies: Policies | None = None,
    counting: Counting | None = None,
    ensemble: Ensemble | None = None,
) -> None:
    """Writes the .onnx file ``path``. The file is complete or absent.

    Args:
        graph: a serialized ModelProto without Pelagia's metadata.
        embedding: what is known of the output ``embedding``; None if the graph has no such output.
        policies: a stricter rule and the exponent for tracks, if they were chosen.
        counting: what is needed to correct counts.
        ensemble: the runs that the model was made of, if it is an ensemble.
    """
    documents = {EMBEDDING_KEY: embedding, POLICIES_KEY: policies, COUNTING_KEY: counting, ENSEMBLE_KEY: ensemble}
    content = with_metadata(graph, METADATA_KEY, metadata.model_dump_json())
    for key, document in documents.items():
        if document is not None:
            content = with_metadata(content, key, document.model_dump_json())
    with new_file(path) as file:
        file.write(sealed(content))


def refuse_model(path: Path) -> None:
    """Raises InputError if a model cannot be made at ``path`` because the path exists already."""
    refuse_existing_file(path, "model", "model.onnx")


@contextmanager
def new_model(path: Path) -> Iterator[Path]:
    """Yields a temporary path. Its file is renamed to ``path`` if the block ends without an error, else removed."""
    candidate = path.with_name(f".{path.name}.unproven")
    try:
        yield candidate
        os.replace(candidate, path)
    finally:
        candidate.unlink(missing_ok=True)
