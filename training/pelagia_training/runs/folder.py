"""The run folder: all files of one training, from its config to its weights.

    config.yaml             the complete config, including defaults
    run.json                dataset (folder, fingerprint, classes), code, environment, metrics, whether it is finished
    metrics.csv             one row per epoch; tensorboard/ and other loggers show the same metrics
    train.log               one line for each start, each epoch and each end
    best.safetensors        weights with the best validation macro-F1, used for the export
    last.safetensors        weights after the last epoch
    checkpoint.safetensors  all that an unfinished run needs to be resumed; removed when it is finished

Invariant: each file is always complete, and the checkpoint is written last. So a resumed run writes again, with the
same content, everything that was written after the checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
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
from pelagia.system.yaml_text import parse_yaml
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import FREE_KEYS, Resplit, TrainConfig

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
"""Files that a run may hold before its first checkpoint."""


class RunState(Strict):
    """The content of `run.json`."""

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
    """Writes `config.yaml`, including defaults."""
    write_text(folder / CONFIG_FILE, "# Made by: pelagia train CONFIG --out RUN\n" + dump_yaml(config))


def write_state(folder: Path, state: RunState) -> None:
    """Writes `run.json`."""
    write_text(folder / STATE_FILE, state.model_dump_json(indent=2) + "\n")


def read_run(folder: Path) -> tuple[TrainConfig, RunState]:
    """Reads config and state of a run that has weights, finished or not.

    Raises:
        InputError: ``folder`` is not a run, its config or its state is damaged, or it has no weights yet.
    """
    if not (folder / STATE_FILE).is_file() and (folds := sorted(folder.glob(f"fold-*/{STATE_FILE}"))):
        raise InputError(
            f"{folder} is a cross-validation of {len(folds)} runs, each trained on a part of the groups: name one of "
            f"them, such as {folds[0].parent}, or train one run on the dataset's own split without --folds"
        )
    if not (folder / STATE_FILE).is_file():
        raise InputError(f"{folder} is not a training run: make one with `pelagia train CONFIG --out {folder}`")
    config = _read_config(folder / CONFIG_FILE)
    state = read_state(folder)
    if not (folder / BEST_FILE).is_file():
        raise InputError(
            f"the run {folder} has no weights yet: it stopped before the end of its first epoch; run the same "
            "command again to resume it"
        )
    return config, state


def _read_config(path: Path) -> TrainConfig:
    """Reads the config of a run. If it has no `jpeg_scale`, the run decoded JPEGs at full scale."""
    document = parse_yaml(read_text(path, "config file"), str(path))
    if isinstance(document, dict) and isinstance(document.get("preprocess"), dict):
        document["preprocess"].setdefault("jpeg_scale", "full")
    return validate(document, TrainConfig, str(path))


def read_state(folder: Path) -> RunState:
    """Reads `run.json` of a run. Raises InputError if it is damaged."""
    try:
        return RunState.model_validate(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise InputError(f"{folder / STATE_FILE} is damaged ({str(error).splitlines()[0]}): train again") from None


@contextmanager
def open_run(folder: Path, config: TrainConfig, resume: bool = True) -> Iterator[None]:
    """Makes or reopens a run folder, and locks it, so that no other process trains into it.

    A folder without weights or a checkpoint is removed at the end, so that the same command can start the run again.

    Raises:
        InputError: ``folder`` is not a run, or the run is finished, has another config, or is in use.
    """
    resuming = (folder / STATE_FILE).is_file() and (folder / CONFIG_FILE).is_file()
    if resuming:
        _require_unfinished(folder, resume)
        _require_same_config(folder, config)
    elif not folder.is_dir() or any(not _is_ours(file) for file in folder.iterdir()):
        refuse_existing(folder, "run")
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        folder / LOCK_FILE, f"another process is training into {folder}: wait for it, or choose another --out"
    ):
        for left in folder.glob(".*.partial-*"):  # left by a killed process
            left.unlink(missing_ok=True)
        if resuming:
            _require_unfinished(folder, resume)  # another process may have finished it in the meantime
        try:
            yield
        finally:
            if not any((folder / name).exists() for name in (BEST_FILE, CHECKPOINT_FILE)):
                _remove(folder)


def _is_ours(file: Path) -> bool:
    """Whether a run writes this file before its first checkpoint, or a killed process left it incomplete."""
    partial = file.name.startswith(".") and ".partial-" in file.name
    return (
        file.name in _EARLY or file.name.startswith(f"{LOCK_FILE}-") or partial
    )  # LOCK_FILE-...: SQLite's journal of the lock


def _remove(folder: Path) -> None:
    """Removes a run without a checkpoint; keeps the folder if it holds other files."""
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
            f"the run {folder} already exists and has finished {state.epoch} epochs: choose another --out, remove it, "
            "or resume it by leaving out --no-resume"
        )
    if state.epoch > 1 and not (folder / CHECKPOINT_FILE).exists():  # epoch 1 may be recorded before its checkpoint
        raise InputError(
            f"the run {folder} has finished epoch {state.epoch}, but its {CHECKPOINT_FILE} is missing, so it would "
            "start again and replace its weights: put the file back, or choose another --out"
        )


def _require_same_config(folder: Path, config: TrainConfig) -> None:
    if differing := differences(_read_config(folder / CONFIG_FILE), config):
        raise InputError(
            f"the run {folder} was started with another config, and this one cannot resume it:{''.join(differing)}\n"
            "set the old values, or choose another --out"
        )


def split_conflict(run: Path, theirs: TrainConfig, state: RunState, split: Resplit | None, fingerprint: str) -> str:
    """Why no run may learn from this one: it was trained on images that ``split`` holds out. Empty if it was not."""
    if state.fingerprint != fingerprint or theirs.data.resplit == split:
        return ""
    return (
        f"{run} was trained on another split of this dataset, so it has seen images that are held out here: choose a "
        "run with the same data.resplit"
    )


def differences(was: TrainConfig, now: TrainConfig) -> list[str]:
    """The keys that change the result and differ between two configs, one line per key."""
    old, new = (flat(one.model_dump(mode="json")) for one in (was, now))
    return [
        f"\n  - {key}: was {old.get(key)}, is now {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(FREE_KEYS)
    ]


def flat(document: Any, place: str = "") -> dict[str, Any]:
    """Flattens a nested document: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    if not isinstance(document, dict) or not document:
        return {place: document}
    return {
        key: value
        for name, inner in document.items()
        for key, value in flat(inner, f"{place}.{name}" if place else name).items()
    }


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
