"""The RUN: a folder that holds a training from its config to its weights.

    config.yaml          the whole config, defaults included
    run.json             dataset (folder, fingerprint, classes), environment, figures, whether it finished
    metrics.csv          one row an epoch; tensorboard/ has the same
    best.safetensors     weights with the best validation macro-F1, the ones that are exported
    last.safetensors     weights after the last epoch

Invariant: each file is whole at every moment.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import safetensors.torch
from pydantic import ValidationError
from torch import Tensor, nn

from pelagia.config import Strict, dump_yaml, read_text, validate
from pelagia.errors import InputError
from pelagia.files import new_file, refuse_existing, write_text
from pelagia.taxonomy import Taxonomy
from pelagia.yaml_text import parse_yaml
from pelagia_training.config import TrainConfig

CONFIG_FILE, STATE_FILE, METRICS_FILE = "config.yaml", "run.json", "metrics.csv"
BEST_FILE, LAST_FILE = "best.safetensors", "last.safetensors"


class RunState(Strict):
    """`run.json`."""

    schema_version: Literal[1] = 1
    status: Literal["running", "finished"] = "running"
    dataset: Path
    dataset_name: str
    fingerprint: str
    counts: dict[str, dict[str, int]]
    taxonomy: Taxonomy
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    environment: dict[str, str]
    epoch: int = 0
    best_epoch: int = 0
    metrics: dict[str, float] = {}
    validation_confusion: tuple[tuple[int, ...], ...] = ()
    seconds: float = 0.0


def write_config(folder: Path, config: TrainConfig) -> None:
    """Writes `config.yaml`, defaults included."""
    write_text(folder / CONFIG_FILE, "# Made by: pelagia train CONFIG --out RUN\n" + dump_yaml(config))


def write_state(folder: Path, state: RunState) -> None:
    """Writes `run.json`."""
    write_text(folder / STATE_FILE, state.model_dump_json(indent=2) + "\n")


def read_run(folder: Path) -> tuple[TrainConfig, RunState]:
    """Config and state of a run that has weights, finished or not.

    Raises:
        InputError: it is no run, it was edited into something else, or it has no weights yet.
    """
    if not (folder / STATE_FILE).is_file():
        raise InputError(f"{folder} is not a training run: make one with `pelagia train CONFIG --out {folder}`")
    config = _read_config(folder / CONFIG_FILE)
    try:
        state = RunState.model_validate(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise InputError(f"{folder / STATE_FILE} is damaged ({str(error).splitlines()[0]}): train again") from None
    if not (folder / BEST_FILE).is_file():
        raise InputError(
            f"the run {folder} has no weights yet: it stopped before its first epoch was over; train again"
        )
    return config, state


def _read_config(path: Path) -> TrainConfig:
    """A run that does not say how JPEGs are decoded was made before large ones were at a reduced scale."""
    document = parse_yaml(read_text(path, "config file"), str(path))
    if isinstance(document, dict) and isinstance(document.get("preprocess"), dict):
        document["preprocess"].setdefault("jpeg_scale", "full")
    return validate(document, TrainConfig, str(path))


def refuse_run(folder: Path) -> None:
    """Raises InputError where ``folder`` exists; says how far it came, where it is a run that broke off."""
    if (folder / BEST_FILE).is_file() and (folder / STATE_FILE).is_file():
        config, state = read_run(folder)
        if state.status != "finished":
            raise InputError(
                f"the run {folder} broke off after epoch {state.epoch} of {config.train.epochs}: export what it learnt "
                f"with `pelagia export {folder} --out MODEL.onnx`, or remove it and train again"
            )
    refuse_existing(folder, "run")


@contextmanager
def new_run(folder: Path) -> Iterator[None]:
    """Makes the run folder, and removes it again where nothing was learnt: the same command must be able to start anew.

    It asks once more whether the folder is free, so that it never removes what another process made meanwhile.
    """
    refuse_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not (folder / BEST_FILE).exists():
            shutil.rmtree(folder, ignore_errors=True)


def save_weights(path: Path, network: nn.Module, epoch: int) -> None:
    """Writes a network's parameters and buffers as safetensors, with the epoch that they are of, atomically."""
    state: dict[str, Tensor] = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(state, {"epoch": str(epoch)}))
