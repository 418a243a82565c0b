"""The MODEL: one .onnx file that needs nothing beside it, the metadata inside, and its only definition.

Graph: input ``image``, uint8, N x size x size x 3, RGB, 0..255, exactly what `pelagia.images.preprocess.load` gives; output
``probabilities``, float32, N x classes, each row summing to 1; of most models also ``unknown``, float32, N, higher
where an image is less like those that were trained on. N is free. The graph casts, normalises, runs the network and
applies the temperatures and the softmax itself.

A model that was trained to be told sizes has a second input, ``size``, float32, N x 3: width and height of the image
before it was fitted, in pixels, and micrometres along the side of a pixel (`pelagia.images.pixel_size`). 0 is unknown. The
graph takes the logarithms and normalises them.

Metadata: one JSON document, `ModelMetadata`, under the key `METADATA_KEY`; after it, under `DIGEST_KEY` and last in the
file, the SHA-256 of all bytes before that entry. A file that was changed or damaged after its export is refused, and so
is one whose weights lie in a second file.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from pelagia.config import Strict
from pelagia.errors import InputError, ModelError
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.decision import Decider, Decision
from pelagia.model.graph import Graph
from pelagia.model.onnx_file import NotOnnxError, has_external_data, read_metadata, with_metadata
from pelagia.system.files import new_file, refuse_existing, sha256_of
from pelagia.taxonomy import Taxonomy

METADATA_KEY = "pelagia"
DIGEST_KEY = "pelagia_sha256"
TOLERANCE = 1e-4
"""Largest difference of a probability that counts as the same answer, where a model does not carry its own."""


class Calibration(Strict):
    """What divides the logits in the graph, and how far the probabilities were from the truth before and after.

    The expected calibration error compares the likeliest class's probability with how often it is right, in bins that
    hold equally many images. All figures are of the validation split; those after are of images whose groups had no
    part in the fit.
    """

    temperatures: tuple[float, ...] = Field(description="divide the logits, less their mean, one a class")
    images: int
    bins: int
    error_before: float = Field(description="expected calibration error with every temperature 1")
    error: float
    error_by_chance: float = Field(description="what as many images would show of a model without any error")
    likelihood_before: float = Field(description="mean negative log-likelihood with every temperature 1")
    likelihood: float


class Unknown(Strict):
    """How the output ``unknown`` is to be read.

    ``vim`` is the virtual-logit matching of Wang et al. 2022: the norm of what the training images' principal subspace
    does not hold of an image's features, scaled to be one more logit, less the log-sum-exp of the logits; the virtual
    logit counts for ``weight`` of what it does there.
    """

    method: Literal["vim"] = "vim"
    dimensions: int = Field(description="of the principal subspace")
    principal_share: float = Field(description="of the training features' scatter, that it holds")
    weight: float
    known_share: float = Field(description="share of the validation images that the threshold lets pass")
    threshold: float = Field(description="a score above it: the image is of none of the classes")
    tolerance: float = Field(gt=0, description="largest difference of a reference's score on any machine")


class ReferenceImage(Strict):
    """An image of the validation split, encoded as it was found, and what the model must say of it.

    Of an exported model these are the trained network's probabilities, of a quantised one its own.
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
        return cls(
            name=name,
            sha256=sha256_of(data),
            base64=base64.b64encode(data).decode(),
            probabilities=probabilities,
            unknown=unknown,
            pixel_size_um=pixel_size_um,
        )


class Parity(Strict):
    """What the export gate measured: the trained network against this file in ONNX Runtime."""

    images: int
    batch_sizes: tuple[int, ...]
    top1_disagreements: int
    max_probability_difference: float
    max_unknown_difference: float | None = None


class Quantisation(Strict):
    """What the quantisation gate measured: the float model against this file, over a validation split."""

    kind: Literal["int8", "fp16"]
    float_sha256: str = Field(description="of the model that it was made of")
    dataset: str = Field(description="name of the dataset of the calibration and of the gate")
    fingerprint: str = Field(description="of that dataset")
    calibration_images: int = Field(description="of its training split; 0 where nothing had to be calibrated")
    images: int = Field(description="of its validation split, which the gate compared")
    top1_agreement: float = Field(description="share of them with the float model's top-1")
    float_macro_f1: float
    macro_f1: float


