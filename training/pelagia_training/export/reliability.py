"""Fits what makes an exported model reliable: temperatures, thresholds, and the out-of-distribution score.

Invariant: the score's subspace is fitted on training images; temperatures and thresholds are fitted on validation
images, preprocessed as the runner does it. No test image is used. `pelagia_training.export.final` does the same for a
network that was trained on all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.decision import Decision
from pelagia.model.metadata import Calibration, Unknown
from pelagia.model.policies import Policies, conservative_target
from pelagia.model.tracks import fit_evidence
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import DecisionConfig
from pelagia_training.data.batches import spread, targets_of
from pelagia_training.figures.calibrate import calibrate, calibrated
from pelagia_training.figures.metrics import Matrix, confusion_matrix
from pelagia_training.figures.thresholds import choose_thresholds
from pelagia_training.network.backbone import (
    Deployed,
    Normalized,
    last_layer,
    require_features,
)
from pelagia_training.network.ensemble import Exportable
from pelagia_training.network.outputs import Progress, no_progress, outputs
from pelagia_training.network.unknown import (
    PRINCIPAL_SHARE,
    WEIGHT,
    Vim,
    VirtualLogit,
    fit_vim,
    outside_share,
    threshold_for,
    vim_score,
)

SUBSPACE_IMAGES = 4096
UNKNOWN_TOLERANCE = 5e-3
"""Largest difference of a score that is always allowed between trainer and runner. A score has the scale of logits and
is computed as the difference of large numbers; on FlowCam with mobilenetv2, trainer and runner differed by 1e-5."""
UNKNOWN_TOLERANCE_SHARE = 0.01
"""The same as a share of the spread of the scores: such a difference changes the order of hardly any images."""
NO_FEATURES = "the network does not end in one linear layer"
_COLLAPSED = 1e-4
"""If the features outside the subspace are smaller than this share of all features, they are mostly rounding errors of
float32: the features have collapsed into fewer dimensions."""


@dataclass(frozen=True)
class CalibratedNetwork:
    """A network ready for export, and the metadata to write with it.

    Attributes:
        network: the network with temperatures, softmax and, if possible, the out-of-distribution score.
        calibration: the temperatures, and the calibration error before and after.
        decision: the thresholds.
        policies: the thresholds of the conservative policy, and the exponent for tracks.
        unknown: metadata of the out-of-distribution score; None if the model has no such score.
        no_unknown: why the model has no such score; empty if it has one, or if the config turns it off.
        confusion: int64, classes x classes, the confusion matrix of the held-out images: those of the validation
            split, or those of all folds.
        held_out: float64, N x classes: the probabilities of the held-out images, each calibrated without its group.
        above: bool, N: whether the out-of-distribution score of a held-out image is above the threshold; None if the
            model has no score.
        known_accepted: of a network that was trained on all images: as in `pelagia.model.held_out.OutOfFold`.
    """

    network: Exportable
    calibration: Calibration
    decision: Decision
    policies: Policies
    unknown: Unknown | None
    no_unknown: str
    confusion: Matrix
    held_out: NDArray[np.float64]
    above: NDArray[np.bool_] | None
    known_accepted: float | None = None


def calibrate_network(
    classifier: Normalized,
    dataset: Dataset,
    known: tuple[Sequence[Record], Sequence[Record]],
    taxonomy: Taxonomy,
    spec: PreprocessSpec,
    config: DecisionConfig,
    progress: Progress = no_progress,
) -> CalibratedNetwork:
    """Fits temperatures, thresholds and, if the network exposes its features, the out-of-distribution score.

    Args:
        classifier: the trained network.
        dataset: the dataset that holds the images.
        known: the images of the training split and of the validation split, all of the model's classes.
        taxonomy: the model's taxonomy.
        spec: the model's preprocessing.
        config: the target precision, and the share of known images to accept.
        progress: called with (images done, total images).

    Raises:
        DatasetError: an image cannot be read.
    """
    found = predictions_of(classifier, dataset, known, spec, scored=config.unknown, progress=progress)
    return fitted(
        found, dataset, known[1], taxonomy, config, lambda divisors: Deployed(classifier, divisors, found.virtual)
    )


@dataclass(frozen=True)
class Predictions:
    """What a network, or an ensemble, says of images that it was not trained on.

    Attributes:
        logits: float32, N x classes.
        scores: float32, N: out-of-distribution scores; None if there is no such score.
        virtual: computes the score; None if there is none, or several in an ensemble.
        dimensions: the number of dimensions of the principal subspace; 0 without a score.
        no_scores: why there is no score; empty if there is one, or if the config turns it off.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32] | None = None
    virtual: VirtualLogit | None = None
    dimensions: int = 0
    no_scores: str = ""


def predictions_of(
    classifier: Normalized,
    dataset: Dataset,
    known: tuple[Sequence[Record], Sequence[Record]],
    spec: PreprocessSpec,
    *,
    scored: bool,
    progress: Progress = no_progress,
) -> Predictions:
    """The predictions of a network for the second part of ``known``; its score is fitted on the first part.

    All images go through the network once. The arguments are those of `calibrate_network`; ``scored``: whether the
    model will have the score.
    """
    train, val = known
    subspace = subspace_images(train) if scored else []
    logits, features = outputs(classifier, dataset, [*val, *subspace], spec, progress)
    if not scored:
        return Predictions(logits)
    count = len(val)
    vim, _, why = fit_subspace(classifier, logits[count:], None if features is None else features[count:])
    if vim is None or features is None:
        return Predictions(logits[:count], no_scores=why)
    scores = vim_score(vim, features[:count], logits[:count])
    return Predictions(logits[:count], scores, VirtualLogit(vim), vim.dimensions)


