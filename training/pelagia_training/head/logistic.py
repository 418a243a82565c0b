"""The last layer of a network as a regularized logistic regression on the features of the labeled images.

The penalty is the squared length of the weights for features with mean 0 and, on average over the dimensions, variance
1. Its strength is chosen by cross-validation: each image is predicted by a head that saw no image of its group.
Features are float32, N x D; targets are probabilities, float32, N x C, whose rows sum to 1.

Invariant: the result depends only on the arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pelagia.dataset.splits import assign_parts
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.losses import Loss

Floats = NDArray[np.float32]

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""The strengths that are tried, the strongest first. In the terms of scikit-learn, C is 1 / (strength x images)."""
FOLDS = 5
_STEPS = 200


@dataclass(frozen=True)
class Linear:
    """A linear layer: logits = features @ weight.T + bias.

    Attributes:
        weight: float32, C x D.
        bias: float32, C.
    """

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """Float32, N x C."""
        found: Floats = features @ self.weight.T + self.bias
        return found


@dataclass(frozen=True)
class Choice:
    """The strength of the penalty, and how it was chosen.

    Attributes:
        strength: one of `STRENGTHS`.
        macro_f1: out of fold, for each of `STRENGTHS`, 0..1.
        folds: the number of folds.
        grouped: whether the folds kept groups together; False if there is only one group.
    """

    strength: float
    macro_f1: tuple[float, ...]
    folds: int
    grouped: bool


def fit_path(features: Floats, targets: Floats, loss: Loss, strengths: Sequence[float] = STRENGTHS) -> list[Linear]:
    """One head for each strength. Each starts from the one before.

    Args:
        loss: as `pelagia_training.network.losses.build_loss` makes them.
        strengths: factors of half of the squared length of the weights, which is added to the mean loss.
    """
    mean, scale, small, back = _standard(features)
    inputs, wanted = torch.from_numpy(small), torch.from_numpy(targets)
    weight = torch.zeros((targets.shape[1], small.shape[1]), requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    heads = []
    for strength in strengths:
        _minimize(weight, bias, lambda w, b: loss(inputs @ w.T + b, wanted), strength)
        full: Floats = ((weight.detach().numpy() @ back) * scale).astype(np.float32)
        heads.append(Linear(full, (bias.detach().numpy() - full @ mean).astype(np.float32)))
    return heads


def choose_strength(
    features: Floats,
    targets: Floats,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    loss: Loss,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Choice:
    """The strength with the best macro-F1 on groups that the head has not seen; of equal ones, the strongest.

    Args:
        labels: int64, N, index of each image's class.
        groups: the group of each image, such as its station; if all are equal, images are held out one by one.
        seed: seed of the folds.
        progress: called with (folds done, all folds).
    """
    grouped = len(set(groups)) > 1
    keys = list(groups) if grouped else [str(index) for index in range(len(groups))]
    folds = min(FOLDS, len(set(keys)))
    fold_of = np.array(assign_parts([str(one) for one in labels], keys, [1 / folds] * folds, seed))
    predicted = np.zeros((len(STRENGTHS), len(labels)), np.int64)
    for fold in range(folds):
        rest, held_out = fold_of != fold, fold_of == fold
        heads = fit_path(features[rest], targets[rest], loss)
        predicted[:, held_out] = [head.logits(features[held_out]).argmax(1) for head in heads]
        progress(fold + 1, folds)
    classes = targets.shape[1]
    scores = tuple(metrics_of(confusion_matrix(labels, one, classes)).macro_f1 for one in predicted)
    return Choice(STRENGTHS[int(np.argmax(scores))], scores, folds, grouped)


def _standard(features: Floats) -> tuple[Floats, float, Floats, Floats]:
    """Centered and scaled features, in as many dimensions as there are images, which changes no head with a penalty.

    Returns:
        The mean, float32, D; the factor; the standard features, float32, N x M; and the orthonormal rows, float32,
        M x D, that turn weights for them into weights for D dimensions.
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = features - mean
    scale = float(1 / np.sqrt(max(float((centered**2).mean()), 1e-12)))
    if len(features) >= features.shape[1]:
        return mean, scale, np.ascontiguousarray(centered * scale), np.eye(features.shape[1], dtype=np.float32)
    rows = np.asarray(torch.linalg.svd(torch.from_numpy(centered), full_matrices=False)[2].numpy())
    return mean, scale, np.ascontiguousarray(centered @ rows.T * scale), rows


def _minimize(weight: Tensor, bias: Tensor, loss: Callable[[Tensor, Tensor], Tensor], strength: float) -> None:
    """Changes ``weight`` and ``bias`` to those with the least loss and penalty."""
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=1e-5, tolerance_change=1e-8, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        optimizer.zero_grad()
        value = loss(weight, bias) + strength / 2 * (weight**2).sum()
        torch.autograd.backward(value)
        return value

    stepped: Any = optimizer
    stepped.step(closure)
