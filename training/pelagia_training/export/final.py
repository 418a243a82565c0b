"""Fits what makes the exported model of a run on all labeled images reliable.

Invariant: temperatures, thresholds, policies, the confusion matrix and the correction of counts come from out-of-fold
predictions: each image was predicted by a network that had not seen the image or its group, and its probabilities
were calibrated with temperatures that were fitted without its group. The subspace of the
out-of-distribution score is that of the final network; `pelagia_training.network.threshold` finds its threshold. The
final network itself is measured on no image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset
from pelagia.model.metadata import Unknown
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import targets_of
from pelagia_training.export.held_out import HeldOut
from pelagia_training.export.reliability import CalibratedNetwork, fit_subspace, rules_of, subspace_images, unknown_of
from pelagia_training.figures.calibrate import calibrate
from pelagia_training.figures.metrics import confusion_matrix
from pelagia_training.network.backbone import Deployed, Normalized
from pelagia_training.network.ensemble import Exportable
from pelagia_training.network.outputs import Progress, no_progress, outputs
from pelagia_training.network.threshold import accepted_shares, mean_distance, threshold_at
from pelagia_training.network.unknown import Vim, VirtualLogit


def calibrate_final(
    classifier: Normalized,
    dataset: Dataset,
    held_out: HeldOut,
    taxonomy: Taxonomy,
    config: TrainConfig,
    report: Callable[[str], None],
    progress: Progress = no_progress,
) -> CalibratedNetwork:
    """Fits temperatures, thresholds and the out-of-distribution score of a network that was trained on all images.

    Args:
        classifier: the trained network.
        dataset: the dataset that it was trained on.
        held_out: the predictions of the folds' networks.
        taxonomy: the model's taxonomy.
        config: the run's config.
        report: called with a line of text for people.
        progress: called with (images done, total images).
    """
    vim: Vim | None = None
    trained: NDArray[np.float32] = np.empty(0, np.float32)
    why = held_out.no_scores
    if held_out.scores is not None:
        known = [record for record in dataset.records if record.class_name in taxonomy.names]
        vim, trained, why = fit_subspace(
            classifier, *outputs(classifier, dataset, subspace_images(known), config.preprocess, progress)
        )
    virtual = None if vim is None else VirtualLogit(vim)
    final = FinalScores(trained, 0 if vim is None else vim.dimensions, why)
    return fitted_final(
        held_out, final, dataset, taxonomy, config, lambda divisors: Deployed(classifier, divisors, virtual), report
    )


@dataclass(frozen=True)
class FinalScores:
    """The out-of-distribution scores of a network, or an ensemble, that was trained on all images.

    Attributes:
        trained: float32, the scores of images that it was trained on.
        dimensions: the number of dimensions of the principal subspace; 0 if there is no score.
        no_scores: why there is no score; empty if there is one, or if the config turns it off.
    """

    trained: NDArray[np.float32]
    dimensions: int
    no_scores: str


def fitted_final(
    held_out: HeldOut,
    final: FinalScores,
    dataset: Dataset,
    taxonomy: Taxonomy,
    config: TrainConfig,
    network: Callable[[Sequence[float]], Exportable],
    report: Callable[[str], None],
) -> CalibratedNetwork:
    """Fits temperatures, thresholds and the limit of the score to out-of-fold predictions.

    The arguments are those of `calibrate_final`; ``network`` makes the graph from the temperatures.
    """
    records, settings = held_out.records, config.decision
    targets = targets_of(records, taxonomy.names)
    calibration, probabilities = calibrate(held_out.logits, targets, [record.group for record in records])
    rules = rules_of(dataset, records, probabilities.astype(np.float32), targets, taxonomy, settings.target_precision)
    unknown, above, accepted = None, None, None
    if final.dimensions:
        unknown, above, accepted = _unknown(held_out, final, settings.known_share, report)
    graph = network(calibration.temperatures).eval()
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(taxonomy.names))
    return CalibratedNetwork(
        graph, calibration, *rules, unknown, final.no_scores, confusion, probabilities, above, accepted
    )


def _unknown(
    held_out: HeldOut, final: FinalScores, share: float, report: Callable[[str], None]
) -> tuple[Unknown, NDArray[np.bool_], float]:
    """The metadata of the score, whether its fold's network calls each image unknown, and the share of known images
    that the threshold of the other folds accepts.

    Args:
        held_out: the predictions of the folds, with scores.
        final: the scores of images that the final network was trained on.
        share: the share of images of known classes that are not called unknown.
        report: called with a line of text for people.
    """
    folds = held_out.scores_by_fold()
    distance = mean_distance(folds, share)
    unknown = unknown_of(final.dimensions, final.trained, share, threshold_at(final.trained, distance))
    shares = accepted_shares(folds, share)
    accepted = float(np.average(shares, weights=[len(fold.held_out) for fold in folds]))
    report(
        f"out-of-distribution score: the threshold of the other folds accepts {accepted:.1%} of the images that a fold "
        f"held out ({min(shares):.1%} to {max(shares):.1%}; {share:.0%} is wanted)"
    )
    limits = np.array([threshold_at(fold.trained, distance) for fold in folds])
    assert held_out.scores is not None  # noqa: S101 - the caller has checked it
    return unknown, held_out.scores > limits[held_out.folds - 1], accepted
