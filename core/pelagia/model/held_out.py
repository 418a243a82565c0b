"""What the figures of a model were measured on: its validation split, or images that a cross-validation held out.

A model that was trained on all labeled images has no validation split. Its metrics, its confusion matrix, its
temperatures and its thresholds are those of a cross-validation of the same recipe. The entry ``out_of_fold`` of
``ModelMetadata.dataset`` says so; programs that do not know it read the model as before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from pelagia.config import Strict


class OutOfFold(Strict):
    """The images that the networks of a cross-validation held out."""

    folds: int = Field(ge=2, description="number of networks, each trained without a part of the groups")
    images: int = Field(ge=1, description="images, each predicted by the network that had not seen it or its group")
    groups: int = Field(ge=1)
    known_accepted: float | None = Field(
        default=None,
        description="share of the images that a fold held out whose out-of-distribution score is below the threshold "
        "that the other folds give this fold; null: the model has no score",
    )

    @property
    def text(self) -> str:
        """What was measured, in words."""
        return (
            f"{self.images:,} images of {self.groups:,} groups, out of fold: by {self.folds} networks of the same "
            "recipe, each on groups that it had not seen. The model itself was trained on all these images, so it was "
            "measured on none of them"
        )


def out_of_fold_of(dataset: Mapping[str, Any]) -> OutOfFold | None:
    """What a model or a survey says in its ``dataset``; None if the figures are those of a validation split."""
    try:
        return OutOfFold.model_validate(dataset["out_of_fold"])
    except (KeyError, ValidationError):
        return None


def images_are_called(dataset: Mapping[str, Any]) -> str:
    """What to call the images that a model's figures were measured on."""
    return "out-of-fold" if out_of_fold_of(dataset) else "validation"
