"""The targets of a batch: smoothed labels, mixed images, and the predictions of teachers.

Invariant: targets are computed only from the batch, the teachers and the key of the step.
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
        smoothing: the share of each target that is spread over all classes, 0..1.
        mixup: the share of images that are blended with another image, 0..1.
        cutmix: the share of images into which a square of another image is pasted, 0..1.
        teachers: the networks that teach; each takes the network inputs and returns logits, N x C.
        weight: the weight of the teachers' mean prediction, 0..1; the label has the remaining weight.
        temperature: the divisor of the teachers' logits.
    """

    classes: int
    smoothing: float
    mixup: float = 0.0
    cutmix: float = 0.0
    teachers: Sequence[nn.Module] = field(default=())
    weight: float = 0.0
    temperature: float = 1.0

    def __call__(self, inputs: Sequence[Tensor], classes: Tensor, key: tuple[int, ...]) -> list[Tensor]:
        """Returns the network inputs after mixing, then the targets: float32 N x C, each row sums to 1.

        Args:
            inputs: the images, and their sizes if the network takes them.
            classes: the class indices, int64 N; or soft labels, float32 N x C.
            key: the seed of the mixing, such as (seed, step, process).
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
        """The mean probabilities of the teachers, float32 N x C. They get the same images as the network."""
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
    """Loads the trained networks of ``runs`` as teachers. The other arguments describe the student.

    Args:
        runs: the run folders of the teachers.
        classes: the class names, in the order of the logits.
        fingerprint: the fingerprint of the dataset.
        preprocess: the preprocessing of the images.
        split: replaces the dataset's split; None: the dataset's split.
        long_tail: the method for rare classes.
        takes_sizes: whether the network takes the size of each crop as input.

    Raises:
        ConfigError: a teacher has other classes or another preprocessing, or saw images of this val or test split.
        InputError: a teacher is not a run, or its weights are damaged.
    """
    if not runs:
        return []
    # this import loads ONNX Runtime, which a run without teachers does not need
    from pelagia_training.runs.load import load_trained

    teachers: list[nn.Module] = []
    faults = []
    for run in runs:
        theirs, state = read_run(run)
        fault = split_conflict(run, theirs, state, split, fingerprint)
        if state.taxonomy.names != tuple(classes):
            fault = f"{run} has other classes: choose a teacher with the same classes in the same order"
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
    """Why a teacher is incompatible; empty if it is compatible."""
    if theirs.preprocess != preprocess:
        return f"{run} was trained with another preprocessing: set the same `preprocess` for both"
    if (theirs.train.long_tail == "logit_adjustment") != (long_tail == "logit_adjustment"):
        return f"{run} was trained with train.long_tail={theirs.train.long_tail}: set the same value for both"
    if theirs.model.size and not takes_sizes:
        return f"{run} uses image sizes as input: set model.size=true as well"
    return ""


class _Teacher(nn.Module):
    """A trained network that takes the images and, if it uses them, their sizes; it ignores other inputs."""

    def __init__(self, network: Normalized, *, takes_size: bool) -> None:
        super().__init__()
        network.orientations = 1  # for speed: a teacher runs on every image of every epoch
        self._network = network.requires_grad_(False)
        self._inputs = 1 + takes_size

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self._network(*inputs[: self._inputs])
        return logits
