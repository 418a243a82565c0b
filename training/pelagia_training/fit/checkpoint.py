"""All that an unfinished run needs to go on as if it had not been broken off, in one safetensors file.

Invariant: the file is whole at every moment, and nothing in it is code. Tensors are the network's, its average's and
the optimiser's; the rest is JSON in the file's header. Random numbers and learning rates are not in it: they follow
from the step (`pelagia_training.fit.learner`), and the order and look of the images from the epoch
(`pelagia_training.data.batches`). Nor is what goes through at once, which follows from the config and the devices that are
there.
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


@dataclass
class RunProgress:
    """How far a run is: ``epoch`` epochs are over, and ``batch`` batches after them.

    ``total`` is the sum of these batches' losses, ``chance`` that of a network which says nothing. ``best`` is the best
    validation macro-F1, ``waited`` the epochs since; ``seconds`` is the time spent.
    """

    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    chance: float = 0.0
    best: float = -1.0
    waited: int = 0
    seconds: float = 0.0


@dataclass
class RunHistory:
    """What a run has to show for itself: where it is, its `run.json`, and its epochs' figures."""

    progress: RunProgress
    state: RunState
    figures: list[EpochMetrics]


def save_checkpoint(path: Path, learner: Learner, history: RunHistory) -> None:
    """Replaces ``path`` in one step. Raises OSError; the checkpoint that stood there is then still whole."""
    optimiser, numbers = _split(learner.optimizer.state_dict()["state"])
    document = {
        "progress": asdict(history.progress),
        "state": history.state.model_dump(mode="json"),
        "figures": [asdict(one) for one in history.figures],
        "optimiser": numbers,
        "precision": learner.fabric.strategy.precision.state_dict(),
    }
    tensors = {f"optimiser.{name}": value for name, value in optimiser.items()}
    for part, module in learner.modules.items():
        tensors |= {f"{part}.{name}": value for name, value in module.state_dict().items()}
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(plain, {_KEY: json.dumps(document)}))


def load_checkpoint(path: Path, learner: Learner) -> RunHistory:
    """Brings ``learner`` to where the checkpoint was made.

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
            RunProgress(**document["progress"]),
            RunState.model_validate(document["state"]),
            [EpochMetrics(**one) for one in document["figures"]],
        )
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ValidationError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the checkpoint {path} is damaged or of another version ({what}): remove the run folder and train again"
        ) from None


def require_finite(learner: Learner, advice: str) -> None:
    """Raises TrainingError where a weight is no number: such weights must not replace good ones."""
    norms = torch._foreach_norm([value.detach() for value in learner.network.parameters()])
    if not bool(torch.isfinite(torch.stack(norms)).all()):
        raise TrainingError(f"the weights are no longer numbers; {advice}")


def _split(state: Mapping[int, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors, and as named plain values."""
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
