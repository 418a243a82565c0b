"""What images without labels can teach a trained network: the methods that `survey_methods` compares.

Each takes a trained network, what it gives for the images of a survey, and a setting, and returns logits or
probabilities, float32, N x C. None of them reads the labels of the survey.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional

from pelagia_training.figures.calibrate import softmax
from pelagia_training.network.backbone import Normalized, last_layer
from pelagia_training.network.losses import soft_targets

Floats = NDArray[np.float32]
Setting = Mapping[str, Any]

COMPONENTS = 64
SMOOTHING = 0.1


@dataclass(frozen=True)
class Seen:
    """What a network gives for the N images of a split.

    Attributes:
        features: the input of the last layer, float32, N x D.
        logits: float32, N x C.
        targets: the true classes, int64, N; a method may read those of the train split alone.
        groups: the station of each image.
        images: uint8, N x S x S x 3; empty for the train split.
    """

    features: Floats
    logits: Floats
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]
    images: NDArray[np.uint8]


@dataclass
class Trained:
    """A trained network, and what it gives for the images of its training."""

    network: Normalized
    train: Seen

    @cached_property
    def axes(self) -> Floats:
        """The first principal components of the embeddings of the training, float32, K x D."""
        vectors = np.linalg.eigh(np.cov(self.train.features, rowvar=False, bias=True))[1]
        return np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS].T, np.float32)

    @property
    def head(self) -> tuple[Floats, Floats]:
        """Weight, C x D, and bias, C, of the last layer."""
        layer = last_layer(self.network)
        return layer.weight.detach().numpy(), layer.bias.detach().numpy()


# ---- statistics of a station or of the whole survey


def parts_of(groups: NDArray[np.str_], by: str) -> list[NDArray[np.int64]]:
    """The indices of the images of each station, or of all (``by`` survey)."""
    if by == "survey":
        return [np.arange(len(groups))]
    return [np.flatnonzero(groups == name) for name in np.unique(groups)]


def share(count: int, prior: float) -> float:
    """The weight of the statistics of ``count`` images."""
    return count / (count + prior)


@torch.no_grad()
def batch_norm(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits with the statistics of batch norm estimated again from the images of each part of the survey."""
    logits = np.empty_like(survey.logits)
    for part in parts_of(survey.groups, setting["by"]):
        with estimated_again(trained.network, share(len(part), setting["prior"])):
            logits[part] = trained.network(torch.from_numpy(survey.images[part])).numpy()
    return logits


@contextmanager
def estimated_again(network: nn.Module, weight: float) -> Iterator[None]:
    """Each batch norm uses a mix of its statistics and of those of the batch, whose weight is 0..1."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    trained = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]  # type: ignore[union-attr]

    def mix(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), unbiased=False)
        was_mean, was_variance = statistics[norm]
        mixed = (1 - weight) * was_mean + weight * mean
        between = (1 - weight) * (was_mean - mixed) ** 2 + weight * (mean - mixed) ** 2
        norm.running_mean.copy_(mixed)  # type: ignore[union-attr]
        norm.running_var.copy_((1 - weight) * was_variance + weight * variance + between)  # type: ignore[union-attr]

    statistics = dict(zip(norms, trained, strict=True))
    hooks = [norm.register_forward_pre_hook(mix) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (mean, variance) in statistics.items():
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            norm.running_var.copy_(variance)  # type: ignore[union-attr]


def mean(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of the embeddings, shifted towards the mean of the training."""
    moved = survey.features.copy()
    for part in parts_of(survey.groups, setting["by"]):
        shift = trained.train.features.mean(0) - survey.features[part].mean(0)
        moved[part] += share(len(part), setting["prior"]) * shift
    return logits_of(trained, moved)


