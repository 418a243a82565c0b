"""The score of the unknown: the published formula, and what it is for."""

import numpy as np
import pytest
import torch

from benchmarks.science.unknown import energy_score, max_logit_score, separation
from pelagia_training.network.unknown import (
    VirtualLogit,
    fit_vim,
    threshold_for,
    vim_score,
)


@pytest.fixture
def layer() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(0, 1, (3, 12)).astype(np.float32), random.normal(0, 1, 3).astype(np.float32)


@pytest.fixture
def known() -> np.ndarray:
    """Features that lie near a plane of four dimensions."""
    random = np.random.default_rng(1)
    plane = np.linalg.qr(random.normal(0, 1, (12, 4)))[0]
    return (random.normal(0, 3, (400, 4)) @ plane.T + random.normal(0, 0.1, (400, 12))).astype(np.float32)


def test_it_is_the_score_of_the_paper(layer: tuple[np.ndarray, np.ndarray], known: np.ndarray) -> None:
    """As in the authors' code (github.com/haoqiwang/vim, benchmark.py), with their scale and as a log-odds."""
    weight, bias = layer
    logits = known @ weight.T + bias
    vim = fit_vim(known, logits, weight, bias, share=0.99, counts_for=1.0)
    u = -np.linalg.pinv(weight) @ bias
    covariance = (known - u).T @ (known - u) / len(known)
    values, vectors = np.linalg.eig(covariance)
    null = vectors[:, np.argsort(values * -1)[vim.dimensions :]].real
    alpha = logits.max(axis=-1).mean() / np.linalg.norm((known - u) @ null, axis=-1).mean()
    others = np.random.default_rng(2).normal(0, 2, (50, 12)).astype(np.float32)
    found = others @ weight.T + bias
    virtual = np.linalg.norm((others - u) @ null, axis=-1) * alpha
    wanted = virtual - np.log(np.exp(found).sum(axis=-1))
    assert vim.dimensions == 4
    assert vim_score(vim, others, found.astype(np.float32)) == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_what_lies_off_the_plane_is_told_from_what_lies_on_it(
    layer: tuple[np.ndarray, np.ndarray], known: np.ndarray
) -> None:
    weight, bias = layer
    vim = fit_vim(known[:200], known[:200] @ weight.T + bias, weight, bias, counts_for=1.0)
    strange = np.random.default_rng(3).normal(0, 2, (200, 12)).astype(np.float32)
    scores = [vim_score(vim, some, some @ weight.T + bias) for some in (known[200:], strange)]
    energies = [energy_score(some @ weight.T + bias) for some in (known[200:], strange)]
    assert separation(*scores).auroc > 0.95 > 0.75 > separation(*energies).auroc


def test_a_network_with_fewer_training_images_than_features_has_a_score(layer: tuple[np.ndarray, np.ndarray]) -> None:
    weight, bias = layer
    few = np.random.default_rng(4).normal(0, 1, (6, 12)).astype(np.float32)
    vim = fit_vim(few, few @ weight.T + bias, weight, bias, share=0.999999)
    assert vim.dimensions < 12
    assert np.isfinite(vim_score(vim, few, few @ weight.T + bias)).all()


def test_an_image_at_the_very_origin_has_a_finite_score(
    layer: tuple[np.ndarray, np.ndarray], known: np.ndarray
) -> None:
    weight, bias = layer
    vim = fit_vim(known, known @ weight.T + bias, weight, bias)
    with torch.no_grad():
        assert torch.isfinite(VirtualLogit(vim)(torch.from_numpy(vim.origin[None]), torch.zeros(1, 3))).all()


def test_the_threshold_lets_the_share_pass() -> None:
    scores = np.random.default_rng(5).normal(0, 1, 1000).astype(np.float32)
    for share in (0.5, 0.9, 0.95, 0.999):
        assert (scores <= threshold_for(scores, share)).mean() == pytest.approx(share, abs=1e-3)
    assert threshold_for(np.array([3.0], np.float32), 0.95) == 3.0


def test_baselines_are_higher_where_logits_are_lower() -> None:
    logits = np.array([[5.0, 0.0], [1.0, 0.0]], np.float32)
    for score in (energy_score, max_logit_score):
        sure, unsure = score(logits)
        assert sure < unsure
