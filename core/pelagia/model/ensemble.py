"""The runs that a model was made of, if its graph is an ensemble: several networks whose predictions are averaged.

The document `Ensemble` is in the .onnx file under `ENSEMBLE_KEY`. Whether probabilities or logits are averaged was
chosen at export, on images that none of the networks was trained on. Programs that do not know the document read the
model as before.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pelagia.config import Strict

ENSEMBLE_KEY = "pelagia_ensemble"
Mean = Literal["probabilities", "logits"]


class Member(Strict):
    """One of the runs, and how good its network is alone, on the images that the ensemble was measured on."""

    run: str = Field(description="name of the run folder, with the folder above it if the names are equal")
    backbone: str
    orientations: int = Field(ge=1, description="number of views of an image whose features are averaged")
    epoch: int = Field(description="the epoch of the weights")
    weights_sha256: str = Field(description="SHA-256 of the file of weights")
    normalisation: dict[str, tuple[float, float, float]] = Field(description="mean and std in the graph, on 0..1")
    likelihood: float = Field(description="mean negative log-likelihood alone, with temperatures of its own")
    macro_f1: float
    accuracy: float


class Ensemble(Strict):
    """The document.

    The graph averages the members' probabilities or their logits, and applies one set of temperatures to the result.
    The out-of-distribution score is the mean of the members' scores.
    """

    schema_version: Literal[1] = 1
    mean: Mean = Field(description="what is averaged: the choice with the lower likelihood below")
    likelihood: dict[Mean, float] = Field(
        description="mean negative log-likelihood for each choice, on images that no member was trained on, with "
        "temperatures that were fitted without the image's group"
    )
    images: int = Field(ge=1, description="number of those images")
    members: tuple[Member, ...] = Field(min_length=2)
