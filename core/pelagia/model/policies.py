"""What a model knows beyond its own decision rule: a stricter rule, and how much the images of a track count.

Invariant: both are chosen on the validation split at export, as the model's own rule is. They are a document of their
own in the .onnx file, under `POLICIES_KEY`: programs that do not know it read the model as before.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pelagia.config import Strict
from pelagia.model.decision import Decision

POLICIES_KEY = "pelagia_policies"


def conservative_target(target: float) -> float:
    """The target precision of the conservative policy: a fifth of the errors of ``target``, 0..1; 0.99 for 0.95."""
    return round(1 - (1 - target) / 5, 9)


class TrackEvidence(Strict):
    """How much several images of one animal count, fitted on the tracks of the validation split.

    `pelagia.model.tracks` says what the exponent does.
    """

    column: str = Field(description="the column of the dataset that names the tracks")
    exponent: float = Field(description="N images of a track count as N ** exponent independent images")
    tracks: int = Field(description="number of validation tracks, of two or more images, on which it was fitted")
    images: int = Field(description="number of their images")
    likelihood_before: float = Field(description="mean negative log-likelihood of these tracks with exponent 0")
    likelihood: float = Field(description="the same with the exponent, on the tracks that it was fitted on")


class Policies(Strict):
    """The document.

    Attributes:
        conservative: the rule for `conservative_target` of the model's own target precision; None: not chosen.
        tracks: the exponent for tracks; None if the groups of the dataset are not tracks, or are too few.
    """

    schema_version: Literal[1] = 1
    conservative: Decision | None = None
    tracks: TrackEvidence | None = None
