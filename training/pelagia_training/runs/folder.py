"""The run folder: all files of one training, from its config to its weights.

    config.yaml             the complete config, including defaults
    run.json                dataset (folder, fingerprint, classes), code, environment, metrics, whether it is finished
    metrics.csv             one row per epoch; tensorboard/ and other loggers show the same metrics
    train.log               one line for each start, each epoch and each end
    best.safetensors        weights with the best validation macro-F1, used for the export
    last.safetensors        weights after the last epoch
    checkpoint.safetensors  all that an unfinished run needs to be resumed; removed when it is finished

Invariant: each file is always complete, and the checkpoint is written last. So a resumed run writes again, with the
same content, everything that was written after the checkpoint. This module does not import torch, so that a command
can check a run folder at once.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from pelagia import __version__
from pelagia.config import Strict, dump_yaml, made_by_newer, read_text, validate
from pelagia.errors import ConfigError, InputError, first_line
from pelagia.shell import command_line
from pelagia.system.files import refuse_existing, write_text
from pelagia.system.locking import exclusive_lock
from pelagia.system.yaml_text import parse_yaml
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import FREE_KEYS, RAISED_KEYS, Resplit, TrainConfig

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


class FinalFit(Strict):
    """What a run on all labeled images (`pelagia train --final`) has from the cross-validation of its recipe."""

    cross_validation: Path
    weights: str = Field(description="SHA-256 of the weights of all folds")
    folds: int
    images: int = Field(description="images that were predicted out of fold")
    groups: int = Field(description="their groups")
    macro_f1: float = Field(description="out of fold, of all images together, as the cross-validation reported it")
    epochs: int = Field(description="epochs of the run")
    reason: str = Field(description="why so many")
    last_weights: bool = Field(description="whether the folds predict with their last weights; else with their best")

    @property
    def not_measured(self) -> str:
        """Why the run has no validation metrics, and the figures that its recipe has."""
        return (
            f"not measured: all images were trained on; out-of-fold macro-F1 {self.macro_f1:.4f} of {self.folds} folds"
        )


class HeadFit(Strict):
    """How the last layer of a run with `train.head_only` was fitted."""

    strength: float = Field(description="of the penalty of the weights, as `pelagia_training.head.logistic` uses it")
    folds: int = Field(description="parts of the training split that were left out in turn to choose it")
    grouped: bool = Field(description="whether a group was left out as a whole; False if there is only one")
    macro_f1: float = Field(description="of the images that were left out, with this strength, 0..1")


class RunState(Strict):
    """The content of `run.json`.

    A run on all labeled images has ``final``, and no metrics and no confusion matrix of its own.
    """

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
    prolonged_after: int = 0
    """The number of epochs after which the finished run was prolonged the last time; 0: never."""
    final: FinalFit | None = None
    head: HeadFit | None = None


def write_config(folder: Path, config: TrainConfig) -> None:
    """Writes `config.yaml`, including defaults."""
    write_text(folder / CONFIG_FILE, "# Made by: pelagia train CONFIG --out RUN\n" + dump_yaml(config))


def write_state(folder: Path, state: RunState) -> None:
    """Writes `run.json`."""
    write_text(folder / STATE_FILE, state.model_dump_json(indent=2) + "\n")


def read_run(folder: Path) -> tuple[TrainConfig, RunState]:
    """Reads config and state of a run that has weights, finished or not.

    Raises:
        InputError: ``folder`` is not a run, its config or its state is damaged, or it has no weights.
    """
    if not (folder / STATE_FILE).is_file() and (folds := sorted(folder.glob(f"fold-*/{STATE_FILE}"))):
        raise InputError(
            f"{folder} is a cross-validation of {len(folds)} runs, each trained on a part of the groups: name one of "
            f"them, such as {folds[0].parent}, or train one run on the dataset's own split without --folds"
        )
    if not (folder / STATE_FILE).is_file():
        for inner in ("fold-1", "trial-1"):
            if (folder / inner / STATE_FILE).is_file():
                raise InputError(f"{folder} holds several training runs: name one of them, such as {folder / inner}")
        make = command_line("pelagia", "train", "CONFIG", "--out", folder)
        raise InputError(f"{folder} is not a training run: make one with `{make}`")
    config = _read_config(folder / CONFIG_FILE)
    state = read_state(folder)
    if not (folder / BEST_FILE).is_file():
        if state.status == "finished":
            raise InputError(f"the run {folder} has lost its weights, {BEST_FILE}: put the file back, or train again")
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
    try:
        return validate(document, TrainConfig, str(path))
    except ConfigError as error:
        raise _explained(error, path.parent) from None


def read_state(folder: Path) -> RunState:
    """Reads `run.json` of a run. Raises InputError if it is damaged, or was made by a newer Pelagia."""
    path = folder / STATE_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({first_line(error)}): train again") from None
    if fault := made_by_newer(document, RunState):
        raise InputError(f"the run {folder} {fault}")
    try:
        return RunState.model_validate(document)
    except ValidationError as error:
        raise _explained(InputError(f"{path} is damaged ({first_line(error)}): train again"), folder) from None


def _explained(error: InputError, folder: Path) -> InputError:
    """``error``, with the versions if another Pelagia than this one made the run: it may have had other keys."""
    try:
        made_by = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["environment"]["pelagia"]
    except (OSError, ValueError, KeyError, TypeError):
        return error
    if made_by == __version__:
        return error
    return InputError(
        f"{error}\nthe run {folder} was made by Pelagia {made_by}, and this is {__version__}: use the newer of both"
    )


@contextmanager
def open_run(folder: Path, config: TrainConfig, resume: bool = True) -> Iterator[None]:
    """Makes or reopens a run folder, and locks it, so that no other process trains into it.

    A folder without weights or a checkpoint is removed at the end, so that the same command can start the run again.

    Raises:
        InputError: ``folder`` is not a run, or the run is finished, has another config, or is in use.
    """
    resuming = require_open(folder, config, resume)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        folder / LOCK_FILE, f"another process is training into {folder}: wait for it, or choose another --out"
    ):
        for left in folder.glob(".*.partial-*"):  # left by a killed process
            left.unlink(missing_ok=True)
        if resuming:
            _require_unfinished(folder, config, resume)  # another process may have finished it in the meantime
        try:
            yield
        finally:
            if not any((folder / name).exists() for name in (BEST_FILE, CHECKPOINT_FILE)):
                _remove(folder)


def require_open(folder: Path, config: TrainConfig, resume: bool = True) -> bool:
    """Whether ``folder`` is a run that this config resumes or prolongs; False if a new run can be made there.

    Raises:
        InputError: ``folder`` is not a run, or the run is finished or has another config.
    """
    if (folder / STATE_FILE).is_file() and (folder / CONFIG_FILE).is_file():
        _require_unfinished(folder, config, resume)
        _require_same_config(folder, config)
        return True
    if not folder.is_dir() or any(not _is_ours(file) for file in folder.iterdir()):
        refuse_existing(folder, "run")
    return False


def prolongs(folder: Path, config: TrainConfig, state: RunState) -> bool:
    """Whether ``config`` trains the finished run ``folder`` longer: by more epochs, or more patience.

    A head alone is fitted until it is best, so it is never trained longer.
    """
    if config.train.head_only:
        return False
    was = _read_config(folder / CONFIG_FILE).train
    raised = any(getattr(config.train, name) > getattr(was, name) for name in ("epochs", "patience"))
    return state.status == "finished" and raised and config.train.epochs > state.epoch


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


def _require_unfinished(folder: Path, config: TrainConfig, resume: bool) -> None:
    state = read_state(folder)
    if state.status == "finished" and not prolongs(folder, config, state):
        model = folder / MODEL_FILE
        export = command_line("pelagia", "export", folder, "--out", "MODEL.onnx")
        use = f"its model is {model}" if model.exists() else f"export it with `{export}`"
        ends = state.final or config.train.head_only
        longer = f"to train it longer, add --set train.epochs={max(2 * state.epoch, config.train.epochs + 1)}; "
        raise InputError(
            f"the run {folder} is finished ({state.epoch} epochs): {use}; {'' if ends else longer}to train "
            "again, choose another --out or remove the folder"
        )
    if not resume:
        raise InputError(
            f"the run {folder} already exists and has finished {state.epoch} epochs: choose another --out, remove it, "
            "or resume it by leaving out --no-resume"
        )
    missing = not (folder / CHECKPOINT_FILE).exists()
    if state.status == "running" and state.epoch > 1 and missing:  # epoch 1 may be recorded before its checkpoint
        raise InputError(
            f"the run {folder} has finished epoch {state.epoch}, but its {CHECKPOINT_FILE} is missing, so it would "
            "start again and replace its weights: put the file back, or choose another --out"
        )


def _require_same_config(folder: Path, config: TrainConfig) -> None:
    if differing := differences(_read_config(folder / CONFIG_FILE), config, may_rise=RAISED_KEYS):
        raise InputError(
            f"the run {folder} was started with another config, and this one cannot resume it:{''.join(differing)}\n"
            f"set the old values, or choose another --out. Only these keys may change: {', '.join(FREE_KEYS)}; these "
            f"may rise: {', '.join(RAISED_KEYS)}"
        )


def run_name(folder: Path) -> str:
    """The name of a run in loggers: its folder, with the folder above for a fold or a trial, as in ``cv/fold-1``."""
    name, above = folder.absolute().name, folder.absolute().parent.name
    return f"{above}/{name}" if re.fullmatch(r"(fold|trial)-\d+", name) else name


def split_conflict(run: Path, theirs: TrainConfig, state: RunState, split: Resplit | None, fingerprint: str) -> str:
    """Why no run may learn from this one: it was trained on images that ``split`` holds out. Empty if it was not."""
    if state.fingerprint != fingerprint or theirs.data.resplit == split:
        return ""
    return (
        f"{run} was trained on another split of this dataset, so it has seen images that are held out here: choose a "
        "run with the same data.resplit"
    )


def differences(was: TrainConfig, now: TrainConfig, may_rise: Sequence[str] = ()) -> list[str]:
    """The keys that change the result and differ between two configs, one line per key.

    Args:
        may_rise: keys with a number that may be higher in ``now``.
    """
    old, new = (flat(one.model_dump(mode="json")) for one in (was, now))
    return [
        f"\n  - {key}: was {old.get(key)}, is now {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and not key.startswith(FREE_KEYS)
        and not (key in may_rise and new[key] > old[key])
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
