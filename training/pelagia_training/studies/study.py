"""The trials of a sweep, and which values the next one gets. The only module that knows Optuna.

Invariant: a trial is put into the study with all its values at once, so none is half there, and what a sweep draws
follows from (seed, number of the trial, the trials that are over): a sweep that was broken off draws what it would have
drawn. One process at a time has the study; its caller sees to that.
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
from sqlalchemy.exc import SQLAlchemyError

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
_COMPARED = 5
"""So many trials must be complete before one is held against their median..."""
_RANKED, _TOP = 20, 0.25
"""...and so many before anything is said of which key brings one among the top quarter.

Of three keys of which one decides, PED-ANOVA named that one in 20 of 20 studies with these (by hand); with ten trials
and Optuna's own 0.1, in 6 of 20: as often as chance would.
"""
_FAULT = "fault"


class Trial(Strict):
    """One draw from the space, and what became of it.

    ``values`` holds numbers, and choices as they were written. ``macro_f1`` is that of the best weights on the val
    split; of a pruned trial, the best that it had come to.
    """

    number: int
    state: State
    values: dict[str, Any]
    macro_f1: float | None = None
    epochs: int = 0
    fault: str = ""


class Study:
    """Optuna's study in a SQLite file. Trials are numbered from 1."""

    def __init__(self, study: optuna.Study, space: Space) -> None:
        self._study = study
        self._space = {key: _distribution(space[key]) for key in sorted(space)}
        self._combinations = math.prod(_count(values) for values in space.values())

    def trials(self) -> list[Trial]:
        return [_trial_of(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def next(self, seed: int) -> Trial | None:
        """The trial that was broken off, or a new one; None where every combination was tried."""
        known = self._study.get_trials()
        unfinished = [one for one in known if not one.state.is_finished()]
        if unfinished:
            return _trial_of(unfinished[0])
        tried = [one.params for one in known]
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
        """What Optuna's TPE would try next; where that was tried before, ``key`` ends above 0, and chance decides."""
        number = int(np.random.SeedSequence(key).generate_state(1)[0])
        sampler: BaseSampler = RandomSampler(number) if key[-1] else TPESampler(seed=number)
        scratch = optuna.create_study(direction="maximize", sampler=sampler)
        scratch.add_trials([one for one in known if one.state.is_finished()])
        return scratch.ask(self._space).params

    def tell_epochs(self, number: int, scores: Sequence[float]) -> None:
        """Lets the study know the validation macro-F1 of a trial's first epochs, as far as it does not yet."""
        trial = self._handle(number)
        told = self._frozen(number).intermediate_values
        for epoch, score in enumerate(scores, 1):
            if epoch not in told:
                trial.report(score, epoch)

    def is_behind(self, number: int, spared: int) -> bool:
        """Whether the best of a trial's epochs is below the median of the complete ones' at the same epoch.

        Nobody is in the first ``spared`` epochs.
        """
        return MedianPruner(_COMPARED, n_warmup_steps=spared + 1).prune(self._study, self._frozen(number))

    def end(self, number: int, state: State, macro_f1: float | None = None, fault: str = "") -> None:
        """Makes a trial count as over."""
        trial = self._handle(number)
        if fault:
            trial.set_user_attr(_FAULT, fault)
        ends = {name: ending for ending, name in _STATES.items()}
        self._study.tell(trial, macro_f1, state=ends[state])

    def importance(self) -> dict[str, float]:
        """How much of what tells the best trials from the others each key explains; empty where that is mere chance."""
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < _RANKED or len(self._space) < 2:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the trials are alike
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(target_quantile=_TOP))
        return found if len(set(found.values())) > 1 else {}

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number - 1]

    def _handle(self, number: int) -> optuna.Trial:
        return optuna.Trial(self._study, self._frozen(number)._trial_id)


@contextmanager
def open_study(file: Path, space: Space) -> Iterator[Study]:
    """The study in ``file``, a new one where there is none.

    Raises:
        InputError: the file is none, or of another version of Optuna.
        DiskFullError: its disk is full.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        # Through a creator, as a path may hold what means something else in an address.
        options = {"creator": lambda: sqlite3.connect(file, timeout=60)}
        storage = _storage(file, options)
        try:
            study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)
            yield Study(study, space)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__
        said = first_line(cause if isinstance(cause, Exception) else error)
        if "full" in said:
            raise DiskFullError(
                f"the disk of {file} is full: free some space and run the same command again, it goes on"
            ) from None
        raise InputError(
            f"{file} cannot be used ({said}): close other programs that have it open; where it is damaged, remove it, "
            "and the same command makes it anew of the runs"
        ) from None


def _storage(file: Path, options: dict[str, Any]) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage("sqlite:///sweep", engine_kwargs=options)
    except RuntimeError as error:  # its own words for tables of another version
        raise InputError(f"{file} was made by another version of Optuna: {first_line(error)}") from None


def _distribution(values: Span | Choice) -> BaseDistribution:
    if isinstance(values, Choice):
        return CategoricalDistribution(values.texts)
    if isinstance(values.low, int) and isinstance(values.high, int):
        return IntDistribution(values.low, values.high, log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _count(values: Span | Choice) -> float:
    """How many values there are to draw."""
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