class ModelMetadata(Strict):
    """Everything that a user of the file needs to know, and what its figures rest on.

    Schema 2 has ``calibration``, ``unknown`` and a decision by thresholds; a file of schema 1 has none of them.
    """

    schema_version: Literal[1, 2] = 2
    name: str
    created: str = Field(description="ISO 8601, UTC")
    pelagia_version: str
    licence: str = Field(default="", description="of the weights; empty where nobody said")
    taxonomy: Taxonomy
    preprocess: PreprocessSpec
    normalisation: dict[str, tuple[float, float, float]] = Field(description="mean and std in the graph, on 0..1")
    temperature: float = Field(default=1.0, gt=0, description="geometric mean of what divides the logits in the graph")
    calibration: Calibration | None = Field(default=None, description="null: `temperature` is the same for every class")
    decision: Decision = Decision()
    unknown: Unknown | None = Field(default=None, description="null: the graph has no such output")
    validation_confusion: tuple[tuple[int, ...], ...] = Field(description="counts; rows: labels; columns: predictions")
    metrics: dict[str, float] = Field(default={})
    dataset: dict[str, Any] = Field(description="name, fingerprint and counts of the dataset")
    training: dict[str, Any] = Field(description="the config of the training run")
    parity: Parity
    quantisation: Quantisation | None = Field(
        default=None, description="null: float. Else metrics, confusion and parity are of the float model"
    )
    tolerance: float = Field(
        default=TOLERANCE, gt=0, le=0.1, description="largest difference of a reference's probability on any machine"
    )
    references: tuple[ReferenceImage, ...] = Field(min_length=1)

    @field_validator("preprocess", mode="before")
    @classmethod
    def _before_jpegs_were_reduced(cls, value: Any) -> Any:
        """A model that does not say was trained on whole images."""
        return {"jpeg_scale": "full", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_probability_a_class(self) -> ModelMetadata:
        for reference in self.references:
            if len(reference.probabilities) != len(self.classes):
                found, wanted = len(reference.probabilities), len(self.classes)
                raise ValueError(f"'{reference.name}' has {found} probabilities, and there are {wanted} classes")
            if (reference.unknown is None) != (self.unknown is None):
                raise ValueError(
                    f"'{reference.name}' and the model do not agree whether there is a score of the unknown"
                )
        return self

    @property
    def decider(self) -> Decider:
        """What says of an image what it is."""
        return Decider(self.taxonomy, self.decision, None if self.unknown is None else self.unknown.threshold)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.taxonomy.names


@dataclass(frozen=True)
class ModelFile:
    """A model that was read and validated, but not loaded into a runtime."""

    path: Path
    data: bytes
    sha256: str
    metadata: ModelMetadata

    @property
    def graph(self) -> Graph:
        data = self.metadata
        return Graph(self.path, self.data, data.preprocess, data.classes, scores_unknown=data.unknown is not None)

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Reads an .onnx file of ours.

        Raises:
            ModelError: there is none, it is not ONNX, not ours, changed or damaged, of another schema, or its weights
                lie elsewhere.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ModelError(f"there is no model at {path}: make one with `pelagia export RUN --out {path}`") from None
        except OSError as error:
            raise ModelError(f"cannot read the model {path}: {error.strerror}") from None
        try:
            entries = read_metadata(data)
            external = has_external_data(data)
        except NotOnnxError as error:
            raise ModelError(f"{path} is not an ONNX file, or is damaged ({error}): copy it again") from None
        if METADATA_KEY not in entries:
            raise ModelError(
                f"{path} is not a model of Pelagia's: it carries no classes and no preprocessing; "
                "export one with `pelagia export`"
            )
        if external:
            raise ModelError(f"{path} keeps weights in a second file: export it again with `pelagia export`")
        digest = entries.get(DIGEST_KEY, "")
        if not data.endswith(tail := with_metadata(b"", DIGEST_KEY, digest)) or digest != sha256_of(data[: -len(tail)]):
            raise ModelError(f"{path} was changed or damaged after it was exported: copy or export it again")
        return cls(path, data, sha256_of(data), _parse(entries[METADATA_KEY], path))


def _parse(text: str, path: Path) -> ModelMetadata:
    try:
        return ModelMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            raise ModelError(
                f"{path} has the metadata schema {first['input']}, this Pelagia reads 1 and 2: "
                "update Pelagia, or export the model again"
            ) from None
        place = ".".join(str(step) for step in first["loc"]) or METADATA_KEY
        raise ModelError(f"the metadata of {path} are damaged ({place}: {first['msg']}): copy the file again") from None


def write_model(path: Path, graph: bytes, metadata: ModelMetadata) -> None:
    """Writes the .onnx file ``path`` from a serialised ModelProto without our metadata; atomic."""
    content = with_metadata(graph, METADATA_KEY, metadata.model_dump_json())
    with new_file(path) as file:
        file.write(sealed(content))


def refuse_model(path: Path) -> None:
    """Raises InputError where no model can be made at ``path``: something is there already."""
    refuse_existing(path, "model")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file to make, such as {path / 'model.onnx'}")


@contextmanager
def new_model(path: Path) -> Iterator[Path]:
    """Yields where to write a candidate that becomes ``path`` when the block ends well, and vanishes otherwise."""
    candidate = path.with_name(f".{path.name}.unproven")
    try:
        yield candidate
        os.replace(candidate, path)
    finally:
        candidate.unlink(missing_ok=True)


def sealed(content: bytes) -> bytes:
    """``content`` with its own SHA-256 as the last entry, by which `ModelFile.read` notices any change."""
    return with_metadata(content, DIGEST_KEY, sha256_of(content))
