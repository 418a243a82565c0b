"""What is said of an image: its class where that is sure, else the deepest taxon that is, else nothing.

Invariant: one rule, `Decider`, serves the runner, the trainer that chooses its thresholds, and `pelagia evaluate`. What
it says of an image depends on nothing but that image's probabilities and score: sums are made in float64 and rounded
to nine decimals, so that it does not matter how many images are decided at once.
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
"""A taxon needs more than its rivals together, so that of all that are sure each lies within the next."""


class CoverageAndPrecision(Strict):
    """What a rule came to on labelled images.

    Attributes:
        accepted: share of the images that got a name.
        precision: share of those whose name is right; None where there are none.
    """

    accepted: float
    precision: float | None


class Decision(Strict):
    """The rule that turns probabilities into a name. ``argmax``: the likeliest class, whatever its probability."""

    rule: Literal["argmax", "thresholds"] = "argmax"
    target_precision: float | None = Field(default=None, description="that the thresholds were chosen for")
    classes: dict[str, float | None] = Field(
        default={}, description="least probability of a class that is the likeliest; null: never accepted"
    )
    taxa: dict[str, float | None] = Field(
        default={}, description="least sum over the classes of a taxon where no class is accepted; null: never"
    )
    images: int = Field(default=0, description="of the validation split, that they were chosen on")
    by_thresholds: CoverageAndPrecision | None = Field(default=None, description="on those images, classes alone")
    by_roll_up: CoverageAndPrecision | None = Field(default=None, description="on those images, classes and taxa")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of an image.

    Attributes:
        decision: one of `DECISIONS`; empty where the model's rule is ``argmax``, or the image failed.
        name: the class, or of a rolled-up image the taxon; else empty.
        rank: taxonRank of it, that of the class's taxon; empty for what is no organism.
    """

    decision: str = ""
    name: str = ""
    rank: str = ""


NO_VERDICT = Verdict()


class Decider:
    """A rule over a taxonomy.

    Args:
        taxonomy: its classes are the columns of the probabilities.
        unknown_above: a score above it means that an image is of none of the classes; None: scores are not looked at.
    """

    def __init__(self, taxonomy: Taxonomy, decision: Decision, unknown_above: float | None = None) -> None:
        self.decides = decision.rule == "thresholds"
        self._unknown_above = unknown_above
        names = taxonomy.names
        self._classes = np.array([_bound(decision.classes.get(name)) for name in names])
        shared = taxonomy.shared_taxa()
        self.membership = np.array([[name in below for name in names] for _, below in shared], np.float64).reshape(
            len(shared), len(names)
        )
        """float64, taxa x classes, 1 where the class lies below; the taxa are those of `Taxonomy.shared_taxa`."""
        self._taxa = np.array([_bound(decision.taxa.get(taxon.name)) for taxon, _ in shared])
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

    def places(self, probabilities: NDArray[np.float32], unknown: NDArray[np.float32] | None) -> NDArray[np.int64]:
        """Which of ``verdicts`` each image gets: int64, N.

        Args:
            probabilities: float32, N x classes; rows sum to 1.
            unknown: float32, N, higher is less known; None where the model has no such output.
        """
        images, classes = probabilities.shape
        best = probabilities.argmax(axis=1)
        found = np.where(probabilities[np.arange(images), best] >= self._classes[best], best, -1)
        if len(self._taxa):
            sums = np.round(probabilities.astype(np.float64) @ self.membership.T, 9)
            sure = sums >= self._taxa
            found = np.where((found < 0) & sure.any(axis=1), classes + sure.argmax(axis=1), found)
        found = np.where(found < 0, len(self.verdicts) - 2, found)
        if unknown is not None and self._unknown_above is not None:
            found = np.where(unknown > self._unknown_above, len(self.verdicts) - 1, found)
        return found

    def __call__(self, probabilities: NDArray[np.float32], unknown: NDArray[np.float32] | None) -> list[Verdict]:
        """The verdict on each image; arguments as of `places`."""
        if not self.decides:
            return [NO_VERDICT] * len(probabilities)
        return [self.verdicts[place] for place in self.places(probabilities, unknown).tolist()]


def _bound(threshold: float | None) -> float:
    return np.inf if threshold is None else threshold
