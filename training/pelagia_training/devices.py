"""What a run computes on: the only place that chooses devices, processes and number formats.

Invariant: what is learnt does not depend on how many processes share the work, but for rounding and for what each draws
by itself (dropout, mixup, CutMix). Each takes its share
of a batch, batch norms use the whole batch's statistics, and only the first process writes.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn import functional as over_all

from pelagia.errors import ConfigError, first_line

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(device: str, precision: str, devices: int, nodes: int) -> Fabric:
    """The devices that `TrainConfig` names; under torchrun and Slurm, those that they gave. Nothing is started yet.

    Raises:
        ConfigError: this machine does not have them.
    """
    devices, nodes = _given(devices, nodes)
    strategy: Any = DDPStrategy(broadcast_buffers=False) if devices * nodes > 1 else "auto"
    try:
        return Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=_precision(device, precision),
        )
    except Exception as error:  # Lightning has an exception class for each accelerator
        raise ConfigError("device", [f"'{device}' cannot be used here: {first_line(error)}"]) from None


def launch(fabric: Fabric) -> None:
    """Starts the other processes, or joins them. Raises ConfigError where they cannot meet."""
    try:
        fabric.launch()
    except Exception as error:  # torch.distributed has many ways to say that an address is taken
        raise ConfigError("devices", [f"the processes cannot be brought together: {first_line(error)}"]) from None


def is_first() -> bool:
    """Whether this is the process that writes and speaks; known before any other is started."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def leave() -> None:
    """Ends this process, and well, where it is not the first and has done its share; the first one goes on.

    gloo's threads outlive its process group. One that lets go of a tensor while the interpreter shuts down aborts the
    process, and with it the run.
    """
    if not is_first():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextmanager
def deterministic(fabric: Fabric) -> Iterator[None]:
    """On a CPU only operations that always give the same; on a GPU they would cost speed and leave some out."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(fabric.device.type == "cpu", warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Lets glibc keep the memory of tensors that are gone for the next ones, where there is glibc.

    It gives large blocks back to the system and takes them anew, for each tensor of each step, and the system
    fills every page of them with zeros: that was most of the time of a step on a CPU (docs/experiments/concluded.md).
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)  # as a size: never
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, 65536)  # glibc's own
        libc.mallopt(_M_TRIM_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


def name_of(fabric: Fabric) -> str:
    """What a person calls the devices."""
    threads = f"{fabric.device.type}, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else threads
    return name if fabric.world_size == 1 else f"{fabric.world_size} processes: {name}"


def share_batch_norms(network: nn.Module, fabric: Fabric) -> None:
    """Lets the batch norms use the statistics of all processes. Names of weights stay."""
    if fabric.world_size == 1:
        return
    if fabric.device.type == "cuda":
        convert_sync_batchnorm(network)
        return
    for module in network.modules():  # torch's own works on accelerators alone
        if isinstance(module, nn.BatchNorm2d):
            kind = type(module)
            module.__class__ = type(f"Shared{kind.__name__}", (_SharedBatchNorm, kind), {})


class _SharedBatchNorm(nn.BatchNorm2d):
    """A BatchNorm2d, or timm's with an activation, whose statistics in training are those of all processes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            normalised = self._normalised(input.float()).to(input.dtype)
        for name in ("drop", "act"):
            normalised = getattr(self, name, nn.Identity())(normalised)
        return normalised

    def _normalised(self, x: Tensor) -> Tensor:
        over, shape = (0, 2, 3), (1, -1, 1, 1)
        count = _sum(x.new_tensor(x.numel() / x.shape[1]))
        mean = _sum(x.sum(over)) / count
        centred = x - mean.view(shape)
        variance = _sum(centred.square().sum(over)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * count / (count - 1), share)
        normalised = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised


def _sum(values: Tensor) -> Tensor:
    """Sums over all processes, through which gradients flow back."""
    total: Tensor = over_all.all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _given(devices: int, nodes: int) -> tuple[int, int]:
    """Processes a node and nodes: as torchrun or Slurm say where they started this process, else as asked for."""
    for world, here in (("WORLD_SIZE", "LOCAL_WORLD_SIZE"), ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")):
        if os.environ.get(here, "").isdigit() and os.environ.get(world, "").isdigit():
            return int(os.environ[here]), max(1, int(os.environ[world]) // int(os.environ[here]))
    return devices, nodes


def _precision(device: str, precision: str) -> Any:
    if precision != "auto":
        return _PRECISIONS[precision]
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if on_gpu else "32-true"
