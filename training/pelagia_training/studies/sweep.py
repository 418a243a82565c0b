"""`pelagia sweep`: trains many short runs with different values of some config keys, and writes the best config.

    trial-1/ ... trial-N/  runs; the checkpoints of a finished run are removed, only best.safetensors is kept
    study.sqlite           the trials and their scores, from which an interrupted sweep resumes
    sweep.json, sweep.csv  the search space, and each trial's values, macro-F1 on the val split, epochs and state
    best.yaml              the config of the best trial, for `pelagia train`

Invariant: a trial is stored as finished only after its run has finished. So if the process is killed, no trial is lost
or repeated: the same command resumes the trial's run from its checkpoint. Trials are compared only on the val split;
the test split is never used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pelagia.config import Strict, altered, dump_yaml
from pelagia.errors import ConfigError, DiskFullError, InputError, TrainingError
from pelagia.shell import command_line
from pelagia.system.files import refuse_existing, write_text
from pelagia.system.locking import exclusive_lock
from pelagia.system.tables import write_table
from pelagia_training.config import TrainConfig
from pelagia_training.data.splits import read_splits
from pelagia_training.devices import make_fabric
from pelagia_training.fit.context import Report, Step
from pelagia_training.runs.check import is_finished
from pelagia_training.runs.folder import CHECKPOINT_FILE, LAST_FILE, LOCK_FILE, METRICS_FILE, differences, read_state
from pelagia_training.runs.loggers import require_loggers
from pelagia_training.runs.logs import read_curves
from pelagia_training.runs.soup import Soup
from pelagia_training.runs.study import is_among, read_document, remove_unused
from pelagia_training.studies.folds import require_one_process
from pelagia_training.studies.space import Space
from pelagia_training.studies.trials import Trial, TrialStore, open_trial_store
from pelagia_training.train import train

SWEEP_FILE, TABLE_FILE, BEST_CONFIG_FILE, STUDY_FILE = "sweep.json", "sweep.csv", "best.yaml", "study.sqlite"
_OURS = (SWEEP_FILE, TABLE_FILE, BEST_CONFIG_FILE, STUDY_FILE, LOCK_FILE)


class Sweep(Strict):
    """The content of `sweep.json`: the search space and all trials."""

    schema_version: Literal[1] = 1
    fingerprint: str
    prune: bool
    search: dict[str, str]
    config: TrainConfig
    trials: tuple[Trial, ...] = ()
    importance: dict[str, float] = {}

    @property
    def best(self) -> Trial | None:
        """The complete trial with the highest macro-F1 (the first of several); None if no trial is complete."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return max(complete, key=lambda trial: trial.macro_f1 or 0.0, default=None)


class Pruned(Exception):  # noqa: N818 - pruning a trial is not an error
    """Raised to stop a run because the other trials were better at the same epoch."""


def run_of(out: Path, trial: Trial) -> Path:
    """The run folder of a trial."""
    return out / f"trial-{trial.number}"


def values_of(trial: Trial) -> dict[str, str]:
    """A trial's values as short text for people."""
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
    """Trains until ``trials`` trials are finished, including those of earlier starts, and writes the folder ``out``.

    A run that diverges, or whose values cannot be combined, is a failed trial.

    Args:
        config: the config of every trial, except for the searched keys.
        space: the values to search.
        out: folder of the sweep, new or interrupted.
        trials: total number of trials.
        prune: whether to stop a run whose macro-F1 is below the median of the complete trials.
        report: called with progress and with lines of text for people.

    Raises:
        ConfigError, InputError, DatasetError: as `train`; also if ``out`` is another sweep, or is in use.
        DiskFullError: the disk is full.
    """
    plan = _plan(config, space, prune=prune)
    with _open_folder(out, plan), open_trial_store(out / STUDY_FILE, space) as store:
        current = _write(out, plan, space, store)
        while len(current.trials) < trials or current.trials[-1].state == "unfinished":
            trial = store.next(config.seed)
            if trial is None:
                report(f"all {len(current.trials)} combinations were tried")
                break
            report(f"trial {trial.number} of {trials}: " + ", ".join(map("=".join, values_of(trial).items())))
            _run_trial(_RunningTrial(plan, space, out, trial, store, report), no_success_yet=current.best is None)
            current = _write(out, plan, space, store)
            report(_summary_of_last(current))
        return current


def _plan(config: TrainConfig, space: Space, *, prune: bool) -> Sweep:
    """The sweep before its first trial. Raises an error if the config has a fault that every trial would have."""
    require_one_process(config)
    require_loggers(config.loggers)
    make_fabric(config.device, config.precision, config.devices, config.nodes)
    splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
    search = {key: str(space[key]) for key in sorted(space)}
    return Sweep(fingerprint=splits.dataset.meta.fingerprint, prune=prune, search=search, config=config)


# ---- one trial


@dataclass(frozen=True)
class _RunningTrial:
    """The trial that is being trained, and its sweep."""

    plan: Sweep
    space: Space
    out: Path
    trial: Trial
    store: TrialStore
    report: Report


def _run_trial(running: _RunningTrial, *, no_success_yet: bool) -> None:
    """Trains a trial and stores its result.

    Raises:
        ConfigError: the trial's config is wrong and no trial is complete yet, so probably every config is wrong.
        DiskFullError: the disk is full.
    """
    number, store = running.trial.number, running.store
    try:
        settings = _settings(running.plan, running.space, running.trial)
    except ConfigError as error:
        store.end(number, "failed", fault=str(error))
        return
    try:
        store.end(number, "complete", _score(running, settings))
    except Pruned:
        store.end(number, "pruned")
    except DiskFullError:
        raise
    except (TrainingError, ConfigError) as error:
        if no_success_yet and isinstance(error, ConfigError):
            raise
        store.end(number, "failed", fault=str(error))