def coral(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of the embeddings, with mean and covariance moved to those of the training."""
    center = trained.train.features.mean(0)
    axes = trained.axes
    wanted = (trained.train.features - center) @ axes.T
    moved = survey.features.copy()
    for part in parts_of(survey.groups, setting["by"]):
        have = (survey.features[part] - center) @ axes.T
        moved[part] += (aligned(have, wanted, share(len(part), setting["prior"])) - have) @ axes
    return logits_of(trained, moved)


def aligned(have: Floats, wanted: Floats, weight: float) -> Floats:
    """``have`` (float32, N x D) with mean and covariance moved to those of ``wanted`` (float32, M x D).

    Its own mean and covariance are first mixed with the wanted ones: ``weight`` 0 changes nothing.
    """
    mean, target = have.mean(0), wanted.mean(0)
    mixed = weight * mean + (1 - weight) * target
    covariance = np.cov(wanted, rowvar=False, bias=True)
    own = np.cov(have, rowvar=False, bias=True) if len(have) > 1 else covariance
    turn = power(weight * own + (1 - weight) * covariance, -0.5) @ power(covariance, 0.5)
    return ((have - mixed) @ turn + target).astype(np.float32)


def power(matrix: NDArray[np.floating], exponent: float) -> NDArray[np.floating]:
    """A power of a symmetric matrix with eigenvalues of at least 0."""
    values, vectors = np.linalg.eigh(matrix)
    powered: NDArray[np.floating] = (vectors * np.maximum(values, 1e-6 * values.max()) ** exponent) @ vectors.T
    return powered


def logits_of(trained: Trained, features: Floats) -> Floats:
    weight, bias = trained.head
    found: Floats = features @ weight.T + bias
    return found


# ---- labels that the network guesses, and neighbors


def last_layer_again(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Logits of a last layer that is also fitted to the surest images of the survey; it stays near to the old one."""
    weight, bias = (torch.from_numpy(one.copy()).requires_grad_() for one in trained.head)
    old = weight.detach().clone()
    classes = len(old)
    features = torch.from_numpy(trained.train.features)
    wanted = soft_targets(torch.from_numpy(trained.train.targets), classes, SMOOTHING)
    chosen = surest(softmax(survey.logits), setting["share"])
    guessed = soft_targets(torch.from_numpy(survey.logits[chosen].argmax(1)), classes, SMOOTHING)
    of_survey = torch.from_numpy(survey.features[chosen])
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(features @ weight.T + bias, wanted)
        if len(chosen):
            loss = loss + setting["weight"] * functional.cross_entropy(of_survey @ weight.T + bias, guessed)
        loss = loss + setting["strength"] / 2 * ((weight - old) ** 2).sum()
        torch.autograd.backward(loss)
        return loss

    stepped: Any = optimizer
    stepped.step(closure)
    found: Floats = survey.features @ weight.detach().numpy().T + bias.detach().numpy()
    return found


def surest(probabilities: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    """The images with the highest probabilities: a share of those of each predicted class. Indices, ascending."""
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    kept: list[int] = []
    for number in np.unique(predicted):
        of_class = np.flatnonzero(predicted == number)
        kept += of_class[np.argsort(-confidence[of_class], kind="stable")[: round(share * len(of_class))]].tolist()
    return np.array(sorted(kept), np.int64)


def propagation(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Probabilities that have spread along neighbors."""
    start, features = softmax(survey.logits).astype(np.float32), survey.features
    if setting["among"] == "all":
        start = np.concatenate((start, np.eye(start.shape[1], dtype=np.float32)[trained.train.targets]))
        features = np.concatenate((features, trained.train.features))
    return spread_out(start, features, setting["alpha"])[: len(survey.logits)]


def spread_out(start: Floats, features: Floats, alpha: float, count: int = 10, steps: int = 50) -> Floats:
    """Probabilities (float32, N x C) after they have spread along the ``count`` nearest neighbors of each image.

    Args:
        alpha: the share that an image takes from its neighbors, 0..1; the rest is its own start.
    """
    similarity = cosine(features, features)
    np.fill_diagonal(similarity, -1)
    nearest = np.argpartition(-similarity, count, axis=1)[:, :count]
    rows = np.repeat(np.arange(len(features)), count)
    values = np.maximum(similarity[rows, nearest.ravel()], 0) ** 3
    graph = sparse.csr_matrix((values, (rows, nearest.ravel())), shape=similarity.shape)
    graph = graph.maximum(graph.T)
    scale = sparse.diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(1)).ravel(), 1e-9)))
    graph = scale @ graph @ scale
    found = start
    for _ in range(steps):
        found = alpha * (graph @ found) + (1 - alpha) * start
    return np.asarray(found, np.float32)


def neighbors(trained: Trained, survey: Seen, setting: Setting) -> Floats:
    """Probabilities mixed with the labels of the nearest training images, the nearer the more."""
    own = softmax(survey.logits)
    votes = voted(cosine(survey.features, trained.train.features), trained.train.targets, setting["k"], own.shape[1])
    return ((1 - setting["weight"]) * own + setting["weight"] * votes).astype(np.float32)


def voted(similarity: Floats, targets: NDArray[np.int64], count: int, classes: int) -> Floats:
    """Shares of the classes among the ``count`` most similar images, weighted by exp(similarity / 0.07)."""
    nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    weights = np.exp((np.take_along_axis(similarity, nearest, 1) - 1) / 0.07)
    votes = np.zeros((len(similarity), classes), np.float32)
    np.add.at(votes, (np.arange(len(similarity))[:, None], targets[nearest]), weights)
    shares: Floats = votes / votes.sum(1, keepdims=True)
    return shares


def cosine(one: Floats, other: Floats) -> Floats:
    lengths = [np.linalg.norm(each, axis=1, keepdims=True) + 1e-9 for each in (one, other)]
    found: Floats = (one / lengths[0]) @ (other / lengths[1]).T
    return found
