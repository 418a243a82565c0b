"""What an exported model knows of its own limits: temperatures, thresholds, and the score of the unknown.

Invariant: the score's subspace comes from training images; temperatures and thresholds from validation images, as the
runner will see them. No test image has a part in any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.images.preprocess import PreprocessSpec
from pelagia.model.decision import Decision
from pelagia.model.metadata import Calibration, Unknown
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import DecisionConfig
from pelagia_training.data.batches import load_fitted, sizes_of, spread, targets_of
from pelagia_training.figures.calibrate import calibrate, calibrated
from pelagia_training.figures.metrics import Matrix, confusion_matrix
from pelagia_training.figures.thresholds import choose_thresholds
from pelagia_training.network.backbone import Deployed, Normalized, features_of, last_layer, logits_of, shows_features
from pelagia_training.network.unknown import PRINCIPAL_SHARE, WEIGHT, VirtualLogit, fit_vim, threshold_for, vim_score

SUBSPACE_IMAGES = 4096
UNKNOWN_TOLERANCE = 5e-3
"""Scores are of the size of logits, and rest on a difference of large numbers; FlowCam with mobilenetv2: 1e-5."""
_CHUNK = 512
_BATCH = 32


@dataclass(frozen=True)
class CalibratedNetwork:
    """A network ready to be exported, and what is to be written of it.

    Attributes:
        unknown: None where the network does not show its features; then there is no such output.
        confusion: counts over the validation split, with the temperatures.
    """

    network: Deployed
    calibration: Calibration
    decision: Decision
    unknown: Unknown | None
    confusion: Matrix


def calibrate_network(
    classifier: Normalized,
    dataset: Dataset,
    known: tuple[Sequence[Record], Sequence[Record]],
    taxonomy: Taxonomy,
    spec: PreprocessSpec,
    config: DecisionConfig,
) -> CalibratedNetwork:
    """Fits all of it.

    Args:
        known: images of the training and of the validation split, of the model's classes.

    Raises:
        DatasetError: an image cannot be read.
    """
    train, val = known
    logits, features = outputs(classifier, dataset, val, spec)
    targets = targets_of(val, taxonomy.names)
    calibration, held_out = calibrate(logits, targets, [record.group for record in val])
    decision = choose_thresholds(held_out.astype(np.float32), targets, taxonomy, config.target_precision)
    virtual, unknown = None, None
    if features is not None:
        logits_there, features_there = outputs(classifier, dataset, spread(train, SUBSPACE_IMAGES), spec)
        assert features_there is not None  # noqa: S101 - of the same network
        last = last_layer(classifier)
        weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
        vim = fit_vim(features_there, logits_there, weight, bias)
        virtual = VirtualLogit(vim)
        unknown = Unknown(
            dimensions=vim.dimensions,
            principal_share=PRINCIPAL_SHARE,
            weight=WEIGHT,
            known_share=config.known_share,
            threshold=threshold_for(vim_score(vim, features, logits), config.known_share),
            tolerance=UNKNOWN_TOLERANCE,
        )
    network = Deployed(classifier, calibration.temperatures, virtual).eval()
    predicted = calibrated(logits, calibration.temperatures).argmax(axis=1)
    confusion = confusion_matrix(targets, predicted, len(taxonomy.names))
    return CalibratedNetwork(network, calibration, decision, unknown, confusion)


@torch.no_grad()
def outputs(
    classifier: Normalized, dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Logits, float32 N x C, and features, float32 N x D, of a dataset's images, some in memory at a time.

    The features are None where the network does not show them.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier.eval().to(device).to(memory_format=torch.channels_last)
    batch = max(1, _BATCH // classifier.orientations)
    logits, features = [], []
    for start in range(0, len(records), _CHUNK):
        chunk = records[start : start + _CHUNK]
        fitted, sizes = torch.from_numpy(load_fitted(dataset, chunk, spec)), torch.from_numpy(sizes_of(chunk))
        if start == 0:
            shown = shows_features(classifier, fitted[:2].to(device))
        for images, size in zip(torch.split(fitted, batch), torch.split(sizes, batch), strict=True):
            given = features_of(classifier, images.to(device)) if shown else None
            size = size.to(device)
            found = classifier(images.to(device), size) if given is None else logits_of(classifier, given, size)
            logits.append(found.float().cpu().numpy())
            features += [] if given is None else [given.float().cpu().numpy()]
    classifier.cpu().to(memory_format=torch.contiguous_format)
    return np.concatenate(logits), np.concatenate(features) if features else None
