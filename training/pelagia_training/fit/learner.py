"""A network with what trains it: optimizer, learning rate, loss, targets, moving average, micro-batches.

Invariant: a step depends on the weights, the batch and (seed, step, process) alone. All random numbers are drawn from
these before each step, and the learning rate follows from the step, so that a checkpoint needs neither.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from pelagia.errors import TrainingError
from pelagia_training.fit.targets import TargetBuilder
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import Loss

Result = TypeVar("Result")


@dataclass
class Learner:
    """A network and what trains it. `pelagia_training.train.train_step` makes one step with it.

    Attributes:
        network: holds the weights.
        wrapped: the same network as Fabric runs it, compiled and on several devices perhaps.
        average: the moving average of the weights.
        rate: step, counted from 0 over the whole run -> the factor of the learning rate.
        make_targets: labels of a batch -> soft targets.
        clip_grad: the largest norm of the gradient.
        micro_batch: images that go through the network at once on each device; it shrinks where memory is short.
        report: called with a sentence when it shrinks.
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
        """The network that is validated and saved: the moving average where there is one."""
        return self.average.module if self.average else self.network

    @property
    def modules(self) -> dict[str, nn.Module]:
        """All modules that hold weights, by their name in a checkpoint."""
        return {"network": self.network, **({"average": self.average.module} if self.average else {})}

    def set_rate(self, step: int) -> None:
        """Sets the learning rate of each parameter group for ``step``; 0 for groups that are still frozen."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate(step) if step >= group["begin"] else 0.0

    def random_key(self, step: int) -> tuple[int, int, int]:
        """The key from which all random numbers of ``step`` follow."""
        return self.seed, step, self.fabric.global_rank

    def micro_batches(self, batch: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], float, bool]]:
        """Parts of a batch, the share of the batch that each is, and whether it is the last."""
        count = len(batch[-1])
        for start in range(0, count, self.micro_batch):
            part = [one[start : start + self.micro_batch] for one in batch]
            yield part, len(part[-1]) / count, start + self.micro_batch >= count

    def synchronized(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged with the other processes at the last micro-batch alone."""
        return self.fabric.no_backward_sync(self.wrapped, enabled=not last)

    def within_memory(self, compute: Callable[[], Result], count: int) -> Result:
        """``compute()``, again with half the micro-batch as long as the device's memory is too small.

        Raises:
            TrainingError: the memory does not hold one image.
        """
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                self._shrink(count)

    def _shrink(self, count: int) -> None:
        """Halves the micro-batch."""
        now = min(self.micro_batch, count)
        if now == 1 or self.fabric.world_size > 1:  # the other processes do not know of it
            raise TrainingError(
                f"the device's memory does not hold {now} images: send fewer at once with "
                f"--set train.micro_batch={max(1, now // 2)}, or choose a smaller preprocess.size or backbone"
            )
        self.micro_batch = math.ceil(now / 2)
        self.optimizer.zero_grad()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.report(
            f"the device's memory does not hold {now} images at once: continuing with {self.micro_batch}, "
            "whose gradients are summed over the same batch"
        )


def build_learner(
    fabric: Fabric,
    network: Normalized,
    optimizer: torch.optim.Optimizer,
    make_targets: TargetBuilder,
    criterion: Loss,
    *,
    rate: Callable[[int], float],
    batch_size: int,
    seed: int,
    report: Callable[[str], None],
    micro_batch: int | None = None,
    clip_grad: float = 1.0,
    ema_decay: float = 0.0,
    compiled: bool = False,
) -> Learner:
    """Puts network and optimizer on the devices, and builds the moving average.

    Args:
        batch_size: images of a step, over all processes.
        micro_batch: images at once on a device; None: all of the device's share.
        ema_decay: of the moving average of the weights; 0: none.
    """
    share = max(1, batch_size // fabric.world_size)
    average = ModelEmaV3(network, decay=ema_decay, use_warmup=True) if ema_decay else None
    wrapped, optimizer = fabric.setup(cast("nn.Module", torch.compile(network)) if compiled else network, optimizer)
    return Learner(
        fabric=fabric,
        network=network,
        wrapped=wrapped,
        optimizer=optimizer,
        rate=rate,
        make_targets=make_targets,
        criterion=criterion,
        average=average.to(fabric.device) if average else None,
        clip_grad=clip_grad,
        seed=seed,
        micro_batch=min(micro_batch or share, share),
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
    """Seeds the global generators of Python, numpy and torch with numbers that follow from ``key`` alone."""
    state = np.random.SeedSequence(tuple(key)).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]) << 32 | int(state[3]))
