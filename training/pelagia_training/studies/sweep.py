"""`pelagia sweep`: many short runs with other values of some keys, and the config of the best.

    trial-1/ ... trial-N/  runs; when one is over, best.safetensors is all that stays of its weights
    study.sqlite           which trials there are, and their figures: what a sweep that was broken off goes on from
    sweep.json, sweep.csv  what was searched, and each trial's values, macro-F1 on the val split, epochs and state
    best.yaml              the config of the best trial, for `pelagia train`

Invariant: a trial is over when the study says so, which it does when its run is over, so a process that is killed
neither loses nor doubles one: the same command goes on with the trial's run from its checkpoint. Trials are compared
on the val split alone; the test split is not looked at.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pelagia.config import Strict, altered, dump_yaml
from pelagia.errors import ConfigError, DiskFullError, InputError, TrainingError
from pelagia.system.files import refuse_existing, write_text
from pelagia.system.locking import exclusive_lock
from pelagia.system.tables import write_table
from pelagia_training.config import TrainConfig
from pelagia_training.devices import make_fabric
from pelagia_training.fit.context import Report, Step
from pelagia_training.fit.prepare import read_splits
from pelagia_training.runs.folder import CHECKPOINT_FILE, LAST_FILE, LOCK_FILE, METRICS_FILE, differences, read_state
from pelagia_training.runs.loggers import require_loggers
from pelagia_training.runs.logs import read_curves
from pelagia_training.runs.soup import Soup
from pelagia_training.studies.folds import is_finished, require_one_process
from pelagia_training.studies.space import Space
from pelagia_training.studies.study import Study, Trial, open_study
from pelagia_training.train import train

SWEEP_FILE, TABLE_FILE, BEST_CONFIG_FILE, STUDY_FILE = "sweep.json", "sweep.csv", "best.yaml", "study.sqlite"
_OURS = (SWEEP_FILE, TABLE_FILE, BEST_CONFIG_FILE, STUDY_FILE, LOCK_FILE)


class Sweep(Strict):
    """`sweep.json`."""

    schema_version: Literal[1] = 1
    fingerprint: str
    prune: bool
    search: dict[str, str]
    config: TrainConfig
    trials: tuple[Trial, ...] = ()
    importance: dict[str, float] = {}

    @property
    def best(self) -> Trial | None:
        """The complete trial with the highest macro-F1, the first of them; None where none is complete."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return max(complete, key=lambda trial: trial.macro_f1 or 0.0, default=None)


class Pruned(Exception):  # noqa: N818 - what happened to a trial is no error
    """A run was ended because others were better at the same epoch."""


def run_of(out: Path, trial: Trial) -> Path:
    """The run folder of a trial."""
    return out / f"trial-{trial.number}"


def values_of(trial: Trial) -> dict[str, str]:
    """A trial's values in short, for people."""
    return {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in trial.values.items()}


def sweep(
    config: TrainConfig,
    space: Space,
    out: Path,
    *,
    trials: int,
    prune: bool = True,
    report: Report = lambda event: None,
) -> Sweep:
    """Trains until ``trials`` trials are over, those of earlier starts among them, and leaves the folder ``out``.

    A run whose loss is no number, or whose values do not go together, is a failed trial.

    Raises:
        ConfigError, InputError, DatasetError: as `train`, and where ``out`` is another sweep, or in use.
        TrainingError: the disk is full.
    """
    require_one_process(config)
    require_loggers(config.loggers)
    make_fabric(config.device, config.precision, config.devices, config.nodes)
    splits = read_splits(config, 1)
    search = {key: str(space[key]) for key in sorted(space)}
    plan = Sweep(fingerprint=splits.dataset.meta.fingerprint, prune=prune, search=search, config=config)
    with _open_folder(out, plan), open_study(out / STUDY_FILE, space) as study:
        found = _write(out, plan, space, study)
        while len(found.trials) < trials or found.trials[-1].state == "unfinished":
            trial = study.next(config.seed)
            if trial is None:
                report(f"all {len(found.trials)} combinations were tried")
                break
            report(f"trial {trial.number} of {trials}: " + ", ".join(map("=".join, values_of(trial).items())))
            _try(_Attempt(plan, space, out, trial, study, report), first=found.best is None)
            found = _write(out, plan, space, study)
            report(_verdict(found))
        return found


# ---- one trial


@dataclass(frozen=True)
class _Attempt:
    """A trial under way, and all that it needs."""

    plan: Sweep
    space: Space
    out: Path
    trial: Trial
    study: Study
    report: Report


def _try(attempt: _Attempt, *, first: bool) -> None:
    """Trains a trial to its end, whichever it is.

    Raises:
        ConfigError: what is wrong with its config may be wrong with all, as ``first`` says that none was right.
    """
    number, study = attempt.trial.number, attempt.study
    try:
        settings = _settings(attempt.plan, attempt.space, attempt.trial)
    except ConfigError as error:
        study.end(number, "failed", fault=str(error))
        return
    try:
        study.end(number, "complete", _score(attempt, settings))
    except Pruned:
        study.end(number, "pruned")
    except DiskFullError:
        raise
    except (TrainingError, ConfigError) as error:
        if first and isinstance(error, ConfigError):
            raise
        study.end(number, "failed", fault=str(error))


def _settings(plan: Sweep, space: Space, trial: Trial) -> TrainConfig:
    """A trial's config. Raises ConfigError where its values do not go together."""
    changes = {key: space[key].value(drawn) for key, drawn in trial.values.items()}
    return altered(plan.config, changes, "values that do not go together")


