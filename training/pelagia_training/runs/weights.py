"""Writes the weights of a run. It is apart from `pelagia_training.runs.folder`, which must not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from pelagia.system.files import new_file


def save_weights(path: Path, network: nn.Module, epoch: int) -> None:
    """Writes a network's parameters and buffers and the number of their epoch as safetensors, atomically."""
    with new_file(path) as file:
        file.write(safetensors.torch.save(separate(network.state_dict()), {"epoch": str(epoch)}))


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each with memory of its own, as safetensors needs them: some networks, such as coat_lite,
    use one tensor under several names."""
    own: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, value in tensors.items():
        plain = value.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        own[name] = plain.clone() if place in used else plain
        used.add(place)
    return own
