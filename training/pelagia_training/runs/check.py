"""What a training command checks before torch is imported, which takes seconds.

A wrong config, dataset, run folder or logger is refused at once. `pelagia_training.train.train` checks the same again,
because other programs call it, and because another process may have changed the run folder since.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pelagia.dataset.schema import META_FILE, Dataset
from pelagia.errors import ConfigError, DatasetError, InputError
from pelagia.shell import command_line
from pelagia_training.config import TrainConfig
from pelagia_training.data.splits import Splits, read_splits
from pelagia_training.runs.folder import (
    BEST_FILE,
    CHECKPOINT_FILE,
    CONFIG_FILE,
    STATE_FILE,
    FinalFit,
    RunState,
    differences,
    prolongs,
    read_run,
    read_state,
    require_open,
)
from pelagia_training.runs.loggers import require_loggers

Begin = Literal["no", "resumed", "prolonged"]
"""How a training uses the run folder: not at all, from its checkpoint, or from the last weights of a finished run."""


def require_trainable(
    config: TrainConfig, out: Path | None = None, resume: bool = True, final: FinalFit | None = None
) -> Splits:
    """The images that are trained on; checks what a training needs, without torch.

    Args:
        out: the run folder; None if it is not known yet, as for the runs of a cross-validation.
        resume: whether an interrupted run may be resumed.
        final: what a run on all images has from its cross-validation; None: an ordinary run.

    Raises:
        ConfigError, InputError, DatasetError, MissingExtra: as `pelagia_training.train.train`.
    """
    if out is not None:
        require_final(config, final, out)
    require_loggers(config.loggers)
    started = out is not None and require_open(out, config, resume)
    if started and out is not None:
        require_dataset_there(out, config)
    splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
    if started and out is not None:
        resumes(out, config, splits.dataset)
    return splits


def require_final(config: TrainConfig, final: FinalFit | None, out: Path) -> None:
    """Raises an error if no image is held out although no cross-validation was named, or another one than before.

    Raises:
        ConfigError: ``config`` holds no image out, and ``final`` is None.
        InputError: the run ``out`` was started with another cross-validation.
    """
    if (config.data.resplit is not None and config.data.resplit.everything) != (final is not None):
        make = command_line("pelagia", "train", "--final", "CROSS_VALIDATION", "--out", out)
        raise ConfigError(
            "data.resplit.everything",
            [f"a run that holds no image out needs a cross-validation: train it with `{make}`"],
        )
    if final is None or not (out / STATE_FILE).is_file():
        return
    started = read_state(out).final
    if started is not None and started.weights != final.weights:
        raise InputError(
            f"the run {out} was started with the cross-validation {started.cross_validation}, and "
            f"{final.cross_validation} has other networks: name that one, or choose another --out"
        )


def require_dataset_there(out: Path, config: TrainConfig) -> None:
    """Raises DatasetError if the run ``out`` was started, and its dataset is no longer where the config says."""
    folder = config.dataset
    if folder is not None and not (folder / META_FILE).is_file():
        raise DatasetError(
            f"the dataset of the run {out} is no longer at {folder}: put it back, or name its new folder with "
            + command_line("--set", "dataset=FOLDER")
        )


def resumes(out: Path, config: TrainConfig, dataset: Dataset) -> Begin:
    """How a training into ``out`` begins: from nothing, from the run's checkpoint, or from its last weights.

    Raises:
        InputError: the run was started on another dataset.
    """
    if not (out / STATE_FILE).is_file() or not (out / CONFIG_FILE).is_file():
        return "no"
    started = read_state(out)
    _require_same_dataset(out, started, dataset)
    if prolongs(out, config, started):
        return "prolonged"
    return "resumed" if (out / CHECKPOINT_FILE).is_file() else "no"


def is_finished(run: Path, config: TrainConfig) -> bool:
    """Whether ``run`` is a finished run of exactly this config and dataset, so that it need not be trained again.

    Raises:
        InputError: ``run`` was trained with another config or on another dataset.
    """
    if not (run / STATE_FILE).is_file() or not (run / BEST_FILE).is_file():
        return False
    made_with, state = read_run(run)
    if differing := differences(made_with, config):
        raise InputError(
            f"{run} was trained with another config:{''.join(differing)}\nname a new --out, or set the old values again"
        )
    if state.status != "finished":
        return False
    _require_same_dataset(run, state, Dataset.read(config.dataset or state.dataset))
    return True


def _require_same_dataset(run: Path, started: RunState, dataset: Dataset) -> None:
    if started.fingerprint != dataset.meta.fingerprint:
        raise InputError(
            f"the run {run} was started on another dataset: {started.dataset}, fingerprint {started.fingerprint[:12]}; "
            f"{dataset.root} has {dataset.meta.fingerprint[:12]}. Use that dataset, or choose another --out"
        )
