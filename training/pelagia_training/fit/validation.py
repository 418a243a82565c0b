"""Validation: predictions for the val split, shared among all processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia_training.data.batches import EveryNth
from pelagia_training.figures.metrics import Matrix, confusion_matrix
from pelagia_training.fit.context import RunContext
from pelagia_training.network.predict import predict


def validate(run: RunContext) -> Matrix:
    """The confusion matrix of the val split: counts of images by label and predicted class."""
    logits = _validation_logits(run)
    return confusion_matrix(run.val_targets, logits.argmax(1), logits.shape[1])


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
