"""What a survey keeps of its model, so that counts, exports and reports need no model file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pelagia.config import Strict
from pelagia.model.counting import Counting
from pelagia.model.decision import Decider, Decision
from pelagia.model.metadata import ModelFile, ModelMetadata
from pelagia.model.policies import Policies
from pelagia.taxonomy import Taxonomy


class ModelCard(Strict):
    """The part of a model's metadata that its results need; the names are those of `ModelMetadata`."""

    schema_version: Literal[1] = 1
    name: str
    created: str
    pelagia_version: str
    licence: str = ""
    taxonomy: Taxonomy
    decision: Decision = Decision()
    unknown_threshold: float | None = Field(
        default=None, description="null: the model has no out-of-distribution score"
    )
    validation_confusion: tuple[tuple[int, ...], ...]
    metrics: dict[str, float] = {}
    dataset: dict[str, Any] = {}
    policies: Policies | None = Field(default=None, description="null: the model has no such document")
    counting: Counting | None = Field(default=None, description="null: counts cannot be corrected")

    @property
    def decider(self) -> Decider:
        """The rule that turns probabilities and scores into verdicts."""
        return Decider(self.taxonomy, self.decision, self.unknown_threshold)


def card_of(
    metadata: ModelMetadata, *, policies: Policies | None = None, counting: Counting | None = None
) -> ModelCard:
    """The card of a model.

    Args:
        metadata: what the model says of itself.
        policies: those of its file; None if it has none.
        counting: what is needed to correct counts; None if the model has none.
    """
    return ModelCard(
        name=metadata.name,
        created=metadata.created,
        pelagia_version=metadata.pelagia_version,
        licence=metadata.licence,
        taxonomy=metadata.taxonomy,
        decision=metadata.decision,
        unknown_threshold=None if metadata.unknown is None else metadata.unknown.threshold,
        validation_confusion=metadata.validation_confusion,
        metrics=metadata.metrics,
        dataset=metadata.dataset,
        policies=policies,
        counting=counting,
    )


def card_of_model(model: ModelFile) -> ModelCard:
    """The card of a model file."""
    return card_of(model.metadata, policies=model.policies, counting=model.counting)