def _score(attempt: _Attempt, settings: TrainConfig) -> float:
    """Macro-F1 of the best weights on the val split. A run that is finished is not trained again."""
    run, number, study = run_of(attempt.out, attempt.trial), attempt.trial.number, attempt.study
    epochs = settings.train.epochs

    def look() -> None:
        scores = read_curves(run).get("val_macro_f1", [])
        study.tell_epochs(number, scores)
        if attempt.plan.prune and 0 < len(scores) < epochs and study.is_behind(number, epochs // 3):
            raise Pruned(f"others were better at epoch {len(scores)}")

    def watch(event: str | Step) -> None:
        attempt.report(event)
        if isinstance(event, Step) and event.validation is not None:
            look()

    if (run / METRICS_FILE).is_file():  # of an earlier start, which may have ended before it told the study
        look()
    if not is_finished(run, settings):
        train(settings, run, watch)
    return read_state(run).metrics["macro_f1"]


def _verdict(found: Sweep) -> str:
    trial, best = found.trials[-1], found.best
    figure = "" if trial.macro_f1 is None else f", macro-F1 {trial.macro_f1:.4f}"
    leader = f"; best so far {best.macro_f1:.4f} (trial {best.number})" if best else ""
    return f"trial {trial.number} {trial.state}{f': {trial.fault}' if trial.fault else figure}{leader}"


# ---- the folder


@contextmanager
def _open_folder(out: Path, plan: Sweep) -> Iterator[None]:
    """Holds the folder of a new sweep, or of one that goes on; one in which nothing was learnt is removed again.

    Raises:
        InputError: ``out`` is something else, a sweep that was begun otherwise, or in use.
    """
    if not (out / SWEEP_FILE).is_file() and not (out.is_dir() and all(map(_is_ours, out.iterdir()))):
        refuse_existing(out, "sweep")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        out / LOCK_FILE, f"another process is at work on the sweep {out}: wait for it, or choose another --out"
    ):
        if (out / SWEEP_FILE).is_file():
            _require_same(out, plan)
        try:
            yield
        finally:
            if not any(out.glob("trial-*")) and not ((out / SWEEP_FILE).is_file() and _read(out).trials):
                _remove(out)


def _is_ours(file: Path) -> bool:
    """Whether a file is one that a sweep writes before its first trial, or that a kill left half written."""
    return file.name.startswith(_OURS) or (file.name.startswith(".") and ".partial-" in file.name)


def _remove(out: Path) -> None:
    with suppress(OSError):
        for file in [*out.iterdir()]:
            if _is_ours(file):
                file.unlink(missing_ok=True)
        out.rmdir()


def _read(out: Path) -> Sweep:
    """`sweep.json` of a sweep. Raises InputError where it is damaged."""
    try:
        return Sweep.model_validate(json.loads((out / SWEEP_FILE).read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise InputError(
            f"{out / SWEEP_FILE} is damaged ({str(error).splitlines()[0]}): choose another --out, or remove the sweep"
        ) from None


def _require_same(out: Path, plan: Sweep) -> None:
    was = _read(out)
    differing = differences(was.config, plan.config)
    asked = [("--search " + key, was.search.get(key), plan.search.get(key)) for key in was.search | plan.search]
    for name, old, new in (*asked, ("--prune", was.prune, plan.prune)):
        if old != new:
            differing.append(f"\n  - {name}: was {old}, is now {new}")
    if was.fingerprint != plan.fingerprint:
        differing.append(f"\n  - the dataset: was {was.fingerprint[:12]}, is now {plan.fingerprint[:12]}")
    if differing:
        raise InputError(
            f"the sweep {out} was begun with something else, and its trials could not be compared:{''.join(differing)}"
            "\ngive it the old values, or choose another --out"
        )


def _write(out: Path, plan: Sweep, space: Space, study: Study) -> Sweep:
    """Writes what the study knows, and leaves of the trials that are over what is worth its room."""
    found = plan.model_copy(update={"trials": tuple(study.trials()), "importance": study.importance()})
    write_text(out / SWEEP_FILE, found.model_dump_json(indent=2) + "\n")
    rows = (
        [trial.number, trial.state, trial.macro_f1, trial.epochs, *map(trial.values.get, plan.search), trial.fault]
        for trial in found.trials
    )
    write_table(out / TABLE_FILE, ("trial", "state", "macro_f1", "epochs", *plan.search, "fault"), rows)
    if found.best is not None:
        write_text(out / BEST_CONFIG_FILE, _best_config(out, found, space, found.best))
    for trial in found.trials:
        if trial.state != "unfinished":
            _remove_checkpoints(run_of(out, trial))
    return found


def _best_config(out: Path, found: Sweep, space: Space, best: Trial) -> str:
    command = shlex.join(("pelagia", "train", str(out / BEST_CONFIG_FILE), "--out", f"{out}-best"))
    figure = f"trial {best.number} of {len(found.trials)}, validation macro-F1 {best.macro_f1:.4f}"
    head = f"# {command}\n# {figure}: chosen by the val split, so this flatters\n"
    return head + dump_yaml(_settings(found, space, best))


def _remove_checkpoints(run: Path) -> None:
    """Removes what a run that is over will not go on from."""
    for name in (LAST_FILE, CHECKPOINT_FILE):
        (run / name).unlink(missing_ok=True)
    Soup(run, 2).discard()
