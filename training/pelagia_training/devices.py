"""The devices, processes and number formats of a run. No other module chooses them.

Invariant: the trained weights do not depend on the number of processes, except for rounding and for the random numbers
that each process draws itself (dropout, mixup, CutMix). Each process takes its share of a batch, batch norms use the
statistics of the full batch, and only the first process writes files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn import functional as all_processes

from pelagia.errors import ConfigError, first_line

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Constants of glibc's malloc.h."""
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(device: str, precision: str, devices: int, nodes: int) -> Fabric:
    """Builds Fabric for the devices of a config; torchrun and Slurm override them. It does not start processes yet.

    Raises:
        ConfigError: this machine does not have these devices.
    """
    if precision == "fp16" and _is_cpu(device):
        fault = "fp16 needs a GPU, and this run is on a CPU: set precision=auto, which is fp32 on a CPU"
        raise ConfigError("precision", [fault])
    devices, nodes = _processes_and_nodes(devices, nodes)
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
        raise ConfigError(
            "device",
            [f"'{device}' cannot be used here: {first_line(error)}; set another device, such as device=cpu"],
        ) from None


def launch(fabric: Fabric) -> None:
    """Starts the other processes, or joins them. Raises ConfigError if they cannot connect to each other."""
    try:
        fabric.launch()
    except Exception as error:  # torch.distributed raises many errors for an address in use
        fault = (
            f"the processes cannot connect to each other: {first_line(error)}; check the network between the machines"
        )
        raise ConfigError("devices", [fault]) from None


def is_first() -> bool:
    """Whether this is the process that writes files and reports; works before other processes are started."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def end_other_processes() -> None:
    """Ends this process at once, without an error, unless it is the first one. Only for the command line.

    gloo's threads outlive its process group. If a thread frees a tensor while the interpreter shuts down, the process
    aborts, and so does the run.
    """
    if not is_first():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


@contextmanager
def stop_on_sigterm() -> Iterator[threading.Event]:
    """Yields an event that a SIGTERM sets: the run then ends after a batch and writes a checkpoint."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def deterministic(fabric: Fabric) -> Iterator[None]:
    """On a CPU, allows only deterministic operations. On a GPU they are slower, and some do not exist."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(fabric.device.type == "cpu", warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Makes glibc reuse the memory of freed tensors; does nothing on systems without glibc.

    By default, glibc returns large blocks to the system and requests them again for each tensor of each step, and the
    system fills each page with zeros. On a CPU this takes most of the time of a step (docs/experiments/concluded.md).
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)  # -1 is the largest unsigned size, so no block is returned
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, 65536)  # glibc's default
        libc.mallopt(_M_TRIM_THRESHOLD, 128 << 10)
        libc.malloc_trim(0)


def name_of(fabric: Fabric) -> str:
    """A description of the devices for messages and logs."""
    threads = f"{fabric.device.type}, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else threads
    return name if fabric.world_size == 1 else f"{fabric.world_size} processes: {name}"


def share_batch_norms(network: nn.Module, fabric: Fabric) -> None:
    """Makes the batch norms use the statistics of all processes. The names of the weights do not change."""
    if fabric.world_size == 1:
        return
    if fabric.device.type == "cuda":
        convert_sync_batchnorm(network)
        return
    for module in network.modules():  # torch's SyncBatchNorm works only on accelerators
        if isinstance(module, nn.BatchNorm2d):
            kind = type(module)
            module.__class__ = type(f"Shared{kind.__name__}", (_SharedBatchNorm, kind), {})


class _SharedBatchNorm(nn.BatchNorm2d):
    """A BatchNorm2d, or timm's variant with an activation, that uses the statistics of all processes in training."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        if not self.training:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            normalized = self._normalized(input.float()).to(input.dtype)
        for name in ("drop", "act"):
            normalized = getattr(self, name, nn.Identity())(normalized)
        return normalized

    def _normalized(self, x: Tensor) -> Tensor:
        axes, shape = (0, 2, 3), (1, -1, 1, 1)
        count = _sum(x.new_tensor(x.numel() / x.shape[1]))
        mean = _sum(x.sum(axes)) / count
        centred = x - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), share)
            self.running_var.lerp_(variance.detach() * count / (count - 1), share)
        normalized = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized


def _sum(values: Tensor) -> Tensor:
    """The sum over all processes; gradients flow back through it."""
    total: Tensor = all_processes.all_reduce(values)  # type: ignore[no-untyped-call]
    return total


def _processes_and_nodes(devices: int, nodes: int) -> tuple[int, int]:
    """Processes per node and nodes: from torchrun or Slurm if one of them started this process, else as given."""
    for world, here in (("WORLD_SIZE", "LOCAL_WORLD_SIZE"), ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")):
        if os.environ.get(here, "").isdigit() and os.environ.get(world, "").isdigit():
            return int(os.environ[here]), max(1, int(os.environ[world]) // int(os.environ[here]))
    return devices, nodes


def _is_cpu(device: str) -> bool:
    """Whether a run on ``device`` is on the CPU."""
    return device == "cpu" or (
        device == "auto" and not torch.cuda.is_available() and not torch.backends.mps.is_available()
    )


def _precision(device: str, precision: str) -> Any:
    if precision != "auto":
        return _PRECISIONS[precision]
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if on_gpu else "32-true"
