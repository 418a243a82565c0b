"""Chooses the thresholds of `pelagia.model.decision` on the validation split, so that a target precision is reached.

The target precision is the share of correctly named images among the images that get a name. The threshold of a class
is the lowest probability at which the images predicted as the class reach the target precision. The threshold of a
taxon is chosen in the same way, on the images that no class and no deeper taxon accepts.

A few images are weak evidence: five correct images out of five do not prove a precision of 95%. So the observed
precision is averaged with `PRIOR_IMAGES` imaginary images, whose precision is the mean calibrated probability of the
accepted images. With many images, the result depends mainly on the observed precision; with few images, mainly on the
probabilities. The lowest of many thresholds often passes by chance, so the precision must exceed the target by `MARGIN`
standard deviations.
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
    """Chooses the decision rule for a model.

    Args:
        probabilities: float32, N x classes, of validation images.
        targets: int64, N, the labels' class indices.
        taxonomy: its classes are the columns of ``probabilities``.
        target_precision: share of correct names among the images that get one, 0..1.
    """
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    classes = {}
    for index, name in enumerate(taxonomy.names):
        predicted = best == index
        classes[name] = lowest_threshold(confidence[predicted], targets[predicted] == index, target_precision)
    decision = Decision(rule="thresholds", target_precision=target_precision, classes=classes, images=len(targets))
    decider = Decider(taxonomy, decision)
    still_open = decider.verdict_indices(probabilities, None) >= len(taxonomy.names)
    taxa = {}
    for (taxon, _), members in zip(taxonomy.shared_taxa(), decider.membership, strict=True):
        probability = probabilities.astype(np.float64) @ members
        candidates = still_open & (probability >= MIN_TAXON_PROBABILITY)
        threshold = lowest_threshold(probability[candidates], members[targets[candidates]] > 0, target_precision)
        taxa[taxon.name] = None if threshold is None else max(threshold, MIN_TAXON_PROBABILITY)
        still_open &= probability < (np.inf if threshold is None else threshold)
    decision = decision.model_copy(update={"taxa": taxa})
    by_thresholds, by_roll_up = coverage_and_precision(probabilities, targets, taxonomy, decision)
    return decision.model_copy(update={"by_thresholds": by_thresholds, "by_roll_up": by_roll_up})


def lowest_threshold(confidence: NDArray[np.floating], correct: NDArray[np.bool_], target: float) -> float | None:
    """The lowest threshold at which the accepted images reach the target precision; None if no threshold does.

    Args:
        confidence: float, N, the probability of the name.
        correct: bool, N, whether the name is correct.
        target: the target precision, 0..1; the threshold is equal to it if there is no image.
    """
    if not len(confidence):
        return target
    order = np.argsort(-confidence, kind="stable")
    ordered, hits = confidence[order].astype(np.float64), correct[order].cumsum()
    images = np.arange(1, len(ordered) + 1)
    precision = (hits + PRIOR_IMAGES * ordered.cumsum() / images) / (images + PRIOR_IMAGES)
    margin = MARGIN * np.sqrt(target * (1 - target) / (images + PRIOR_IMAGES))
    below = np.append(ordered[1:], -np.inf)
    passing = np.flatnonzero((precision >= target + margin) & (below < ordered))
    if not len(passing):
        return None
    last = passing[-1]
    return float(ordered[last] if last == len(ordered) - 1 else (ordered[last] + below[last]) / 2)


def coverage_and_precision(
    probabilities: NDArray[np.float32],
    targets: Whole,
    taxonomy: Taxonomy,
    decision: Decision,
    unknown: NDArray[np.float32] | None = None,
    unknown_above: float | None = None,
) -> tuple[CoverageAndPrecision, CoverageAndPrecision]:
    """Share of accepted images and their precision: first with only the class thresholds, then with roll-up to taxa.

    Args:
        probabilities: float32, N x classes.
        targets: int64, N, the labels' class indices.
        taxonomy: its classes are the columns of ``probabilities``.
        decision: the rule to apply.
        unknown: float32, N, out-of-distribution scores; None if the model computes no score.
        unknown_above: images with a higher score are not accepted; if it is None, no score is compared.
    """
    decider = Decider(taxonomy, decision, unknown_above)
    places = decider.verdict_indices(probabilities, unknown)
    classes = len(taxonomy.names)
    holds = np.vstack((np.eye(classes), decider.membership)).astype(bool)
    named = np.array([verdict.decision not in (ABSTAINED, UNKNOWN) for verdict in decider.verdicts])[places]
    correct = np.zeros(len(targets), bool)
    correct[named] = holds[places[named], targets[named]]
    return _summary(named & (places < classes), correct), _summary(named, correct)


def _summary(named: NDArray[np.bool_], correct: NDArray[np.bool_]) -> CoverageAndPrecision:
    return CoverageAndPrecision(
        accepted=float(named.mean()) if len(named) else 0.0,
        precision=float(correct[named].mean()) if named.any() else None,
    )
