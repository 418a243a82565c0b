"""What a run computes on: the only place that chooses devices and number formats."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric

from pelagia.errors import ConfigError
from pelagia_training.network import first_line

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def open_fabric(device: str, precision: str) -> Fabric:
    """The devices of ``device`` and ``precision`` as `TrainConfig` names them.

    Raises:
        ConfigError: this machine does not have them.
    """
    try:
        fabric = Fabric(accelerator=device, devices=1, precision=_precision(device, precision))
        fabric.launch()
    except Exception as error:  # Lightning has an exception class for each accelerator
        raise ConfigError("device", [f"'{device}' cannot be used here: {first_line(error)}"]) from None
    return fabric


def name_of(fabric: Fabric) -> str:
    """What a person calls the devices."""
    if fabric.device.type == "cuda":
        return torch.cuda.get_device_name(fabric.device)
    return f"{fabric.device.type}, {torch.get_num_threads()} threads"


def _precision(device: str, precision: str) -> Any:
    if precision != "auto":
        return _PRECISIONS[precision]
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if on_gpu else "32-true"