def fitted(
    found: Predictions,
    dataset: Dataset,
    held_out: Sequence[Record],
    taxonomy: Taxonomy,
    config: DecisionConfig,
    network: Callable[[Sequence[float]], Exportable],
) -> CalibratedNetwork:
    """Fits temperatures, thresholds and the limit of the score to predictions.

    Args:
        found: the predictions.
        dataset: the dataset that holds the images.
        held_out: the N images of the predictions.
        taxonomy: the model's taxonomy.
        config: the target precision, and the share of known images to accept.
        network: makes the graph from the temperatures.
    """
    targets = targets_of(held_out, taxonomy.names)
    calibration, probabilities = calibrate(found.logits, targets, [record.group for record in held_out])
    rules = rules_of(dataset, held_out, probabilities.astype(np.float32), targets, taxonomy, config.target_precision)
    unknown, above, share = None, None, config.known_share
    if found.scores is not None:
        unknown = unknown_of(found.dimensions, found.scores, share, threshold_for(found.scores, share))
        above = found.scores > unknown.threshold
    predicted = calibrated(found.logits, calibration.temperatures).argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, len(taxonomy.names))
    graph = network(calibration.temperatures).eval()
    return CalibratedNetwork(graph, calibration, *rules, unknown, found.no_scores, confusion, probabilities, above)


def rules_of(
    dataset: Dataset,
    held_out: Sequence[Record],
    probabilities: NDArray[np.float32],
    targets: NDArray[np.int64],
    taxonomy: Taxonomy,
    target: float,
) -> tuple[Decision, Policies]:
    """The thresholds for the target precision, those of the conservative policy, and the exponent for tracks."""
    decision = choose_thresholds(probabilities, targets, taxonomy, target)
    strict = choose_thresholds(probabilities, targets, taxonomy, conservative_target(target))
    evidence = None
    if (column := dataset.meta.split.group_column) is not None:
        tracks = np.array([record.extra.get(column, "") for record in held_out])
        named = tracks != ""
        evidence = fit_evidence(probabilities[named], targets[named], tracks[named], column)
    return decision, Policies(conservative=strict, tracks=evidence)


def with_embedding(calibrated: CalibratedNetwork, size: int, backbone: str) -> CalibratedNetwork:
    """The same network with the embedding as one more output.

    Args:
        calibrated: the network without it.
        size: the side of the images in pixels.
        backbone: its name, for the message.

    Raises:
        ConfigError: the network does not end in one linear layer, so it shows no features.
    """
    network = calibrated.network
    assert isinstance(network, Deployed)  # noqa: S101 - an ensemble has no embedding
    require_features(network.classifier, size, backbone)
    divisors = network.divisors.tolist()
    return replace(calibrated, network=Deployed(network.classifier, divisors, network.unknown, embedding=True).eval())


def subspace_images(train: Sequence[Record]) -> list[Record]:
    """The training images that the principal subspace is fitted on: at most `SUBSPACE_IMAGES`."""
    return spread(train, SUBSPACE_IMAGES)


def fit_subspace(
    classifier: Normalized, logits: NDArray[np.float32], features: NDArray[np.float32] | None
) -> tuple[Vim | None, NDArray[np.float32], str]:
    """Fits the principal subspace of the training images' features.

    Args:
        classifier: the network.
        logits: float32, N x C, of the `subspace_images`.
        features: float32, N x D, of the same images; None if the network shows none.

    Returns:
        The subspace, and the scores of these images (float32, N); the reason is empty. If the network shows no
        features, or they have collapsed: None, no scores, and the reason.
    """
    if features is None:
        return None, np.empty(0, np.float32), NO_FEATURES
    layer = last_layer(classifier)
    vim = fit_vim(features, logits, layer.weight.detach().numpy(), layer.bias.detach().numpy())
    outside = outside_share(vim, features)
    if outside >= _COLLAPSED:
        return vim, vim_score(vim, features, logits), ""
    reason = (
        f"the features of the training images have collapsed into {vim.dimensions} of {features.shape[1]} dimensions "
        f"({outside:.1g} of their length is outside), as in a network that has hardly been trained or has diverged: "
        "train longer or with a lower train.lr"
    )
    return None, np.empty(0, np.float32), reason


def unknown_of(dimensions: int, scores: NDArray[np.float32], known_share: float, threshold: float) -> Unknown:
    """The metadata of the out-of-distribution score.

    Args:
        dimensions: of the principal subspace; in an ensemble, of all members together.
        scores: float32, N, of images of the model's classes.
        known_share: the share of images of known classes that are not called unknown.
        threshold: the limit.
    """
    low, high = np.percentile(scores.astype(np.float64), (5, 95))
    return Unknown(
        dimensions=dimensions,
        principal_share=PRINCIPAL_SHARE,
        weight=WEIGHT,
        known_share=known_share,
        threshold=threshold,
        tolerance=max(UNKNOWN_TOLERANCE, UNKNOWN_TOLERANCE_SHARE * float(high - low)),
    )
