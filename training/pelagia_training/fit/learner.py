"""A network with what makes it learn, and the one step that a run repeats.

Invariant: a step depends on the weights, the batch and (seed, step, process) alone. All random numbers are drawn anew
from these before each step, and the learning rate follows from the step, so that neither is part of a checkpoint.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from pelagia.errors import TrainingError
from pelagia_training.config import OptimizerConfig
from pelagia_training.fit.targets import TargetBuilder
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import Loss
from pelagia_training.network.optim import build_optimizer


@dataclass
class Learner:
    """``network`` holds the weights, ``wrapped`` is the same network as Fabric runs it, ``average`` its moving average.

    Args:
        rate: factor of the learning rate at a step, counted from 0 over the whole run.
        micro_batch: images that go through the network at once on each device; it shrinks where memory is short.
        report: is told so.
    """

    fabric: Fabric
    network: Normalized
    wrapped: Any
    optimizer: Any
    rate: Callable[[int], float]
    make_targets: TargetBuilder
    criterion: Loss
    average: ModelEmaV3 | None
    clip_grad: float
    seed: int
    micro_batch: int
    report: Callable[[str], None]

    @property
    def peak_rate(self) -> float:
        """The learning rate of the first parameters after the warm-up."""
        return float(self.optimizer.param_groups[0]["initial_lr"])

    @property
    def watched(self) -> nn.Module:
        """The network whose validation counts and whose weights are kept."""
        return self.average.module if self.average else self.network

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All that holds weights, by the name that a checkpoint gives it."""
        return {"network": self.network, **({"average": self.average.module} if self.average else {})}

    def step(self, step: int, batch: Sequence[Tensor]) -> Tensor:
        """Learns from one batch: the network's inputs, and the targets last.

        Returns:
            float, 2: the loss, and the loss of a network that says nothing.

        Raises:
            TrainingError: the memory does not hold one image.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate(step) if step >= group["begin"] else 0.0
        self.wrapped.train()
        while True:
            try:
                losses = self._backward(step, batch)
                break
            except torch.OutOfMemoryError:
                self._shrink(len(batch[-1]))
        self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.clip_grad, error_if_nonfinite=False)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.network, step=step + 1)
        return losses

    def _backward(self, step: int, batch: Sequence[Tensor]) -> Tensor:
        """Gradients of the batch, a micro-batch at a time, as if it had gone through at once but for batch norms."""
        key = (self.seed, step, self.fabric.global_rank)
        seed_everything(key)
        *given, classes = batch
        batch = self.make_targets(given, classes, key)
        count = len(classes)
        losses = torch.zeros(2, device=batch[-1].device)
        for start in range(0, count, self.micro_batch):
            *inputs, targets = (part[start : start + self.micro_batch] for part in batch)
            share = len(targets) / count
            more = start + self.micro_batch < count
            with self.fabric.no_backward_sync(self.wrapped, enabled=more):
                logits = self.wrapped(*inputs)
                loss = self.criterion(logits, targets)
                self.fabric.backward(loss * share if share < 1 else loss)
            with torch.no_grad():
                silence = self.criterion(torch.zeros_like(logits), targets)
                losses += torch.stack((loss.detach(), silence)).float() * share
        return losses

    def _shrink(self, count: int) -> None:
        """Halves the micro-batch."""
        now = min(self.micro_batch, count)
        if now == 1 or self.fabric.world_size > 1:  # the other processes do not know of it
            raise TrainingError(
                f"the device's memory does not hold {now} images: give it fewer at once with "
                f"--set train.micro_batch={max(1, now // 2)}, or choose a smaller preprocess.size or backbone"
            )
        self.micro_batch = math.ceil(now / 2)
        self.optimizer.zero_grad()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.report(
            f"the device's memory does not hold {now} images at once: going on with {self.micro_batch}, "
            "their gradients summed over the same batch"
        )


def build_learner(
    fabric: Fabric,
    network: Normalized,
    make_targets: TargetBuilder,
    criterion: Loss,
    config: OptimizerConfig,
    steps: int,
    seed: int,
    report: Callable[[str], None],
) -> Learner:
    """A learner that makes ``steps`` steps an epoch."""
    optimizer = build_optimizer(
        network,
        lr=config.lr,
        weight_decay=config.weight_decay,
        layer_decay=config.layer_decay,
        frozen_steps=config.freeze_epochs * steps,
    )
    share = max(1, config.batch_size // fabric.world_size)
    average = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
    wrapped, optimizer = fabric.setup(
        cast("nn.Module", torch.compile(network)) if config.compile else network, optimizer
    )
    return Learner(
        fabric=fabric,
        network=network,
        wrapped=wrapped,
        optimizer=optimizer,
        rate=warmup_cosine(config.warmup_epochs * steps, config.epochs * steps),
        make_targets=make_targets,
        criterion=criterion,
        average=average.to(fabric.device) if average else None,
        clip_grad=config.clip_grad,
        seed=seed,
        micro_batch=min(config.micro_batch or share, share),
        report=report,
    )


def warmup_cosine(warmup: float, total: int) -> Callable[[int], float]:
    """Learning rate factor of a step: linear from 0 over ``warmup`` steps, then a half cosine to 0 at ``total``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    return factor


def seed_everything(key: Iterable[int]) -> None:
    """Seeds the global generators of Python, numpy and torch with numbers that ``key`` alone decides."""
    state = np.random.SeedSequence(tuple(key)).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]) << 32 | int(state[3]))
