"""A model soup: the average of a run's weights after each of its last epochs.

Invariant: each file is complete or absent, so a killed and resumed run has the same soup.

The paper: Izmailov et al. 2018 (arXiv 1803.05407). Unlike in the paper, the learning rate is not constant.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from pelagia_training.runs.weights import save_weights


class Soup:
    """The weights of the last ``epochs`` epochs, in a folder of the run. If ``epochs`` is 0, nothing is saved."""

    def __init__(self, run: Path, epochs: int) -> None:
        self._folder = run / "soup"
        self._epochs = epochs

    def add(self, network: nn.Module, epoch: int) -> None:
        """Saves the network's weights after an epoch, and removes those of older epochs."""
        if not self._epochs:
            return
        self._folder.mkdir(exist_ok=True)
        save_weights(self._folder / f"{epoch:06}.safetensors", network, epoch)
        for old in self._files()[: -self._epochs]:
            old.unlink()

    def average(self) -> dict[str, Tensor] | None:
        """The mean of each weight, in the weight's own dtype; None if there are fewer than two epochs."""
        files = self._files()
        if len(files) < 2:
            return None
        states = [safetensors.torch.load_file(file) for file in files]
        return {
            name: sum((state[name].double() for state in states[1:]), first.double()).div(len(states)).to(first.dtype)
            for name, first in states[0].items()
        }

    def discard(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))
