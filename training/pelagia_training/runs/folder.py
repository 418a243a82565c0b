"""The RUN: a folder that holds a training from its config to its weights.

    config.yaml             the whole config, defaults included
    run.json                dataset (folder, fingerprint, classes), code, environment, figures, whether it finished
    metrics.csv             one row an epoch; tensorboard/ and other loggers show the same
    train.log               each start, a line an epoch, and how it ended
    best.safetensors        weights with the best validation macro-F1, the ones that are exported
    last.safetensors        weights after the last epoch
    checkpoint.safetensors  all that an unfinished run needs to go on; gone when it is finished

Invariant: each file is whole at every moment, and the checkpoint is written last: what the other files say beyond it is
written again, the same, by the run that goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from pydantic import ValidationError
from torch import Tensor, nn

from pelagia.config import Strict, dump_yaml, read_text, validate
from pelagia.errors import InputError
from pelagia.system.files import new_file, refuse_existing, write_text
from pelagia.system.locking import exclusive_lock
from pelagia.taxonomy import Taxonomy
from pelagia.system.yaml_text import parse_yaml
from pelagia_training.config import FREE_KEYS, TrainConfig

CONFIG_FILE, STATE_FILE, METRICS_FILE = "config.yaml", "run.json", "metrics.csv"
BEST_FILE, LAST_FILE, CHECKPOINT_FILE = "best.safetensors", "last.safetensors", "checkpoint.safetensors"
LOG_FILE, LOCK_FILE, MODEL_FILE = "train.log", ".lock", "model.onnx"
_EARLY = frozenset(
    {
        CONFIG_FILE,
        STATE_FILE,
        METRICS_FILE,
        LOG_FILE,
        LOCK_FILE,
        "tensorboard",
        "wandb",
        "wandb.json",
        "mlflow.txt",
        "soup",
    }
)
"""What a run may hold before it has learnt anything."""


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
    state = read_state(folder)
    if not (folder / BEST_FILE).is_file():
        raise InputError(
            f"the run {folder} has no weights yet: it stopped before its first epoch was over; run its command again"
        )
    return config, state


def _read_config(path: Path) -> TrainConfig:
    """A run that does not say how JPEGs are decoded was made before large ones were at a reduced scale."""
    document = parse_yaml(read_text(path, "config file"), str(path))
    if isinstance(document, dict) and isinstance(document.get("preprocess"), dict):
        document["preprocess"].setdefault("jpeg_scale", "full")
    return validate(document, TrainConfig, str(path))


def read_state(folder: Path) -> RunState:
    """`run.json` of a run. Raises InputError where it is damaged."""
    try:
        return RunState.model_validate(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise InputError(f"{folder / STATE_FILE} is damaged ({str(error).splitlines()[0]}): train again") from None


@contextmanager
def open_run(folder: Path, config: TrainConfig, resume: bool = True) -> Iterator[None]:
    """Holds the run folder, a new one or one that goes on; no other process can train into it meanwhile.

    A new folder is removed again where nothing was learnt: the same command must be able to start anew.

    Raises:
        InputError: ``folder`` is no run, a finished one, one of another config, or in use.
    """
    goes_on = (folder / STATE_FILE).is_file() and (folder / CONFIG_FILE).is_file()
    if goes_on:
        _require_unfinished(folder, resume)
        _require_same_config(folder, config)
    elif not folder.is_dir() or any(not _is_ours(file) for file in folder.iterdir()):
        refuse_existing(folder, "run")
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        folder / LOCK_FILE, f"another process is training into {folder}: wait for it, or choose another --out"
    ):
        for left in folder.glob(".*.partial-*"):  # of a write that was killed
            left.unlink(missing_ok=True)
        if goes_on:
            _require_unfinished(folder, resume)  # it may have been finished while this process asked for the lock
        try:
            yield
        finally:
            if not any((folder / name).exists() for name in (BEST_FILE, CHECKPOINT_FILE)):
                _remove(folder)


def _is_ours(file: Path) -> bool:
    """Whether a file is one that a run writes before it has learnt anything, or that a kill left half written."""
    partial = file.name.startswith(".") and ".partial-" in file.name
    return file.name in _EARLY or file.name.startswith(f"{LOCK_FILE}-") or partial  # SQLite's journal of the lock


def _remove(folder: Path) -> None:
    """Removes a run that has learnt nothing; a folder that holds anything else stays."""
    with suppress(OSError):
        for file in [*folder.iterdir()]:
            if file.is_dir() and _is_ours(file):
                shutil.rmtree(file, ignore_errors=True)
            elif _is_ours(file):
                file.unlink(missing_ok=True)
        folder.rmdir()


def _require_unfinished(folder: Path, resume: bool) -> None:
    state = read_state(folder)
    if state.status == "finished":
        model = folder / MODEL_FILE
        use = f"export it with `pelagia export {folder} --out MODEL.onnx`"
        if model.exists():
            use = f"its model is {model}"
        raise InputError(
            f"the run {folder} is finished ({state.epoch} epochs): {use}; to train again, choose another --out or "
            "remove the folder"
        )
    if not resume:
        raise InputError(
            f"the run {folder} exists already, after epoch {state.epoch}: choose another --out, remove it, or let it "
            "go on without --no-resume"
        )
    if state.epoch > 1 and not (folder / CHECKPOINT_FILE).exists():  # within the first there may be none yet
        raise InputError(
            f"the run {folder} is after epoch {state.epoch}, but its {CHECKPOINT_FILE} is gone: put it back, or choose "
            "another --out; it would begin anew and replace its weights"
        )


def _require_same_config(folder: Path, config: TrainConfig) -> None:
    if differing := differences(_read_config(folder / CONFIG_FILE), config):
        raise InputError(
            f"the run {folder} was begun with another config and would not go on as it began:{''.join(differing)}\n"
            "give it the old values, or choose another --out"
        )


def unlike_split(run: Path, theirs: TrainConfig, state: RunState, config: TrainConfig, fingerprint: str) -> str:
    """What is wrong with learning from a run that saw images which ``config`` holds out; empty where it saw none."""
    if state.fingerprint != fingerprint or theirs.data.resplit == config.data.resplit:
        return ""
    return f"{run} was trained on another split of this dataset: it has seen images that are held out here"


def differences(was: TrainConfig, now: TrainConfig) -> list[str]:
    """The keys on which the result depends and in which two configs differ, a line each."""
    old, new = (flat(one.model_dump(mode="json")) for one in (was, now))
    return [
        f"\n  - {key}: was {old.get(key)}, is now {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(FREE_KEYS)
    ]


def flat(document: Any, place: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    if not isinstance(document, dict) or not document:
        return {place: document}
    return {
        key: value
        for name, inner in document.items()
        for key, value in flat(inner, f"{place}.{name}" if place else name).items()
    }


def save_weights(path: Path, network: nn.Module, epoch: int) -> None:
    """Writes a network's parameters and buffers as safetensors, with the epoch that they are of, atomically."""
    state: dict[str, Tensor] = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with new_file(path) as file:
        file.write(safetensors.torch.save(state, {"epoch": str(epoch)}))
