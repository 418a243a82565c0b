"""The checkpoint: all that an unfinished run needs to resume as if it had never stopped, in one safetensors file.

Invariant: the file is whole at every moment, and it holds no code. Its tensors are those of the network, of its moving
average and of the optimizer; the rest is JSON in the file's header. It holds no random state and no learning rate: both
follow from the step (`pelagia_training.fit.learner`), and the order and augmentation of the images from the epoch
(`pelagia_training.data.batches`). It does not hold the size of the micro-batch, which follows from the config and the
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

_KEY = "pelagia"


_OLD_NAMES = {"total": "loss_sum", "chance": "uniform_loss_sum", "waited": "epochs_without_gain"}
"""Keys of `RunProgress` in the file, which stay what they were when the format was made."""


@dataclass
class RunProgress:
    """How far a run is.

    Attributes:
        epoch: epochs that are complete.
        batch: batches of the next epoch that are done.
        loss_sum: sum of the losses of these batches.
        uniform_loss_sum: the same for a network that gives every class the same probability.
        best: the best validation macro-F1.
        epochs_without_gain: epochs since then.
        seconds: time spent.
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
    """What a run has reached: its progress, its `run.json`, and the metrics of its epochs."""

    progress: RunProgress
    state: RunState
    metrics: list[EpochMetrics]


def save_checkpoint(path: Path, learner: Learner, history: RunHistory) -> None:
    """Replaces ``path`` in one step. Raises OSError; the old checkpoint is then still whole."""
    optimizer_tensors, optimizer_numbers = _split(learner.optimizer.state_dict()["state"])
    document = {
        "progress": _renamed(asdict(history.progress), {new: old for old, new in _OLD_NAMES.items()}),
        "state": history.state.model_dump(mode="json"),
        "figures": [asdict(one) for one in history.metrics],
        "optimiser": optimizer_numbers,
        "precision": learner.fabric.strategy.precision.state_dict(),
    }
    tensors = {f"optimiser.{name}": value for name, value in optimizer_tensors.items()}
    for part, module in learner.modules.items():
        tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(plain, {_KEY: json.dumps(document)}))


def load_checkpoint(path: Path, learner: Learner) -> RunHistory:
    """Sets ``learner`` to the state in which the checkpoint was made.

    Raises:
        InputError: the file is damaged, or of another network.
    """
    try:
        with safe_open(path, "pt") as file:
            document = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        for part, module in learner.modules.items():
            module.load_state_dict(_part(tensors, part))
        state = _join(_part(tensors, "optimiser"), document["optimiser"])
        learner.optimizer.load_state_dict({**learner.optimizer.state_dict(), "state": state})
        learner.fabric.strategy.precision.load_state_dict(document["precision"])
        return RunHistory(
            RunProgress(**_renamed(document["progress"], _OLD_NAMES)),
            RunState.model_validate(document["state"]),
            [EpochMetrics(**one) for one in document["figures"]],
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the checkpoint {path} is damaged or of another version ({what}): remove the run folder and train again"
        ) from None


def require_finite(learner: Learner, advice: str) -> None:
    """Raises TrainingError where a weight is NaN or infinite: such weights must not replace good ones."""
    norms = torch._foreach_norm([value.detach() for value in learner.network.parameters()])
    if not bool(torch.isfinite(torch.stack(norms)).all()):
        raise TrainingError(f"the weights are no longer numbers; {advice}")


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _split(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of an optimizer as named tensors and as named plain values."""
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
