"""Calibrates probabilities with one temperature per class, fitted on the validation split.

Temperature scaling (Guo et al. 2017) divides all logits by one temperature. Here each centered logit is divided by the
temperature of its class, and a penalty keeps the temperatures close to a common value. The penalty is chosen by the
likelihood of validation images whose groups were held out of the fit. One of the choices is an infinite penalty, which
gives one temperature for all classes. `benchmarks/science/calibration.py` compares this method with others.

On few images, fitted temperatures can make the probabilities worse. So they are used only if they pay on the held-out
images: the log-likelihood must rise by more than `LEAST_GAIN` of its standard error, and the calibration error must
fall. Else every temperature is 1. A whole standard error (Breiman et al. 1984, "Classification and Regression Trees",
chapter 3) would also refuse most temperatures that help on a hundred images.

The best epoch was chosen on the validation split, so metrics on this split are slightly optimistic. The metrics that
`pelagia evaluate` computes on the test split are not.

Shapes: N images, C classes. Logits and probabilities are N x C; targets are int64, N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia.model.metadata import Calibration
from pelagia_training.figures.metrics import BINS, reliability_diagram

PENALTIES = (math.inf, 0.3, 0.1, 0.03)
"""Penalties to try. A penalty multiplies the squared log-ratio of a class's temperature to the common temperature; the
infinite penalty gives one temperature for all classes."""
LEAST_GAIN = 0.5
"""Share of a standard error. In simulations with 100 images, temperatures then raised the calibration error of other
images in 4% of the cases if the network was calibrated already (any gain: 24%), and were used in 92% if it was not."""
_FOLDS = 30
"""Largest number of folds. It is large because a class may occur in few groups, and a fold should not hold out most
images of a class."""
_CHANCE_DRAWS = 200
_BOUNDS = (0.1, 10.0)
"""Smallest and largest temperature. Without these bounds an untrained network would get a temperature at which float32
cannot tell the classes apart."""

Floats = NDArray[np.floating]
Whole = NDArray[np.int64]


def softmax(logits: Floats) -> NDArray[np.float64]:
    """The softmax probabilities of the logits, float64 N x C."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def centered(logits: Floats) -> NDArray[np.float64]:
    """Logits minus their mean over the classes, float64 N x C, so a constant added to all logits has no effect."""
    values = logits.astype(np.float64)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def calibrated(logits: Floats, temperatures: Sequence[float] | Floats) -> NDArray[np.float64]:
    """The calibrated probabilities, float64 N x C, computed as in the exported graph."""
    return softmax(centered(logits) / np.asarray(temperatures))


def uncalibrated(probabilities: Floats, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """The inverse of `calibrated`: the probabilities if every temperature were 1, float64 N x C."""
    divisors = np.asarray(temperatures)
    scaled = np.log(np.maximum(probabilities.astype(np.float64), 1e-30)) * divisors
    return softmax(scaled - scaled.sum(axis=1, keepdims=True) * divisors / divisors.sum())


def negative_log_likelihood(probabilities: Floats, targets: Whole) -> float:
    """The mean negative log-likelihood of the labels."""
    return -float(log_likelihoods(probabilities, targets).mean())


def log_likelihoods(probabilities: Floats, targets: Whole) -> NDArray[np.float64]:
    """The logarithm of the probability of each image's label, float64 N."""
    return np.asarray(np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)), np.float64)


def error_by_chance(probabilities: Floats, bins: int = BINS) -> float:
    """The mean calibration error that these images would show by chance if every confidence were exactly right."""
    random = np.random.default_rng(0)
    confidence = np.sort(probabilities.max(axis=1).astype(np.float64))
    parts = np.array_split(confidence, min(bins, len(confidence)))
    drawn = ((random.random((_CHANCE_DRAWS, len(part))) < part).mean(axis=1) for part in parts)
    distances = [np.abs(part.mean() - right).mean() * len(part) for part, right in zip(parts, drawn, strict=True)]
    return float(np.sum(distances) / len(confidence))


