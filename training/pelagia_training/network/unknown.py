"""The out-of-distribution score: ViM, virtual-logit matching (Wang et al., CVPR 2022).

A score is higher if an image looks less like the training images. Features are the pooled input of the last layer,
float32, N x D. Logits are float32, N x C, not divided by a temperature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]

PRINCIPAL_SHARE = 0.95
"""The share of the training features' scatter that the principal subspace holds."""
WEIGHT = 0.25
"""The weight of the virtual logit: the paper uses 1; 0 gives the energy score. In `benchmarks/science/unknown.py`,
1 detects some of the left-out classes better than 0 and others worse; 0.25 is better on average."""


@dataclass(frozen=True)
class Vim:
    """A principal subspace, and the scale of the logit for the residual outside it.

    Attributes:
        origin: the features at which the logits carry the least information, float32, D.
        principal: the orthonormal columns that span the subspace, float32, D x dimensions.
        scale: the factor that turns the residual's norm into a logit.
    """

    origin: Floats
    principal: Floats
    scale: float

    @property
    def dimensions(self) -> int:
        return int(self.principal.shape[1])


def fit_vim(
    features: Floats,
    logits: Floats,
    weight: Floats,
    bias: Floats,
    *,
    share: float = PRINCIPAL_SHARE,
    counts_for: float = WEIGHT,
) -> Vim:
    """Fits the subspace to the training images.

    Args:
        features: the features of training images.
        logits: the logits of the same images.
        weight: the weight of the last layer, C x D.
        bias: the bias of the last layer, C.
        share: the share of the scatter around the origin that the subspace holds; at least one dimension stays outside.
        counts_for: the mean virtual logit of these images, divided by their mean largest logit.
    """
    origin = -np.linalg.pinv(weight.astype(np.float64)) @ bias
    around = features.astype(np.float64) - origin
    scatter, axes = np.linalg.eigh(around.T @ around)
    held = np.cumsum(scatter[::-1]) / scatter.sum()
    dimensions = min(int(np.searchsorted(held, share)) + 1, len(scatter) - 1)
    principal = axes[:, ::-1][:, :dimensions]
    residual = np.linalg.norm(around - around @ principal @ principal.T, axis=1)
    scale = float(counts_for * logits.max(axis=1).mean() / max(residual.mean(), 1e-12))
    return Vim(origin.astype(np.float32), np.ascontiguousarray(principal, np.float32), scale)


def outside_share(vim: Vim, features: Floats) -> float:
    """The mean norm of the features outside the subspace, divided by the mean norm of the features: 0..1."""
    around = features.astype(np.float64) - vim.origin
    residual = around - around @ vim.principal @ vim.principal.T
    return float(np.linalg.norm(residual, axis=1).mean() / max(np.linalg.norm(around, axis=1).mean(), 1e-12))


class VirtualLogit(nn.Module):
    """Computes the score from features and logits: the virtual logit minus the log-sum-exp of the logits, float32 N."""

    origin: Tensor
    principal: Tensor

    def __init__(self, vim: Vim) -> None:
        super().__init__()
        self.register_buffer("origin", torch.from_numpy(vim.origin))
        self.register_buffer("principal", torch.from_numpy(vim.principal))
        self.scale = vim.scale

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        around = features - self.origin
        residual = around - (around @ self.principal) @ self.principal.T
        # log-sum-exp, written out, because the quantizer's tools fail on ONNX's operator for it
        summed = (logits - torch.log_softmax(logits, 1)).mean(1)
        return self.scale * torch.sqrt((residual * residual).sum(1)) - summed


def vim_score(vim: Vim, features: Floats, logits: Floats) -> Floats:
    """The score of `VirtualLogit` for numpy arrays: float32 N."""
    with torch.no_grad():
        score = VirtualLogit(vim)(torch.from_numpy(features), torch.from_numpy(logits))
    return np.asarray(score.numpy(), np.float32)


def threshold_for(known: Floats, share: float) -> float:
    """The threshold that a ``share`` of the known images' scores do not exceed, halfway to the next higher score."""
    ordered = np.sort(known.astype(np.float64))
    last = max(0, int(np.ceil(share * len(ordered))) - 1)
    return float((ordered[last] + ordered[min(last + 1, len(ordered) - 1)]) / 2)
