"""Validation: predictions for the val split, shared among all processes.

The validation loss is the mean cross-entropy of the labels, in nats. It has no label smoothing, no mixing and no
weights of classes, which the training loss may have, so the two losses have different levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia_training.data.batches import EveryNth
from pelagia_training.figures.calibrate import negative_log_likelihood, softmax
from pelagia_training.figures.metrics import Matrix, confusion_matrix
from pelagia_training.fit.context import RunContext
from pelagia_training.network.predict import predict


@dataclass(frozen=True)
class Validation:
    """The result of one validation.

    Attributes:
        confusion: int64, C x C, counts of images by label (rows) and predicted class (columns).
        loss: the mean cross-entropy of the labels; NaN if a logit is not finite.
    """

    confusion: Matrix
    loss: float


def validate(run: RunContext) -> Validation | None:
    """Classifies the val split with the weights that are evaluated; None if all images are trained on."""
    if not len(run.val_targets):
        return None
    logits = _validation_logits(run)
    confusion = confusion_matrix(run.val_targets, logits.argmax(1), logits.shape[1])
    return Validation(confusion, negative_log_likelihood(softmax(logits), run.val_targets))


def _validation_logits(run: RunContext) -> NDArray[np.float32]:
    """Logits of all validation images, float32 N x C. Each process computes a share; all processes get all logits."""
    fabric = run.learner.fabric
    share = EveryNth(run.val_images, fabric.global_rank, fabric.world_size)
    sizes = None if run.val_sizes is None else run.val_sizes[fabric.global_rank :: fabric.world_size]
    logits = predict(run.learner.evaluated, share, sizes)
    if fabric.world_size == 1:
        return logits
    everything = torch.zeros((len(run.val_images), logits.shape[1]), device=fabric.device)
    everything[fabric.global_rank :: fabric.world_size] = torch.from_numpy(logits).to(fabric.device)
    reduced: Any = fabric.all_reduce(everything, reduce_op="sum")
    return np.asarray(reduced.cpu().numpy(), np.float32)
