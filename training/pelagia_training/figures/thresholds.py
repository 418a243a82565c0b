"""Thresholds of `pelagia.model.decision` that keep a target precision, chosen on the validation split.

What is asked for is that of the images that get one name, this share is rightly named. A class's threshold is the
lowest at which its images keep it; a taxon's likewise, over the images that no class or deeper taxon takes.

A few images promise nothing: five right ones of five are no 95%. So the observed share is mixed with `PRIOR_IMAGES`
made-up images, which are right as often as the calibrated probabilities of those accepted say. Many images outweigh
them; where there are few the probabilities themselves must reach the target. And as the lowest of many thresholds is
often one that was lucky, `MARGIN` standard deviations are asked for beyond the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pelagia.model.decision import ABSTAINED, MIN_TAXON_PROBABILITY, UNKNOWN, CoverageAndPrecision, Decider, Decision
from pelagia.taxonomy import Taxonomy

PRIOR_IMAGES = 40
MARGIN = 0.25

Whole = NDArray[np.int64]


def choose_thresholds(
    probabilities: NDArray[np.float32], targets: Whole, taxonomy: Taxonomy, target_precision: float
) -> Decision:
    """The rule for a model.

    Args:
        probabilities: float32, N x classes, of validation images.
        targets: int64, N, their classes.
        target_precision: share of rightly named images to keep, 0..1.
    """
    best, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    classes = {}
    for place, name in enumerate(taxonomy.names):
        mine = best == place
        classes[name] = lowest_threshold(sure[mine], targets[mine] == place, target_precision)
    decision = Decision(rule="thresholds", target_precision=target_precision, classes=classes, images=len(targets))
    decider = Decider(taxonomy, decision)
    still_open = decider.verdict_indices(probabilities, None) >= len(taxonomy.names)
    taxa = {}
    for (taxon, _), members in zip(taxonomy.shared_taxa(), decider.membership, strict=True):
        share = probabilities.astype(np.float64) @ members
        asked = still_open & (share >= MIN_TAXON_PROBABILITY)
        threshold = lowest_threshold(share[asked], members[targets[asked]] > 0, target_precision)
        taxa[taxon.name] = None if threshold is None else max(threshold, MIN_TAXON_PROBABILITY)
        still_open &= share < (np.inf if threshold is None else threshold)
    decision = decision.model_copy(update={"taxa": taxa})
    by_thresholds, by_roll_up = reached(probabilities, targets, taxonomy, decision)
    return decision.model_copy(update={"by_thresholds": by_thresholds, "by_roll_up": by_roll_up})


def lowest_threshold(sure: NDArray[np.floating], right: NDArray[np.bool_], target: float) -> float | None:
    """The lowest probability from which on images keep the target; None where there is none.

    Args:
        sure: N, what the model gives the name.
        right: bool, N, whether the name is right.
    """
    if not len(sure):
        return target
    order = np.argsort(-sure, kind="stable")
    ordered, hits = sure[order].astype(np.float64), right[order].cumsum()
    images = np.arange(1, len(ordered) + 1)
    precision = (hits + PRIOR_IMAGES * ordered.cumsum() / images) / (images + PRIOR_IMAGES)
    margin = MARGIN * np.sqrt(target * (1 - target) / (images + PRIOR_IMAGES))
    below = np.append(ordered[1:], -np.inf)
    good = np.flatnonzero((precision >= target + margin) & (below < ordered))
    if not len(good):
        return None
    last = good[-1]
    return float(ordered[last] if last == len(ordered) - 1 else (ordered[last] + below[last]) / 2)


def reached(
    probabilities: NDArray[np.float32],
    targets: Whole,
    taxonomy: Taxonomy,
    decision: Decision,
    unknown: NDArray[np.float32] | None = None,
    unknown_above: float | None = None,
) -> tuple[CoverageAndPrecision, CoverageAndPrecision]:
    """What a rule comes to by classes alone, and with taxa. Arguments as of `choose_thresholds` and `Decider`."""
    decider = Decider(taxonomy, decision, unknown_above)
    places = decider.verdict_indices(probabilities, unknown)
    classes = len(taxonomy.names)
    holds = np.vstack((np.eye(classes), decider.membership)).astype(bool)
    named = np.array([one.decision not in (ABSTAINED, UNKNOWN) for one in decider.verdicts])[places]
    right = np.zeros(len(targets), bool)
    right[named] = holds[places[named], targets[named]]
    return _share(named & (places < classes), right), _share(named, right)


def _share(named: NDArray[np.bool_], right: NDArray[np.bool_]) -> CoverageAndPrecision:
    return CoverageAndPrecision(
        accepted=float(named.mean()) if len(named) else 0.0,
        precision=float(right[named].mean()) if named.any() else None,
    )
