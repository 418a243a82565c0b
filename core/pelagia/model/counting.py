"""What a model knows of its own errors, so that the counts of a survey can be corrected without the training images.

The document `Counting` is in the .onnx file under `COUNTING_KEY`. It holds predictions of labeled images by networks
that were not trained on them, with their labels and groups; the recipe of the correction that was chosen by simulation;
and the error that the simulation found. `pelagia_inference.counts.correction` uses it.

Invariant: the document holds no name of a group, a place or an image. Groups are numbers.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pelagia.config import Strict

COUNTING_KEY = "pelagia_counting"
Method = Literal["raw", "mean", "acc", "pacc", "em"]
MOST_CODES = 500_000
"""Largest number of stored probabilities (images x classes, one byte each before they are compressed)."""
_STEP = 0.05
"""A probability p is stored as the whole number nearest to -ln(p) / 0.05, at most 255: to 2.5%, down to 3e-6."""


class Recipe(Strict):
    """How counts are corrected.

    Methods: "raw" counts the likeliest classes and corrects nothing. "mean" adds up the probabilities. "acc" and "pacc"
    solve for the composition that gives these counts, or sums of probabilities, with the known rates of confusion.
    "em" is the expectation-maximization of Saerens et al. (2002).
    """

    method: Method = "raw"
    power: float = Field(default=1.0, gt=0, description="em: probabilities are raised to this power first")
    prior_images: float = Field(
        default=0.0, ge=0, description="em: weight of the raw shares as a Dirichlet prior, as a number of images"
    )
    smoothing: float = Field(
        default=0.0, ge=0, description="acc, pacc: images that are added to each class as recognized rightly"
    )
    raw_weight: float = Field(default=0.0, ge=0, le=1, description="weight of the raw shares in the result; 1: raw")


class Simulated(Strict):
    """The error of a simulated kind of survey, drawn from groups that the correction did not use.

    The errors are mean absolute errors of the share of a class, over surveys and classes.
    """

    composition: str = Field(description="what was drawn, such as 'even' or 'skewed'")
    dirichlet: float = Field(gt=0, description="parameter of the Dirichlet distribution of the compositions")
    surveys: int
    images: int = Field(description="images of one survey")
    raw_error: float
    corrected_error: float
    coverage: float = Field(description="share of the true shares that were inside the interval")


class Drift(Strict):
    """When a survey is called different from the calibration: see `pelagia_inference.counts.drift`."""

    limit: float = Field(description="the distance above which a survey is different")
    false_warnings: float = Field(description="share of left-out groups whose images were above the limit")
    groups: int = Field(description="number of left-out groups in this share")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Predictions of labeled images, with their labels.

    Attributes:
        labels: int64, N: the index of the true class.
        groups: int64, N: the number of the group (such as a station).
        probabilities: float32, N x K: rows sum to 1.
    """

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Calibration:
        """Some of the images."""
        return Calibration(self.labels[rows], self.groups[rows], self.probabilities[rows])


class Counting(Strict):
    """What is needed to correct the counts of a survey of this model."""

    schema_version: Literal[1] = 1
    classes: tuple[str, ...] = Field(min_length=2)
    source: Literal["out of fold", "validation split"]
    folds: int = Field(default=0, ge=0, description="0: validation split")
    images: tuple[int, ...] = Field(description="per class: labeled images that were used")
    groups: int = Field(description="their groups")
    recipe: Recipe = Recipe()
    reason: str = Field(default="", description="why nothing is corrected; empty if the recipe corrects")
    simulated: tuple[Simulated, ...] = ()
    spread: tuple[float, ...] = Field(default=(), description="per class: factor of the width of its interval")
    drift: Drift | None = None
    unknown_limit: float | None = Field(
        default=None,
        description="share of images above the threshold of the out-of-distribution score that nearly all groups of "
        "the validation split did not exceed; null: no such score, or too few groups",
    )
    unknown_usual: float | None = Field(
        default=None, description="the same share in all validation images; null: as for unknown_limit"
    )
    unsure_loss: tuple[float, ...] = Field(
        default=(), description="per class: share of its images that the model's rule leaves unnamed"
    )
    kept: int = Field(
        ge=1, le=MOST_CODES, description="images whose predictions are stored; fewer than all in a large dataset"
    )
    labels: str = Field(description="uint16, base64 of zlib")
    group_numbers: str = Field(description="uint32, base64 of zlib")
    codes: str = Field(description="uint8, kept x classes, base64 of zlib: -ln(p) / 0.05")

    @model_validator(mode="after")
    def _sizes_agree(self) -> Counting:
        try:
            known = self.calibration
        except (ValueError, zlib.error):
            raise ValueError("the stored predictions are damaged") from None
        if len(self.images) != len(self.classes):
            raise ValueError(f"images has {len(self.images)} values, but there are {len(self.classes)} classes")
        for name, values in (("spread", self.spread), ("unsure_loss", self.unsure_loss)):
            if values and len(values) != len(self.classes):
                raise ValueError(f"{name} has {len(values)} values, but there are {len(self.classes)} classes")
        if len(known.labels) and int(known.labels.max()) >= len(self.classes):
            raise ValueError("a stored label is of no class")
        return self

    @cached_property
    def calibration(self) -> Calibration:
        """The stored predictions, decoded once."""
        size = self.kept * len(self.classes)
        codes = np.frombuffer(_unpacked(self.codes, size), np.uint8).reshape(self.kept, len(self.classes))
        probabilities = np.exp(-_STEP * codes.astype(np.float32))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        labels = np.frombuffer(_unpacked(self.labels, 2 * self.kept), "<u2").astype(np.int64)
        groups = np.frombuffer(_unpacked(self.group_numbers, 4 * self.kept), "<u4").astype(np.int64)
        if not len(labels) == len(groups) == self.kept:
            raise ValueError("not one label and one group for each image")
        return Calibration(labels, groups, probabilities)


def packed(calibration: Calibration) -> dict[str, str | int]:
    """The fields of `Counting` that hold predictions.

    In a dataset of more than `MOST_CODES` probabilities, images of the largest classes are left out, those of each
    class evenly over its groups.
    """
    chosen = _chosen(calibration)
    with np.errstate(divide="ignore"):
        codes = np.clip(np.rint(-np.log(calibration.probabilities[chosen]) / _STEP), 0, 255).astype(np.uint8)
    return {
        "kept": len(chosen),
        "labels": _packed(calibration.labels[chosen].astype("<u2")),
        "group_numbers": _packed(calibration.groups[chosen].astype("<u4")),
        "codes": _packed(codes),
    }


def _chosen(calibration: Calibration) -> NDArray[np.int64]:
    """The rows to store, in order."""
    count, classes = calibration.probabilities.shape
    room = max(MOST_CODES // classes, 1)
    if count <= room:
        return np.arange(count)
    of_class = np.bincount(calibration.labels, minlength=classes)
    quota = 1
    while np.minimum(of_class, quota + 1).sum() <= room:
        quota += 1
    rows = []
    for number in range(classes):
        mine = np.flatnonzero(calibration.labels == number)
        mine = mine[np.argsort(calibration.groups[mine], kind="stable")]
        places = np.linspace(0, len(mine) - 1, min(quota, len(mine)))
        rows.append(mine[np.rint(places).astype(int)])
    return np.sort(np.concatenate(rows))


def _packed(values: NDArray[np.generic]) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def _unpacked(text: str, size: int) -> bytes:
    """The ``size`` bytes; a text that unpacks to more, or to fewer, is refused. Raises ValueError, zlib.error."""
    data = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    if len(data) != size:
        raise ValueError(f"{size} bytes were expected")
    return data
