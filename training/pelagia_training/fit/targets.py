"""What the images of a batch are to be answered with: labels smoothed, mixed, and beside them what teachers say.

Invariant: it follows from the batch and the key of its step alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.data.mixing import mix
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import soft_targets
from pelagia_training.runs.folder import read_run, unlike_split


@dataclass(frozen=True)
class TargetBuilder:
    """Makes soft targets of a batch.

    Args:
        classes: how many there are, C.
        teachers: networks that take the inputs and give logits, N x C.
        weight: of the teachers' average answer; the rest is the label's.
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
        """The network's inputs as they are to be learnt from, and last their targets: float32 N x C, rows sum to 1.

        Args:
            classes: int64 N.
            key: what the mixing depends on, such as seed and step.
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
        """Probabilities, float32 N x C: the mean over the teachers, each seeing what the pupil sees."""
        total = torch.zeros((), device=inputs[0].device)
        for teacher in self.teachers:
            total = total + torch.softmax(teacher.to(inputs[0].device)(*inputs).float() / self.temperature, 1)
        return total / len(self.teachers)


def build_targets(config: TrainConfig, classes: Sequence[str], fingerprint: str) -> TargetBuilder:
    """The make_targets that a config describes.

    Args:
        fingerprint: of the dataset.

    Raises:
        ConfigError: a teacher has other classes, another preprocessing, or has seen images that are held out here.
        InputError: a teacher is no run, or its weights are damaged.
    """
    train = config.train
    return TargetBuilder(
        classes=len(classes),
        smoothing=train.label_smoothing,
        mixup=train.mixup,
        cutmix=train.cutmix,
        teachers=_teachers(config, classes, fingerprint) if train.distil.teachers else (),
        weight=train.distil.weight,
        temperature=train.distil.temperature,
    )


def _teachers(config: TrainConfig, classes: Sequence[str], fingerprint: str) -> list[nn.Module]:
    # it brings ONNX Runtime, which a run without teachers has no use for
    from pelagia_training.runs.load import load_trained

    teachers: list[nn.Module] = []
    faults = []
    for run in config.train.distil.teachers:
        theirs, state = read_run(run)
        if state.taxonomy.names != tuple(classes):
            faults.append(f"{run} has other classes: a teacher must know the same, in the same order")
        elif theirs.preprocess != config.preprocess:
            faults.append(f"{run} was trained with another preprocessing: give both the same `preprocess`")
        elif fault := unlike_split(run, theirs, state, config, fingerprint):
            faults.append(fault)
        elif (theirs.train.long_tail == "logit_adjustment") != (config.train.long_tail == "logit_adjustment"):
            faults.append(f"{run} was trained with train.long_tail={theirs.train.long_tail}: give both the same")
        elif theirs.model.size and not config.model.size:
            faults.append(f"{run} takes sizes: teach a network that does so as well, with --set model.size=true")
        else:
            teachers.append(_Teacher(load_trained(run, theirs, state), takes_size=theirs.model.size).eval())
    if faults:
        raise ConfigError("train.distil.teachers", faults)
    return teachers


class _Teacher(nn.Module):
    """A network that is given as many inputs as it takes."""

    def __init__(self, network: Normalized, *, takes_size: bool) -> None:
        super().__init__()
        network.orientations = 1  # it is asked of every image of every epoch
        self._network = network.requires_grad_(False)
        self._inputs = 1 + takes_size

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self._network(*inputs[: self._inputs])
        return logits
