"""Decides what an image shows: a class if the model is sure of one, else the deepest taxon that it is sure of, if any.

Invariant: one rule, `Decider`, is used by the runner, by the trainer, which chooses its thresholds, and by `pelagia
evaluate`. The verdict on an image depends only on the probabilities and the score of that image: sums are made in
float64 and rounded to nine decimals, so that they do not depend on how many images are decided at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pelagia.config import Strict
from pelagia.taxonomy import Taxonomy

ACCEPTED, ROLLED_UP, ABSTAINED, UNKNOWN = "accepted", "rolled_up", "abstained", "unknown"
DECISIONS = (ACCEPTED, ROLLED_UP, ABSTAINED, UNKNOWN)
MIN_TAXON_PROBABILITY = 0.5
"""A taxon is accepted only with more probability than all others together. So all accepted taxa are nested."""


class CoverageAndPrecision(Strict):
    """The result of a rule on labeled images.

    Attributes:
        accepted: share of the images that got a name, 0..1.
        precision: share of the accepted images whose name is right, 0..1; None if no image got a name.
    """

    accepted: float
    precision: float | None


class Decision(Strict):
    """The rule that turns probabilities into a name. ``argmax``: the likeliest class, whatever its probability."""

    rule: Literal["argmax", "thresholds"] = "argmax"
    target_precision: float | None = Field(
        default=None, description="the precision that the thresholds were chosen for"
    )
    classes: dict[str, float | None] = Field(
        default={},
        description="class -> lowest probability that is accepted if the class is the likeliest; null: never",
    )
    taxa: dict[str, float | None] = Field(
        default={}, description="taxon -> lowest sum of its classes that is accepted if no class is; null: never"
    )
    images: int = Field(default=0, description="number of validation images on which the thresholds were chosen")
    by_thresholds: CoverageAndPrecision | None = Field(
        default=None, description="result on those images with classes only"
    )
    by_roll_up: CoverageAndPrecision | None = Field(
        default=None, description="result on those images with classes and taxa"
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on an image.

    Attributes:
        decision: one of `DECISIONS`; empty if the rule of the model is ``argmax`` or the image failed.
        name: the accepted class, or the taxon of a rolled-up image; else empty.
        rank: the taxonRank of the class or taxon; empty if it is not an organism.
    """

    decision: str = ""
    name: str = ""
    rank: str = ""


NO_VERDICT = Verdict()


class Decider:
    """A rule for the classes of a taxonomy.

    Args:
        taxonomy: its classes are the columns of the probabilities.
        unknown_above: an image with a higher out-of-distribution score belongs to none of the classes; None: scores are
            not used.

    Attributes:
        decides: whether the rule gives verdicts.
        class_thresholds: float64, classes: the lowest probability that is accepted; inf: never.
        taxon_thresholds: float64, taxa: the lowest sum that is accepted; inf: never.
        unknown_above: the argument.
        membership: float64, taxa x classes, 1 if the class belongs to the taxon; the taxa are those of
            `Taxonomy.shared_taxa`.
        verdicts: every verdict that the rule can give.
    """

    def __init__(self, taxonomy: Taxonomy, decision: Decision, unknown_above: float | None = None) -> None:
        self.decides = decision.rule == "thresholds"
        self.unknown_above = unknown_above
        names = taxonomy.names
        self.class_thresholds = np.array([_bound(decision.classes.get(name)) for name in names])
        shared = taxonomy.shared_taxa()
        self.membership = np.array([[name in below for name in names] for _, below in shared], np.float64).reshape(
            len(shared), len(names)
        )
        self.taxon_thresholds = np.array([_bound(decision.taxa.get(taxon.name)) for taxon, _ in shared])
        lineages = [taxonomy.lineage(name) for name in names]
        self.verdicts = (
            *(
                Verdict(ACCEPTED, name, path[-1].rank if path else "")
                for name, path in zip(names, lineages, strict=True)
            ),
            *(Verdict(ROLLED_UP, taxon.name, taxon.rank) for taxon, _ in shared),
            Verdict(ABSTAINED),
            Verdict(UNKNOWN),
        )

    def verdict_indices(
        self, probabilities: NDArray[np.float32], unknown: NDArray[np.float32] | None
    ) -> NDArray[np.int64]:
        """The index in ``verdicts`` of the verdict on each image: int64, N.

        Args:
            probabilities: float32, N x classes, 0..1; rows sum to 1.
            unknown: float32, N: out-of-distribution scores; None if the model has no such output.
        """
        images, classes = probabilities.shape
        best = probabilities.argmax(axis=1)
        found = np.where(probabilities[np.arange(images), best] >= self.class_thresholds[best], best, -1)
        if len(self.taxon_thresholds):
            sums = np.round(probabilities.astype(np.float64) @ self.membership.T, 9)
            sure = sums >= self.taxon_thresholds
            found = np.where((found < 0) & sure.any(axis=1), classes + sure.argmax(axis=1), found)
        found = np.where(found < 0, len(self.verdicts) - 2, found)
        if unknown is not None and self.unknown_above is not None:
            found = np.where(unknown > self.unknown_above, len(self.verdicts) - 1, found)
        return found

    def __call__(self, probabilities: NDArray[np.float32], unknown: NDArray[np.float32] | None) -> list[Verdict]:
        """The verdict on each image. The arguments are those of `verdict_indices`."""
        if not self.decides:
            return [NO_VERDICT] * len(probabilities)
        return [self.verdicts[index] for index in self.verdict_indices(probabilities, unknown).tolist()]


def _bound(threshold: float | None) -> float:
    return np.inf if threshold is None else threshold
