"""Writes the weights of a run. It is apart from `pelagia_training.runs.folder`, which must not import torch."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from pelagia.system.files import new_file


def save_weights(path: Path, network: nn.Module, epoch: int) -> None:
    """Writes a network's parameters and buffers and the number of their epoch as safetensors, atomically."""
    state: dict[str, Tensor] = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(state, {"epoch": str(epoch)}))
