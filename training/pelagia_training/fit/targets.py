"""The targets of a batch: smoothed labels, mixed images, and the answers of teachers.

Invariant: targets follow from the batch and the key of its step alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from pelagia.errors import ConfigError
from pelagia.images.preprocess import PreprocessSpec
from pelagia_training.config import LongTail, Resplit, TrainConfig
from pelagia_training.data.mixing import mix
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import soft_targets
from pelagia_training.runs.folder import read_run, split_conflict


@dataclass(frozen=True)
class TargetBuilder:
    """Makes the soft targets of a batch.

    Args:
        classes: the number of classes, C.
        smoothing: label smoothing, 0..1.
        mixup: share of the images that are blended with another.
        cutmix: share of the images that get a rectangle of another.
        teachers: networks that take the inputs and return logits, N x C.
        weight: weight of the teachers' mean answer; the label has the rest.
        temperature: divides the teachers' logits.
    """

    classes: int
    smoothing: float
    mixup: float = 0.0
    cutmix: float = 0.0
    teachers: Sequence[nn.Module] = field(default=())
    weight: float = 0.0
    temperature: float = 1.0

    def __call__(self, inputs: Sequence[Tensor], classes: Tensor, key: tuple[int, ...]) -> list[Tensor]:
        """The inputs of the network after mixing, and last their targets: float32 N x C, rows sum to 1.

        Args:
            classes: int64 N.
            key: seeds the mixing, such as (seed, step).
        """
        pixels, *others = inputs
        targets = soft_targets(classes, self.classes, self.smoothing)
        pixels, targets = mix(pixels, targets, mixup=self.mixup, cutmix=self.cutmix, seed=key)
        if self.teachers:
            answer = self._answer([pixels, *others])
            targets = targets * (1 - self.weight) + answer * self.weight
        return [pixels, *others, targets]

    @torch.no_grad()
    def _answer(self, inputs: Sequence[Tensor]) -> Tensor:
        """Probabilities, float32 N x C: the mean over the teachers, which see the same images as the network."""
        total = torch.zeros((), device=inputs[0].device)
        for teacher in self.teachers:
            total = total + torch.softmax(teacher.to(inputs[0].device)(*inputs).float() / self.temperature, 1)
        return total / len(self.teachers)


def load_teachers(
    runs: Sequence[Path],
    classes: Sequence[str],
    fingerprint: str,
    *,
    preprocess: PreprocessSpec,
    split: Resplit | None,
    long_tail: LongTail,
    takes_sizes: bool,
) -> list[nn.Module]:
    """The trained networks of ``runs``, as teachers of a network that is described by the other arguments.

    Args:
        fingerprint: of the dataset.
        split: another split than the dataset's own.
        takes_sizes: whether the network is given the size of each crop.

    Raises:
        ConfigError: a teacher has other classes or another preprocessing, or has seen images that are held out here.
        InputError: a teacher is not a run, or its weights are damaged.
    """
    if not runs:
        return []
    # it imports ONNX Runtime, which a run without teachers does not need
    from pelagia_training.runs.load import load_trained

    teachers: list[nn.Module] = []
    faults = []
    for run in runs:
        theirs, state = read_run(run)
        fault = split_conflict(run, theirs, state, split, fingerprint)
        if state.taxonomy.names != tuple(classes):
            fault = f"{run} has other classes: a teacher must have the same classes in the same order"
        fault = fault or _difference(run, theirs, preprocess, long_tail, takes_sizes)
        if fault:
            faults.append(fault)
        else:
            teachers.append(_Teacher(load_trained(run, theirs, state), takes_size=theirs.model.size).eval())
    if faults:
        raise ConfigError("train.distil.teachers", faults)
    return teachers


def _difference(
    run: Path, theirs: TrainConfig, preprocess: PreprocessSpec, long_tail: LongTail, takes_sizes: bool
) -> str:
    """In which setting a teacher differs from the network so that it cannot teach it; empty where in none."""
    if theirs.preprocess != preprocess:
        return f"{run} was trained with another preprocessing: set the same `preprocess` for both"
    if (theirs.train.long_tail == "logit_adjustment") != (long_tail == "logit_adjustment"):
        return f"{run} was trained with train.long_tail={theirs.train.long_tail}: set the same for both"
    if theirs.model.size and not takes_sizes:
        return f"{run} takes sizes: train a network that takes them as well, with --set model.size=true"
    return ""


class _Teacher(nn.Module):
    """A trained network that takes the first one or two of the inputs."""

    def __init__(self, network: Normalized, *, takes_size: bool) -> None:
        super().__init__()
        network.orientations = 1  # it runs on every image of every epoch
        self._network = network.requires_grad_(False)
        self._inputs = 1 + takes_size

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self._network(*inputs[: self._inputs])
        return logits
