"""Losses: cross-entropy on soft targets, and its variants for rare classes.

Invariant: every loss takes logits, float32 N x C, and targets, float32 N x C with rows that sum to 1, and returns
the mean over the batch. So smoothed labels, mixed images and teachers work with each loss. No loss has a state.

The papers: logit adjustment, Menon et al. 2021 (arXiv 2007.07314), whose form in the loss is the balanced softmax of
Ren et al. 2020 (arXiv 2007.10740); focal, Lin et al. 2017 (arXiv 1708.02002); effective number, Cui et al. 2019 (arXiv
1901.05555).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pelagia_training.config import LongTail

Loss = Callable[[Tensor, Tensor], Tensor]
"""A function: (logits, float32 N x C; targets, float32 N x C) -> the mean loss, a scalar."""

_FOCUS = 2.0
_OVERLAP = 0.999
"""Beta of the effective number: above 1 / (1 - beta) = 1000 images of a class, another image adds little."""


def soft_targets(classes: Tensor, count: int, smoothing: float) -> Tensor:
    """Class indices (int64 N), or probabilities (float32 N x ``count``), as smoothed probabilities, float32 N x
    ``count``: 1 - ``smoothing`` for the label, plus ``smoothing`` spread over all classes."""
    hot = classes if classes.is_floating_point() else functional.one_hot(classes, count).float()
    return hot * (1 - smoothing) + smoothing / count


def build_loss(long_tail: LongTail, counts: NDArray[Any]) -> Loss:
    """Builds the loss for a method of `LongTail`.

    Args:
        counts: the number of training images of each class: C integers above 0.
    """
    number = torch.as_tensor(counts, dtype=torch.float32)
    if long_tail == "logit_adjustment":
        prior = torch.log(number / number.sum())
        return lambda logits, targets: _cross_entropy(logits + prior.to(logits.device), targets)
    if long_tail == "effective_number":
        weights = (1 - _OVERLAP) / (1 - _OVERLAP**number)
        weights = weights * number.sum() / (weights * number).sum()
        return lambda logits, targets: _weighted(logits, targets, weights.to(logits.device))
    if long_tail == "focal":
        return _focal
    return _cross_entropy


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), targets)


def _weighted(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The mean over the images, each weighted by its class. The mean over micro-batches equals that of the batch."""
    return -(targets * weights * torch.log_softmax(logits.float(), 1)).sum(1).mean()


def _focal(logits: Tensor, targets: Tensor) -> Tensor:
    logs = torch.log_softmax(logits.float(), 1)
    return -(targets * (1 - logs.exp()) ** _FOCUS * logs).sum(1).mean()