def fit_temperatures(logits: Floats, targets: Whole, penalty: float = math.inf) -> NDArray[np.float64]:
    """The temperatures that maximize the likelihood minus the penalty term: float64, C."""
    values, labels = torch.from_numpy(centered(logits)), torch.from_numpy(targets)
    common = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=math.isfinite(penalty))
    free = [common, own] if own.requires_grad else [common]
    optimizer = torch.optim.LBFGS(free, max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(values * torch.exp(common + own), labels)
        if own.requires_grad:
            value = value + penalty * (own * own).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(np.clip(np.exp(-(common + own).detach().numpy()), *_BOUNDS))


def calibrate(logits: Floats, targets: Whole, groups: Sequence[str]) -> tuple[Calibration, NDArray[np.float64]]:
    """Fits the temperatures of a network, and computes held-out probabilities.

    Every temperature is 1 if fitted ones do not pay on held-out images (`pays`).

    Args:
        logits: float, N x C, the network's logits of the validation images.
        targets: int64, N, the labels' class indices.
        groups: the group of each image, N; images of one group are fitted on together or held out together. If there
            is only one group, single images are held out.

    Returns:
        The calibration: the temperatures, and the calibration error before and after.
        Float64, N x C: the probabilities of each image, with temperatures that were fitted without its group.
    """
    units = list(groups) if len(set(groups)) > 1 else [str(index) for index in range(len(targets))]
    folds = folds_of(units)
    penalties = PENALTIES if len(set(groups)) > 1 else PENALTIES[:1]
    held_out = {penalty: _held_out(logits, targets, folds, penalty) for penalty in penalties}
    losses = {penalty: negative_log_likelihood(values, targets) for penalty, values in held_out.items()}
    best = min(losses, key=lambda penalty: losses[penalty])
    before, after = softmax(logits), held_out[best]
    if pays(before, after, targets, units):
        temperatures = fit_temperatures(logits, targets, best)
    else:
        temperatures, after = np.ones(logits.shape[1]), before
    calibration = Calibration(
        temperatures=tuple(temperatures.tolist()),
        images=len(targets),
        bins=BINS,
        error_before=reliability_diagram(before, targets).error,
        error=reliability_diagram(after, targets).error,
        error_by_chance=error_by_chance(after),
        likelihood_before=negative_log_likelihood(before, targets),
        likelihood=negative_log_likelihood(after, targets),
    )
    return calibration, after


def pays(before: Floats, held_out: Floats, targets: Whole, groups: Sequence[str]) -> bool:
    """Whether temperatures improve the probabilities of images that they were not fitted on.

    The mean log-likelihood must rise by more than `LEAST_GAIN` of its standard error, which is computed from the groups
    because images of one group are not independent, and the calibration error must fall.

    Args:
        before: float, N x C, probabilities with every temperature 1.
        held_out: float, N x C, probabilities with temperatures that were fitted without the image's group.
        targets: int64, N, the labels' class indices.
        groups: the group of each image, N.
    """
    gains = log_likelihoods(held_out, targets) - log_likelihoods(before, targets)
    group_of = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(group_of.max()) + 1
    if count < 2:
        return False
    sums = np.bincount(group_of, gains - gains.mean())
    error = math.sqrt((sums**2).sum() * count / (count - 1)) / len(targets)
    fell = reliability_diagram(held_out, targets).error < reliability_diagram(before, targets).error
    return bool(gains.mean() > LEAST_GAIN * error and fell)


def folds_of(groups: Sequence[str]) -> list[NDArray[np.bool_]]:
    """The images that each fold holds out: one bool array (N) per fold; no fold if all images are of one group."""
    names = np.random.default_rng(0).permutation(sorted(set(groups)))
    if len(names) < 2:
        return []
    return [np.isin(np.asarray(groups), part) for part in np.array_split(names, min(_FOLDS, len(names)))]


def _held_out(
    logits: Floats, targets: Whole, folds: Sequence[NDArray[np.bool_]], penalty: float
) -> NDArray[np.float64]:
    """The probabilities of each image, with temperatures fitted without its group; without folds, as they are."""
    if not folds:  # a single image
        return softmax(logits)
    probabilities = np.empty(logits.shape, np.float64)
    for out in folds:
        probabilities[out] = calibrated(logits[out], fit_temperatures(logits[~out], targets[~out], penalty))
    return probabilities
