"""Losses on soft targets: what each does about rare classes."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from pelagia_training.config import LongTail
from pelagia_training.network.losses import build_loss, soft_targets

COUNTS = np.array([700, 70, 7])
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.1, 0.2, 0.3], [-2.0, 1.0, 3.0], [1.0, 1.0, 1.0]])
CLASSES = torch.tensor([0, 1, 2, 2])
HARD = soft_targets(CLASSES, 3, 0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_a_long_tail_it_is_the_smoothed_cross_entropy(smoothing: float) -> None:
    expected = functional.cross_entropy(LOGITS, CLASSES, label_smoothing=smoothing)
    found = build_loss("none", COUNTS)(LOGITS, soft_targets(CLASSES, 3, smoothing))
    assert torch.allclose(found, expected, atol=1e-6)


def test_logit_adjustment_is_the_balanced_softmax() -> None:
    number = torch.tensor(COUNTS, dtype=torch.float32)
    weighted = number * LOGITS.exp()
    balanced = -(torch.log(weighted / weighted.sum(1, keepdim=True)) * HARD).sum(1).mean()
    assert torch.allclose(build_loss("logit_adjustment", COUNTS)(LOGITS, HARD), balanced, atol=1e-6)


def test_effective_numbers_weigh_as_torch_weighs_by_class() -> None:
    weights = torch.tensor((1 - 0.999) / (1 - 0.999**COUNTS), dtype=torch.float32)
    weights = weights * COUNTS.sum() / (weights * torch.tensor(COUNTS)).sum()  # 1 on average over the training images
    expected = functional.cross_entropy(LOGITS, CLASSES, weight=weights, reduction="none").mean()
    assert torch.allclose(build_loss("effective_number", COUNTS)(LOGITS, HARD), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["none", "logit_adjustment", "effective_number", "focal"])
def test_the_loss_of_a_batch_is_the_mean_of_the_losses_of_its_images(kind: LongTail) -> None:
    loss = build_loss(kind, COUNTS)
    parts = [loss(LOGITS[index : index + 1], HARD[index : index + 1]) for index in range(len(LOGITS))]
    assert torch.allclose(torch.stack(parts).mean(), loss(LOGITS, HARD), atol=1e-6)


def test_focal_counts_what_is_right_already_for_less() -> None:
    focal, plain = build_loss("focal", COUNTS), build_loss("none", COUNTS)
    sure, unsure = torch.tensor([[5.0, 0, 0]]), torch.tensor([[0.0, 0, 0]])
    target = HARD[:1]
    probability = float(torch.softmax(unsure, 1)[0, 0])
    assert float(focal(unsure, target)) == pytest.approx((1 - probability) ** 2 * float(plain(unsure, target)))
    assert focal(sure, target) / plain(sure, target) < focal(unsure, target) / plain(unsure, target)


@pytest.mark.parametrize("kind", ["logit_adjustment", "effective_number"])
def test_a_mistake_on_a_rare_class_costs_more(kind: LongTail) -> None:
    loss = build_loss(kind, COUNTS)
    even = torch.zeros(3, 3, requires_grad=True)
    loss(even, torch.eye(3)).backward()
    assert even.grad is not None
    pull = -even.grad.diagonal()
    assert pull[2] > pull[1] > pull[0]


@pytest.mark.parametrize("kind", ["none", "logit_adjustment", "focal", "effective_number"])
def test_the_loss_of_half_precision_is_computed_in_full(kind: LongTail) -> None:
    loss = build_loss(kind, COUNTS)
    assert loss(LOGITS.bfloat16(), HARD).dtype == torch.float32
