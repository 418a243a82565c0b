"""A network and everything that trains it: optimizer, learning rate, loss, targets, moving average, micro-batches.

Invariant: a step depends only on the weights, the optimizer, the batch and (seed, step, process). The random generators
are seeded before each step, and the learning rate is computed from the step, so a checkpoint stores neither.
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
    """A network and everything that trains it. `pelagia_training.train.train_step` makes one step with it.

    Attributes:
        network: the network that holds the weights.
        wrapped: the same network as Fabric runs it: possibly compiled, possibly on several devices.
        average: the moving average of the weights; None if there is none.
        rate: a function: step, counted from 0 over the entire run -> factor of the learning rate.
        make_targets: converts the labels of a batch to soft targets.
        clip_grad: the largest norm of the gradient.
        micro_batch: the number of images per forward pass on each device; halved if the memory is too small.
        report: a function that is called with a message when the micro-batch is halved.
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
    def evaluated(self) -> nn.Module:
        """The network that is validated and saved: the moving average if there is one."""
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
        """The seed of all random numbers of ``step``."""
        return self.seed, step, self.fabric.global_rank

    def micro_batches(self, batch: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], float, bool]]:
        """Yields each part of a batch, its share of the batch (0..1), and whether it is the last part."""
        count = len(batch[-1])
        for start in range(0, count, self.micro_batch):
            part = [one[start : start + self.micro_batch] for one in batch]
            yield part, len(part[-1]) / count, start + self.micro_batch >= count

    def synchronized(self, last: bool) -> AbstractContextManager[None]:
        """A context that exchanges gradients with the other processes only at the last micro-batch."""
        return self.fabric.no_backward_sync(self.wrapped, enabled=not last)

    def within_memory(self, compute: Callable[[], Result], count: int) -> Result:
        """Runs ``compute``; on out-of-memory, halves the micro-batch and retries.

        Raises:
            TrainingError: not even one image fits into the memory, or several processes share the batch.
        """
        while True:
            try:
                return compute()
            except torch.OutOfMemoryError:
                self._shrink(count)

    def _shrink(self, count: int) -> None:
        """Halves the micro-batch. Raises TrainingError if that is not possible."""
        now = min(self.micro_batch, count)
        if now == 1 or self.fabric.world_size > 1:  # other processes would keep their size
            raise TrainingError(
                f"the device's memory is too small for {now} images at once: use fewer with "
                f"--set train.micro_batch={max(1, now // 2)}, or choose a smaller preprocess.size or backbone"
            )
        self.micro_batch = math.ceil(now / 2)
        self.optimizer.zero_grad()
        if self.fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        self.report(
            f"the device's memory is too small for {now} images at once: continuing with {self.micro_batch} at once; "
            "the gradients are summed over the batch, so the batch size stays the same"
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
        batch_size: the number of images per step, over all processes.
        micro_batch: the number of images per forward pass on a device; None: the device's entire share of a batch.
        ema_decay: the decay of the moving average of the weights; 0: no moving average.
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


def seed_everything(key: Iterable[int]) -> None:
    """Seeds the global generators of Python, numpy and torch with numbers that are computed only from ``key``."""
    state = np.random.SeedSequence(tuple(key)).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]) << 32 | int(state[3]))
