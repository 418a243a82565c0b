"""What `pelagia train --final` takes from a cross-validation: the config, and the number of epochs.

The run has no validation split, so no epoch can be chosen as the best. The number of epochs follows from the folds:

- If the schedule lowers the learning rate until the end, and no fold stopped early, it is `train.epochs`. The weights
  (or their moving average) after the last epoch are used, of the run and of the folds. The best epochs of the folds
  were chosen on few images, and their mean would end the run while the learning rate is still high.
- Else it is the mean of the folds' best epochs, on the same schedule. The folds then predict with their best weights.

With all images an epoch has more steps than in a fold. The learning rate of an epoch is that of the folds.

This module does not import torch, so that a command can refuse a folder at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from pelagia.config import overridden
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, DatasetError, InputError, first_few
from pelagia.shell import command_line
from pelagia.survey.journal import JOURNAL_FILE, Survey
from pelagia.system.paths import StrPath
from pelagia_training.config import FREE_KEYS, Resplit, TrainConfig
from pelagia_training.runs.folder import BEST_FILE, STATE_FILE, FinalFit, RunState, differences, read_run
from pelagia_training.runs.out_of_fold import FOLDS_FILE, SURVEY_FOLDER, digest_of_folds

ENDS_LOW = ("cosine", "tanh", "poly", "step", "multistep", "wsd")
"""The schedules whose learning rate is low at the end of the training."""
_MAY_CHANGE = (*FREE_KEYS, "name", "licence")
_SWEEP_FILE, _SWEEP_BEST = "sweep.json", "best.yaml"


@dataclass(frozen=True)
class Folds:
    """A finished cross-validation.

    Attributes:
        folder: its folder.
        configs: the config of each fold.
        states: the content of each fold's `run.json`.
    """

    folder: Path
    configs: tuple[TrainConfig, ...]
    states: tuple[RunState, ...]

    @property
    def runs(self) -> list[Path]:
        """The run folder of each fold."""
        return [fold_of(self.folder, number) for number in range(1, len(self.configs) + 1)]


def fold_of(folder: Path, number: int) -> Path:
    """The run folder of a fold, counted from 1."""
    return folder / f"fold-{number}"


def plan_final(folder: StrPath, changes: Sequence[str] = ()) -> tuple[TrainConfig, FinalFit]:
    """The config of a run on all labeled images, and what it has from the cross-validation ``folder``.

    Args:
        folder: a folder that `pelagia train --folds` made.
        changes: changed keys as ``KEY=VALUE``; only keys that do not change the recipe.

    Raises:
        InputError: ``folder`` is not a finished cross-validation.
        ConfigError: a changed key would change the recipe.
        DatasetError: the dataset is missing, or is another one.
    """
    folder = Path(folder)
    folds = read_folds(folder)
    recipe = _recipe(folds)
    config = overridden(recipe, list(changes), "--set")
    allowed = tuple(f"\n  - {key}:" for key in _MAY_CHANGE)
    measured = [line for line in differences(recipe, config) if not line.startswith(allowed)]
    if measured:
        cross_validate = command_line("pelagia", "train", "CONFIG", "--folds", len(folds.configs), "--out", "CV")
        raise ConfigError(
            "--final",
            [
                f"the run has the config that {folder} measured, and --set changes it:{''.join(measured)}\n"
                f"    cross-validate the new values first, with `{cross_validate}`; "
                f"only these keys may change: {', '.join(_MAY_CHANGE)}"
            ],
        )
    _require_dataset(config.dataset, folds)
    return config, _final(folds, config)


def read_folds(folder: Path) -> Folds:
    """Reads a finished cross-validation.

    Raises:
        InputError: ``folder`` is not one, it is not finished, or its folds do not belong together.
    """
    _require_cross_validation(folder)
    first, _ = read_run(fold_of(folder, 1))
    if first.data.resplit is None or first.data.resplit.folds is None:
        raise _no_cross_validation(folder)
    count = first.data.resplit.folds
    again = f"run its command again to resume it: `{_make(folder, count)}`"
    missing = [number for number in range(1, count + 1) if not (fold_of(folder, number) / BEST_FILE).is_file()]
    if missing:
        raise InputError(
            f"the cross-validation {folder} is not finished: fold {first_few(map(str, missing))} of {count} is "
            f"missing; {again}"
        )
    read = [read_run(fold_of(folder, number)) for number in range(1, count + 1)]
    if left := [number for number, (_, state) in enumerate(read, 1) if state.status != "finished"]:
        raise InputError(
            f"the cross-validation {folder} is not finished: fold {first_few(map(str, left))} of {count} was "
            f"interrupted; {again}"
        )
    found = Folds(folder, tuple(config for config, _ in read), tuple(state for _, state in read))
    _require_one_recipe(found)
    if not (folder / FOLDS_FILE).is_file() or _digest_of_survey(folder) != digest_of_folds(found.runs):
        raise InputError(
            f"the cross-validation {folder} is not finished: its out-of-fold predictions are missing, or older than "
            f"its folds; {again}"
        )
    return found


def _require_cross_validation(folder: Path) -> None:
    """Raises InputError if ``folder`` is something else, and says what to do with it."""
    if (folder / _SWEEP_FILE).is_file():
        make = _make(Path(f"{folder}-cv"), 5, folder / _SWEEP_BEST)
        raise InputError(
            f"{folder} is a sweep: its best macro-F1 was chosen from many, so it is optimistic. Cross-validate its "
            f"best config first, with `{make}`, then name that folder"
        )
    if (folder / STATE_FILE).is_file():
        make = _make(Path(f"{folder}-cv"), 5, folder / "config.yaml")
        raise InputError(
            f"{folder} is a single run, which measured only a part of the images. Cross-validate its config first, "
            f"with `{make}`, then name that folder"
        )
    if not (fold_of(folder, 1) / STATE_FILE).is_file():
        raise _no_cross_validation(folder)


def _no_cross_validation(folder: Path) -> InputError:
    return InputError(f"{folder} is not a cross-validation: make one with `{_make(folder, 5)}`")


def _make(folder: Path, folds: int, config: Path | str = "CONFIG") -> str:
    return command_line("pelagia", "train", config, "--folds", folds, "--out", folder)


def _require_one_recipe(folds: Folds) -> None:
    """Raises InputError if the folds have different configs, datasets or classes."""
    recipe = _recipe(folds)
    for number, (config, state) in enumerate(zip(folds.configs, folds.states, strict=True), 1):
        split = config.data.resplit
        same = split is not None and (split.folds, split.fold) == (len(folds.configs), number)
        other = _recipe(Folds(folds.folder, (config,), (state,)))
        first = folds.states[0]
        same &= (state.fingerprint, state.taxonomy) == (first.fingerprint, first.taxonomy)
        if not same or differences(recipe, other):
            raise InputError(
                f"{fold_of(folds.folder, number)} has another config or dataset than {fold_of(folds.folder, 1)}, so "
                f"{folds.folder} is not one cross-validation: make a new one with `{_make(Path('CV'), 5)}`"
            )


def _recipe(folds: Folds) -> TrainConfig:
    """The config of the first fold, with all images in the training split."""
    config, split = folds.configs[0], folds.configs[0].data.resplit or Resplit()
    everything = Resplit(by=split.by, everything=True, seed=split.seed)
    data = config.data.model_copy(update={"resplit": everything})
    return config.model_copy(update={"data": data, "dataset": folds.states[0].dataset})


def _require_dataset(folder: Path | None, folds: Folds) -> None:
    """Raises DatasetError if the dataset is missing, or is not the one that was cross-validated."""
    wanted = folds.states[0].fingerprint
    if folder is None or not folder.is_dir():
        name = command_line("--set", "dataset=FOLDER")
        raise DatasetError(
            f"the dataset of the cross-validation {folds.folder} is no longer at {folder}: put it back, or name its "
            f"new folder with {name}"
        )
    found = Dataset.read(folder).meta.fingerprint
    if found != wanted:
        raise DatasetError(
            f"{folder} is not the dataset that {folds.folder} was made of (fingerprint {found[:12]}, cross-validated "
            f"{wanted[:12]}): put that dataset back, or cross-validate this one first, with "
            f"`{_make(Path('CV'), len(folds.configs))}`"
        )


def _digest_of_survey(folder: Path) -> str:
    """The SHA-256 of the weights that made the out-of-fold predictions; empty if there are none."""
    if not (folder / SURVEY_FOLDER / JOURNAL_FILE).is_file():
        return ""
    with Survey.open(folder / SURVEY_FOLDER) as survey:
        return str(survey.meta["model_sha256"])


def _final(folds: Folds, config: TrainConfig) -> FinalFit:
    path = folds.folder / FOLDS_FILE
    try:
        together = json.loads(path.read_text(encoding="utf-8"))["together"]
        images, groups, macro_f1 = int(together["images"]), int(together["groups"]), float(together["macro_f1"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is damaged: remove it, then run `{_make(folds.folder, len(folds.configs))}` again, which trains "
            "nothing that is finished"
        ) from None
    epochs, reason, last = epochs_of(config, folds.states)
    return FinalFit(
        cross_validation=folds.folder.absolute(),
        weights=digest_of_folds(folds.runs),
        folds=len(folds.configs),
        images=images,
        groups=groups,
        macro_f1=macro_f1,
        epochs=epochs,
        reason=reason,
        last_weights=last,
    )


def epochs_of(config: TrainConfig, states: Sequence[RunState]) -> tuple[int, str, bool]:
    """The number of epochs, why so many, and whether the folds predict with the weights of their last epoch."""
    settings = config.train
    if settings.head_only:
        return 1, "only the last layer is fitted", True
    whole = all(state.epoch == settings.epochs for state in states)
    if whole and settings.scheduler in ENDS_LOW:
        reason = f"the learning rate of the schedule '{settings.scheduler}' ends low, and no fold stopped early"
        return settings.epochs, reason, not settings.soup
    best = [state.best_epoch for state in states]
    why = f"'{settings.scheduler}' does not lower the learning rate" if whole else "folds stopped early"
    reason = f"{why}, and this is the mean of their best epochs ({', '.join(map(str, best))})"
    return max(1, round(mean(best))), reason, False