def _settings(plan: Sweep, space: Space, trial: Trial) -> TrainConfig:
    """A trial's config. Raises ConfigError if its values cannot be combined."""
    changes = {key: space[key].value(drawn) for key, drawn in trial.values.items()}
    return altered(plan.config, changes, "values that cannot be combined")


def _score(running: _RunningTrial, settings: TrainConfig) -> float:
    """The macro-F1 of the best weights on the val split. A finished run is not trained again. May raise Pruned."""
    run, number, store = run_of(running.out, running.trial), running.trial.number, running.store
    epochs = 1 if settings.train.head_only else settings.train.epochs

    def record_and_prune() -> None:
        scores = read_curves(run).get("val_macro_f1", [])
        store.record_epochs(number, scores)
        if running.plan.prune and 0 < len(scores) < epochs and store.is_behind(number, epochs // 3):
            raise Pruned(f"the other trials were better at epoch {len(scores)}")

    def watch(event: str | Step) -> None:
        running.report(event)
        if isinstance(event, Step) and event.validation is not None:
            record_and_prune()

    if (run / METRICS_FILE).is_file():  # an earlier start may have been killed before it stored its last epochs
        record_and_prune()
    if not is_finished(run, settings):
        train(settings, run, watch)
    return read_state(run).metrics["macro_f1"]


def _summary_of_last(current: Sweep) -> str:
    """One line of text about the last trial and about the best trial."""
    trial, best = current.trials[-1], current.best
    score = "" if trial.macro_f1 is None else f", macro-F1 {trial.macro_f1:.4f}"
    leader = f"; best so far {best.macro_f1:.4f} (trial {best.number})" if best else ""
    return f"trial {trial.number} {trial.state}{f': {trial.fault}' if trial.fault else score}{leader}"


# ---- the folder


@contextmanager
def _open_folder(out: Path, plan: Sweep) -> Iterator[None]:
    """Locks the folder of a new or interrupted sweep; at the end, removes the folder if no trial was started.

    Raises:
        InputError: ``out`` is not a sweep, was made with other values, or is in use.
    """
    if not (out / SWEEP_FILE).is_file() and not (out.is_dir() and all(is_among(file, _OURS) for file in out.iterdir())):
        refuse_existing(out, "sweep")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(
        out / LOCK_FILE, f"another process is using the sweep {out}: wait for it, or choose another --out"
    ):
        if (out / SWEEP_FILE).is_file():
            _require_same(out, plan)
        try:
            yield
        finally:
            if not any(out.glob("trial-*")) and not ((out / SWEEP_FILE).is_file() and _read(out).trials):
                remove_unused(out, _OURS)


def _read(out: Path) -> Sweep:
    return read_document(out / SWEEP_FILE, Sweep, "sweep")


def _require_same(out: Path, plan: Sweep) -> None:
    """Raises InputError if the sweep in ``out`` was made with another config, search space or dataset."""
    earlier = _read(out)
    differing = differences(earlier.config, plan.config)
    keys = earlier.search | plan.search
    pairs = [("--search " + key, earlier.search.get(key), plan.search.get(key)) for key in keys]
    for name, old, new in (*pairs, ("--prune", earlier.prune, plan.prune)):
        if old != new:
            differing.append(f"\n  - {name}: was {old}, is now {new}")
    if earlier.fingerprint != plan.fingerprint:
        differing.append(f"\n  - the dataset: was {earlier.fingerprint[:12]}, is now {plan.fingerprint[:12]}")
    if differing:
        raise InputError(
            f"the sweep {out} was started with other values, so its trials could not be compared:{''.join(differing)}"
            "\nset the old values again, or choose another --out"
        )


def _write(out: Path, plan: Sweep, space: Space, store: TrialStore) -> Sweep:
    """Writes the files of the sweep and removes the checkpoints of finished trials."""
    current = plan.model_copy(update={"trials": tuple(store.trials()), "importance": store.importance()})
    write_text(out / SWEEP_FILE, current.model_dump_json(indent=2) + "\n")
    rows = (
        [trial.number, trial.state, trial.macro_f1, trial.epochs, *map(trial.values.get, plan.search), trial.fault]
        for trial in current.trials
    )
    write_table(out / TABLE_FILE, ("trial", "state", "macro_f1", "epochs", *plan.search, "fault"), rows)
    if current.best is not None:
        write_text(out / BEST_CONFIG_FILE, _best_config(out, current, space, current.best))
    for trial in current.trials:
        if trial.state != "unfinished":
            _remove_checkpoints(run_of(out, trial))
    return current


def _best_config(out: Path, current: Sweep, space: Space, best: Trial) -> str:
    """The text of best.yaml; its first line is the command that trains this config."""
    command = command_line("pelagia", "train", out / BEST_CONFIG_FILE, "--out", f"{out}-best")
    score = f"trial {best.number} of {len(current.trials)}, validation macro-F1 {best.macro_f1:.4f}"
    head = f"# {command}\n# {score}: this config was chosen by this value, so the value is optimistic\n"
    return head + dump_yaml(_settings(current, space, best))


def _remove_checkpoints(run: Path) -> None:
    """Removes the checkpoints of a finished run, because it will not be resumed."""
    for name in (LAST_FILE, CHECKPOINT_FILE):
        (run / name).unlink(missing_ok=True)
    Soup(run, 2).discard()
