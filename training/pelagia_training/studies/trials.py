"""Stores the trials of a sweep in a SQLite file, and draws the values of the next trial.

Only this module uses Optuna. Invariant: a trial is stored with all its values in one transaction, so there are no
incomplete trials. The values of a trial depend only on (seed, number of the trial, finished trials), so an interrupted
sweep draws the same values as an uninterrupted sweep. The caller must make sure that only one process uses the file.
"""

from __future__ import annotations

import math
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import StorageInternalError
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pelagia.config import Strict
from pelagia.errors import DiskFullError, InputError, first_line
from pelagia_training.studies.space import Choice, Space, Span

State = Literal["complete", "pruned", "failed", "unfinished"]

_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "unfinished",
}
_LEAST_FOR_PRUNING = 5
"""Number of complete trials that are needed before a trial is compared with their median."""
_LEAST_FOR_IMPORTANCE, _TOP_SHARE = 20, 0.25
"""Number of complete trials that are needed before the importance of the keys is computed, and the share of trials that
count as the best.

In a manual test with three keys, only one of which had an effect, PED-ANOVA found this key in 20 of 20 studies with
these values. With 10 trials and Optuna's default of 0.1, it found the key in 6 of 20 studies, as often as by chance.
"""
_FAULT = "fault"
_PRIMARY_CODE = 0xFF  # the bits of an extended SQLite error code that hold the primary code


class Trial(Strict):
    """One draw from the search space, and its result.

    Attributes:
        number: the trial's number, from 1.
        state: whether the trial is complete, pruned, failed or unfinished.
        values: dotted key -> the drawn value: a number, or a choice as the user wrote it.
        macro_f1: macro-F1 of the best weights on the val split; for a pruned trial, that of its best epoch.
        epochs: number of epochs with a stored score.
        fault: the error message of a failed trial.
    """

    number: int
    state: State
    values: dict[str, Any]
    macro_f1: float | None = None
    epochs: int = 0
    fault: str = ""


class TrialStore:
    """Optuna's study in a SQLite file. Trials are numbered from 1."""

    def __init__(self, study: optuna.Study, space: Space) -> None:
        self._study = study
        self._space = {key: _distribution(space[key]) for key in sorted(space)}
        self._combinations = math.prod(_count(values) for values in space.values())

    def trials(self) -> list[Trial]:
        return [_trial_of(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def next(self, seed: int) -> Trial | None:
        """The interrupted trial; if there is none, a new trial; None if every combination was tried."""
        known = self._study.get_trials()
        unfinished = [frozen for frozen in known if not frozen.state.is_finished()]
        if unfinished:
            return _trial_of(unfinished[0])
        tried = [frozen.params for frozen in known]
        if len(tried) >= self._combinations:
            return None
        for attempt in count():
            values = self._draw(known, (seed, len(known), attempt))
            if values not in tried:
                break
        new = optuna.trial.create_trial(state=TrialState.RUNNING, params=values, distributions=self._space)
        self._study.add_trial(new)
        return self.trials()[-1]

    def _draw(self, known: Sequence[FrozenTrial], key: tuple[int, ...]) -> dict[str, Any]:
        """The values that Optuna's TPE proposes; random values if the attempt is above 0.

        Args:
            known: all trials so far.
            key: (seed, number of trials, attempt); the attempt is above 0 if the earlier proposals were already tried.
        """
        number = int(np.random.SeedSequence(key).generate_state(1)[0])
        sampler: BaseSampler = RandomSampler(number) if key[-1] else TPESampler(seed=number)
        scratch = optuna.create_study(direction="maximize", sampler=sampler)
        scratch.add_trials([frozen for frozen in known if frozen.state.is_finished()])
        return scratch.ask(self._space).params

    def record_epochs(self, number: int, scores: Sequence[float]) -> None:
        """Stores the validation macro-F1 of a trial's first epochs; epochs that are already stored are skipped."""
        trial = self._handle(number)
        stored = self._frozen(number).intermediate_values
        for epoch, score in enumerate(scores, 1):
            if epoch not in stored:
                trial.report(score, epoch)

    def is_behind(self, number: int, spared: int) -> bool:
        """Whether a trial's best score so far is below the median of the complete trials at the same epoch.

        Args:
            number: the trial's number.
            spared: number of first epochs in which the result is always False.
        """
        return MedianPruner(_LEAST_FOR_PRUNING, n_warmup_steps=spared + 1).prune(self._study, self._frozen(number))

    def end(self, number: int, state: State, macro_f1: float | None = None, fault: str = "") -> None:
        """Stores that a trial is finished, and its result."""
        trial = self._handle(number)
        if fault:
            trial.set_user_attr(_FAULT, fault)
        states = {name: optuna_state for optuna_state, name in _STATES.items()}
        self._study.tell(trial, macro_f1, state=states[state])

    def importance(self) -> dict[str, float]:
        """How much each key decides whether a trial is among the best, computed by PED-ANOVA; the sum is 1.

        The result is empty if there are too few complete trials or only one key, or if all keys are equally important.
        """
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < _LEAST_FOR_IMPORTANCE or len(self._space) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns if all trials have the same score
            evaluator = PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)
            importances = get_param_importances(self._study, evaluator=evaluator)
        return importances if len(set(importances.values())) > 1 else {}

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number - 1]

    def _handle(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen(number)._trial_id)


