"""A network with what makes it learn, and the one step that a run repeats.

Invariant: a step depends on the weights, the batch and (seed, step) alone. All random numbers are drawn anew from these
before each step, and the learning rate follows from the step, so that neither is part of what a checkpoint holds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from pelagia_training.config import OptimiserConfig
from pelagia_training.network import Normalised

Criterion = Callable[[Tensor, Tensor], Tensor]
"""(logits float N x C, targets of the N images) -> the mean of the images' losses, a scalar."""


@dataclass
class Learner:
    """``network`` holds the weights, ``wrapped`` is the same network as Fabric runs it, ``average`` its moving average.

    Args:
        rate: factor of the learning rate at a step, counted from 0 over the whole run.
    """

    fabric: Fabric
    network: Normalised
    wrapped: Any
    optimizer: Any
    rate: Callable[[int], float]
    criterion: Criterion
    average: ModelEmaV3 | None
    clip_grad: float
    seed: int

    @property
    def peak_rate(self) -> float:
        """The learning rate of the first parameters after the warm-up."""
        return float(self.optimizer.param_groups[0]["initial_lr"])

    @property
    def watched(self) -> nn.Module:
        """The network whose validation counts and whose weights are kept."""
        return self.average.module if self.average else self.network

    def step(self, step: int, batch: Sequence[Tensor]) -> Tensor:
        """Learns from one batch: the network's inputs, and the targets last. Returns the loss, a scalar."""
        seed_everything((self.seed, step))
        self._set_rate(step)
        self.wrapped.train()
        *inputs, targets = batch
        loss = self.criterion(self.wrapped(*inputs), targets)
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.clip_grad, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.network, step=step + 1)
        return loss.detach()

    def _set_rate(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate(step)


def build_learner(
    fabric: Fabric, network: Normalised, criterion: Criterion, config: OptimiserConfig, steps: int, seed: int
) -> Learner:
    """A learner that makes ``steps`` steps an epoch."""
    optimizer = create_optimizer_v2(network, "adamw", config.lr, config.weight_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    wrapped, optimizer = fabric.setup(network, optimizer)
    return Learner(
        fabric=fabric,
        network=network,
        wrapped=wrapped,
        optimizer=optimizer,
        rate=warmup_cosine(config.warmup_epochs * steps, config.epochs * steps),
        criterion=criterion,
        average=ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None,
        clip_grad=config.clip_grad,
        seed=seed,
    )


def warmup_cosine(warmup: float, total: int) -> Callable[[int], float]:
    """Learning rate factor of a step: linear from 0 over ``warmup`` steps, then a half cosine to 0 at ``total``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    return factor


def seed_everything(key: Sequence[int]) -> None:
    """Seeds the global generators of Python, numpy and torch with numbers that ``key`` alone decides."""
    state = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]) << 32 | int(state[3]))
