"""The rule that gave a verdict, with the numbers that it compared, as a short text and in words.

Invariant: a rule is derived from the verdict, the probabilities and the score that a survey keeps, and from the
thresholds of its model. It is not stored a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import ABSTAINED, ACCEPTED, ROLLED_UP, UNKNOWN, Decider, Verdict

CLASS, TAXON, SCORE, NONE = "class", "taxon", "unknown", "none"
RULE_OF = {ACCEPTED: CLASS, ROLLED_UP: TAXON, UNKNOWN: SCORE, ABSTAINED: NONE}
"""Decision -> the first word of the rule's text."""


_SIGNS = {CLASS: ">=", TAXON: ">=", SCORE: ">", NONE: "<"}


class Rule(NamedTuple):
    """The rule that fired for an image.

    Attributes:
        kind: `CLASS` (the probability of the likeliest class reaches its threshold), `TAXON` (the sum of a taxon's
            classes does), `SCORE` (the out-of-distribution score is above the limit), or `NONE` (nothing is reached).
        name: the class or the taxon; the likeliest class for `NONE`; empty for `SCORE`.
        value: the probability, sum or score, as it was compared.
        threshold: what it was compared with; inf: the class is never accepted.
    """

    kind: str
    name: str
    value: float
    threshold: float

    @property
    def text(self) -> str:
        """One cell of a table, such as ``class: copepod 0.912345 >= 0.850000``."""
        name = f"{self.name} " if self.name else ""
        if self.threshold == inf:
            return f"{self.kind}: {name}{self.value:.6f}, never accepted"
        return f"{self.kind}: {name}{self.value:.6f} {_SIGNS[self.kind]} {self.threshold:.6f}"

    @property
    def words(self) -> str:
        """One sentence for people."""
        value, threshold = f"{self.value:.4f}", f"{self.threshold:.4f}"
        if self.kind == CLASS:
            return f"The probability of {self.name}, {value}, reaches the threshold of this class, {threshold}."
        if self.kind == TAXON:
            return (
                "The likeliest class does not reach its threshold. The probabilities of all classes of the taxon "
                f"{self.name} add up to {value}, which reaches the threshold of this taxon, {threshold}."
            )
        if self.kind == SCORE:
            return (
                f"The out-of-distribution score, {value}, is above the limit of the model, {threshold}: the image is "
                "unlike the images that the model was trained on."
            )
        if self.threshold == inf:
            return f"The model never accepts the likeliest class, {self.name}, and no taxon reaches its threshold."
        return (
            f"The probability of the likeliest class, {self.name}, is {value}. It is below the threshold of this "
            f"class, {threshold}, and no taxon reaches its threshold."
        )


def rules_of(
    decider: Decider,
    classes: Sequence[str],
    verdicts: Sequence[Verdict],
    probabilities: NDArray[np.float32],
    unknown: Sequence[float | None],
) -> list[Rule | None]:
    """The rule that fired for each image; None for an image without a verdict.

    Args:
        decider: the rule of the model.
        classes: the class names, in the order of the probabilities.
        verdicts: the verdict on each image, N.
        probabilities: float32, N x classes, 0..1.
        unknown: the out-of-distribution scores, N; None where the model has no such score.
    """
    best = probabilities.argmax(axis=1).tolist()
    likeliest = probabilities.max(axis=1).astype(np.float64).tolist()
    sums = np.round(probabilities.astype(np.float64) @ decider.membership.T, 9)
    rolled_up = [verdict.name for verdict in decider.verdicts if verdict.decision == ROLLED_UP]
    taxa = {name: place for place, name in enumerate(rolled_up)}
    limit = inf if decider.unknown_above is None else decider.unknown_above
    thresholds, taxon_thresholds = decider.class_thresholds.tolist(), decider.taxon_thresholds.tolist()
    found: list[Rule | None] = []
    for at, verdict in enumerate(verdicts):
        kind = RULE_OF.get(verdict.decision)
        if kind is None:
            found.append(None)
        elif kind == TAXON:
            place = taxa[verdict.name]
            found.append(Rule(kind, verdict.name, float(sums[at, place]), taxon_thresholds[place]))
        elif kind == SCORE:
            score = unknown[at]
            found.append(Rule(kind, "", nan if score is None else score, limit))
        else:
            found.append(Rule(kind, classes[best[at]], likeliest[at], thresholds[best[at]]))
    return found