@contextmanager
def open_trial_store(file: Path, space: Space) -> Iterator[TrialStore]:
    """Opens the trials in ``file``; makes the file if it does not exist.

    Raises:
        InputError: the file is not a SQLite file of Optuna, is in use, or was made by another version of Optuna.
        DiskFullError: the disk of the file is full.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        # A function opens the file, because some characters of a path would have a special meaning in an address.
        options = {"creator": lambda: sqlite3.connect(file, timeout=60)}
        storage = _storage(file, options)
        try:
            study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)
            yield TrialStore(study, space)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        if _is_disk_full(error):
            raise DiskFullError(
                f"the disk of {file} is full: free some space, then run the same command again; the sweep resumes"
            ) from None
        cause = error.__cause__
        fault = first_line(cause if isinstance(cause, Exception) else error)
        raise InputError(
            f"{file} cannot be used ({fault}): close other programs that have it open; if it is damaged, remove it, "
            "and the same command makes it again from the runs"
        ) from None


def _is_disk_full(error: BaseException | None) -> bool:
    """Whether SQLite's error code, in the error or in one of its causes, says that the disk is full."""
    while error is not None:
        if isinstance(error, DBAPIError):
            code = getattr(error.orig, "sqlite_errorcode", None)
            return code is not None and code & _PRIMARY_CODE == sqlite3.SQLITE_FULL
        error = error.__cause__
    return False


def _storage(file: Path, options: dict[str, Any]) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage("sqlite:///sweep", engine_kwargs=options)
    except RuntimeError as error:  # Optuna raises it if the tables were made by another version
        raise InputError(
            f"{file} was made by another version of Optuna ({first_line(error)}): use that version, or choose another "
            "--out"
        ) from None


def _distribution(values: Span | Choice) -> BaseDistribution:
    if isinstance(values, Choice):
        return CategoricalDistribution(values.texts)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _count(values: Span | Choice) -> float:
    """The number of different values that can be drawn."""
    if isinstance(values, Choice):
        return len(values.texts)
    return values.high - values.low + 1 if isinstance(values.low, int) else math.inf


def _trial_of(frozen: FrozenTrial) -> Trial:
    scores = frozen.intermediate_values
    complete = frozen.state == TrialState.COMPLETE
    return Trial(
        number=frozen.number + 1,
        state=_STATES[frozen.state],
        values=dict(sorted(frozen.params.items())),
        macro_f1=frozen.value if complete else max(scores.values(), default=None),
        epochs=max(scores, default=0),
        fault=frozen.user_attrs.get(_FAULT, ""),
    )
