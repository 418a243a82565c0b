"""Probabilities that mean what they say: a temperature for each class, held together, fitted on the validation split.

Each class's logit, less their mean, is divided by its own temperature (Guo et al. 2017 have one for all). A penalty
holds the temperatures near a common one; how strongly is chosen by the likelihood of validation images whose groups had
no part in the fit, and "all the same" is among the choices. `benchmarks/science/calibration.py` compares with biases as well.

The validation split also chose the epoch, so its figures flatter a little; those of `pelagia evaluate` on test do not.

Shapes: N images, C classes. Logits and probabilities are N x C; targets int64, N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pelagia.model.metadata import Calibration
from pelagia_training.figures.metrics import BINS, reliability_of

PENALTIES = (math.inf, 0.3, 0.1, 0.03)
"""On the squared logarithm of each class's share in its temperature; infinite: one temperature for all."""
_FOLDS = 30
"""Many: a class may lie in few groups, and a fold that takes most of it away judges a fit that is never made."""
_CHANCE_DRAWS = 200
_BOUNDS = (0.1, 10.0)
"""A network that has learnt nothing would get a temperature at which float32 holds no order of its classes."""

Floats = NDArray[np.floating]
Whole = NDArray[np.int64]


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Probabilities, float64 N x C."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def centred(logits: Floats) -> NDArray[np.float64]:
    """Logits whose mean over the classes is 0, float64 N x C: what a softmax does not see then changes nothing."""
    values = logits.astype(np.float64)
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def calibrated(logits: Floats, temperatures: Sequence[float] | Floats) -> NDArray[np.float64]:
    """Probabilities, float64 N x C, as the exported graph computes them."""
    return softmax(centred(logits) / np.asarray(temperatures))


def uncalibrated(probabilities: Floats, temperatures: Sequence[float]) -> NDArray[np.float64]:
    """The probabilities with every temperature 1, of those that `calibrated` gave: float64 N x C."""
    divisors = np.asarray(temperatures)
    scaled = np.log(np.maximum(probabilities.astype(np.float64), 1e-30)) * divisors
    return softmax(scaled - scaled.sum(axis=1, keepdims=True) * divisors / divisors.sum())


def likelihood(probabilities: Floats, targets: Whole) -> float:
    """Mean negative log-likelihood of the labels."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12)).mean())


def error_by_chance(probabilities: Floats, bins: int = BINS) -> float:
    """The calibration error that these images would show, on average, if each confidence were exactly true."""
    random = np.random.default_rng(0)
    confidence = np.sort(probabilities.max(axis=1).astype(np.float64))
    parts = np.array_split(confidence, min(bins, len(confidence)))
    drawn = ((random.random((_CHANCE_DRAWS, len(part))) < part).mean(axis=1) for part in parts)
    distances = [np.abs(part.mean() - right).mean() * len(part) for part, right in zip(parts, drawn, strict=True)]
    return float(np.sum(distances) / len(confidence))


def fit_temperatures(logits: Floats, targets: Whole, penalty: float = math.inf) -> NDArray[np.float64]:
    """The temperatures of greatest likelihood: float64, C."""
    values, labels = torch.from_numpy(centred(logits)), torch.from_numpy(targets)
    common = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    own = torch.zeros(logits.shape[1], dtype=torch.float64, requires_grad=math.isfinite(penalty))
    free = [common, own] if own.requires_grad else [common]
    optimiser = torch.optim.LBFGS(free, max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(values * torch.exp(common + own), labels)
        if own.requires_grad:
            value = value + penalty * (own * own).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(np.clip(np.exp(-(common + own).detach().numpy()), *_BOUNDS))


def calibrate(logits: Floats, targets: Whole, groups: Sequence[str]) -> tuple[Calibration, NDArray[np.float64]]:
    """Temperatures for a network and how much they mend; and the probabilities of images that had no part in the fit.

    Args:
        groups: of each image; what shares one is on one side of the fit or on the other.
    """
    folds = folds_of(groups)
    tried = PENALTIES if folds else PENALTIES[:1]
    held_out = {penalty: _held_out(logits, targets, folds, penalty) for penalty in tried}
    scores = {penalty: likelihood(found, targets) for penalty, found in held_out.items()}
    best = min(scores, key=lambda penalty: scores[penalty])
    before, after = softmax(logits), held_out[best]
    found = Calibration(
        temperatures=tuple(fit_temperatures(logits, targets, best).tolist()),
        images=len(targets),
        bins=BINS,
        error_before=reliability_of(before, targets).error,
        error=reliability_of(after, targets).error,
        error_by_chance=error_by_chance(after),
        likelihood_before=likelihood(before, targets),
        likelihood=scores[best],
    )
    return found, after


def folds_of(groups: Sequence[str]) -> list[NDArray[np.bool_]]:
    """Which images each fold holds out; none where there is one group alone."""
    names = np.random.default_rng(0).permutation(sorted(set(groups)))
    if len(names) < 2:
        return []
    return [np.isin(np.asarray(groups), part) for part in np.array_split(names, min(_FOLDS, len(names)))]


def _held_out(
    logits: Floats, targets: Whole, folds: Sequence[NDArray[np.bool_]], penalty: float
) -> NDArray[np.float64]:
    """Probabilities of each image by temperatures that were fitted without its group, if there are folds."""
    if not folds:
        return calibrated(logits, fit_temperatures(logits, targets, penalty))
    found = np.empty(logits.shape, np.float64)
    for out in folds:
        found[out] = calibrated(logits[out], fit_temperatures(logits[~out], targets[~out], penalty))
    return found
