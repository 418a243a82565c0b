"""The checkpoint: one safetensors file with all that an unfinished run needs to resume as if it had never stopped.

Invariant: the file is always complete, and it holds no code. Its tensors belong to the network, to the network's moving
average and to the optimizer; the rest is JSON in the file's header. It holds no random state and no learning rate,
because both are computed from the step (`pelagia_training.fit.learner`). The order and the augmentation of the images
are computed from the epoch (`pelagia_training.data.batches`), and the size of the micro-batch from the config and the
device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pelagia.errors import InputError, TrainingError
from pelagia.system.files import new_file
from pelagia_training.fit.learner import Learner
from pelagia_training.runs.folder import RunState
from pelagia_training.runs.logs import EpochMetrics
from pelagia_training.runs.weights import separate

_KEY = "pelagia"
_FROM_THE_CONFIG = ("lr", "initial_lr", "weight_decay", "begin")
"""Entries of a parameter group that are computed from the config or from the step."""
_OLD_NAMES = {"total": "loss_sum", "chance": "uniform_loss_sum", "waited": "epochs_without_gain"}
"""File keys of renamed attributes; the format keeps the old names."""


@dataclass
class RunProgress:
    """How far a run is.

    Attributes:
        epoch: the number of completed epochs.
        batch: the number of completed batches of the next epoch.
        loss_sum: the sum of the losses of these batches.
        uniform_loss_sum: the same sum for a network that gives every class the same probability.
        best: the best validation macro-F1 so far; -1 before the first validation.
        epochs_without_gain: the number of epochs since that best one.
        seconds: the total training time.
    """

    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    uniform_loss_sum: float = 0.0
    best: float = -1.0
    epochs_without_gain: int = 0
    seconds: float = 0.0


@dataclass
class RunHistory:
    """The progress of a run, the content of its `run.json`, and the metrics of its epochs."""

    progress: RunProgress
    state: RunState
    metrics: list[EpochMetrics]


def save_checkpoint(path: Path, learner: Learner, history: RunHistory) -> None:
    """Replaces ``path`` in one step. If it raises OSError, the old checkpoint is still valid."""
    optimizer_tensors, optimizer_numbers = _split(learner.optimizer.state_dict()["state"])
    document = {
        "progress": _renamed(asdict(history.progress), {new: old for old, new in _OLD_NAMES.items()}),
        "state": history.state.model_dump(mode="json"),
        "figures": [asdict(one) for one in history.metrics],
        "optimiser": optimizer_numbers,
        "groups": [_numbers(group) for group in learner.optimizer.param_groups],
        "precision": learner.fabric.strategy.precision.state_dict(),
    }
    tensors = {f"optimiser.{name}": value for name, value in optimizer_tensors.items()}
    for part, module in learner.modules.items():
        tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(separate(tensors), {_KEY: json.dumps(document)}))


def load_checkpoint(path: Path, learner: Learner) -> RunHistory:
    """Sets ``learner`` to the state that is stored in the checkpoint.

    Raises:
        InputError: the file is damaged, or belongs to another network.
    """
    try:
        with safe_open(path, "pt") as file:
            document = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        for part, module in learner.modules.items():
            module.load_state_dict(_part(tensors, part))
        state = _join(_part(tensors, "optimiser"), document["optimiser"])
        learner.optimizer.load_state_dict({**learner.optimizer.state_dict(), "state": state})
        for group, numbers in zip(learner.optimizer.param_groups, document.get("groups", ()), strict=False):
            group.update(_restored(numbers))
        learner.fabric.strategy.precision.load_state_dict(document["precision"])
        return RunHistory(
            RunProgress(**_renamed(document["progress"], _OLD_NAMES)),
            RunState.model_validate(document["state"]),
            [EpochMetrics(**one) for one in document["figures"]],
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the checkpoint {path} is damaged or was written by another version ({what}): remove the run folder and "
            "train again"
        ) from None


def require_finite(learner: Learner, advice: str) -> None:
    """Raises TrainingError if a weight is NaN or infinite: such weights must not replace good ones."""
    norms = torch._foreach_norm([value.detach() for value in learner.network.parameters()])
    if not bool(torch.isfinite(torch.stack(norms)).all()):
        raise TrainingError(f"a weight is NaN or infinite; {advice}")


def _numbers(group: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimizer may change in a parameter group, such as a count of steps: numbers, and tensors of one number,
    which become a list of dtype and value."""
    found: dict[str, Any] = {}
    for name, value in group.items():
        if name not in _FROM_THE_CONFIG and type(value) in (int, float):
            found[name] = value
        elif isinstance(value, Tensor) and value.ndim == 0:
            found[name] = [str(value.dtype).removeprefix("torch."), value.item()]
    return found


def _restored(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `_numbers`."""
    return {
        name: torch.tensor(value[1], dtype=getattr(torch, value[0])) if isinstance(value, list) else value
        for name, value in numbers.items()
    }


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _split(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Splits the state of an optimizer into named tensors and named plain values."""
    named = {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in named.items() if name not in tensors}


def _join(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for name, value in {**tensors, **numbers}.items():
        index, _, what = name.partition(".")
        state.setdefault(int(index), {})[what] = value
    return state


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}
