"""The runs of ``--include``, which were trained elsewhere: read and checked without torch, which takes seconds.

Invariant: each learned the same classes from the same training images as the runs of the frontier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError, first_few
from pelagia.system.files import sha256_of_file
from pelagia_training.config import TrainConfig
from pelagia_training.data.splits import Splits
from pelagia_training.frontier.folder import RUNS_FOLDER
from pelagia_training.runs.folder import BEST_FILE, STATE_FILE, RunState, read_run


@dataclass(frozen=True)
class Included:
    """A run that can be compared with those of a frontier.

    Attributes:
        weights: the SHA-256 of its best weights.
    """

    folder: Path
    config: TrainConfig
    state: RunState
    weights: str


def read_included(runs: Sequence[Path], config: TrainConfig, splits: Splits, out: Path) -> list[Included]:
    """Reads and checks the runs of ``--include``.

    Args:
        config: that of the frontier.
        splits: the classes and the images of the frontier.
        out: the folder of the frontier.

    Raises:
        InputError: a run is not finished, is damaged, is named twice, belongs to this frontier, or was trained on other
            images or other classes.
    """
    found: list[Included] = []
    for run in runs:
        try:
            found.append(_included(run, config, splits, out, found))
        except InputError as error:
            raise InputError(f"--include {run}: {error}") from None
    return found


def _included(run: Path, config: TrainConfig, splits: Splits, out: Path, others: Sequence[Included]) -> Included:
    if (out / RUNS_FOLDER).resolve() in run.resolve().parents:
        raise InputError("it is a run of this frontier already: leave it out")
    if not any(run.glob(STATE_FILE)) and not any(run.glob(f"*/{STATE_FILE}")):
        raise InputError("this is no training run: name a folder that `pelagia train` wrote")
    theirs, state = read_run(run)
    if reason := _misfit(theirs, state, config, splits):
        raise InputError(reason)
    weights = sha256_of_file(run / BEST_FILE)
    if same := [str(other.folder) for other in others if other.weights == weights]:
        raise InputError(f"it has the same weights as {same[0]}: name each network once")
    return Included(run, theirs, state, weights)


def _misfit(theirs: TrainConfig, state: RunState, config: TrainConfig, splits: Splits) -> str:
    """Why a run cannot be compared with those of the frontier, and what to do; empty if it can."""
    dataset = splits.dataset
    if state.final:
        return f"it cannot be compared, because it was {state.final.not_measured}: name a run of `pelagia train CONFIG`"
    if state.status != "finished":
        return f"it was interrupted after epoch {state.epoch}: run its `pelagia train` command again to finish it"
    if state.fingerprint != dataset.meta.fingerprint:
        return (
            f"it was trained on another dataset, '{state.dataset_name}' (fingerprint {state.fingerprint[:12]}), and "
            f"the frontier uses '{dataset.meta.name}' ({dataset.meta.fingerprint[:12]}), so it may have learned the "
            "held-out images: name a run of this dataset"
        )
    if state.taxonomy.names != splits.classes:
        differ = first_few(sorted(set(state.taxonomy.names) ^ set(splits.classes)))
        return f"it knows other classes (the difference: {differ}): name a run with the same data.exclude"
    if theirs.data.resplit != config.data.resplit:
        return (
            "it was trained on another split (data.resplit), so it has learned held-out images: name a run with the "
            "same split"
        )
    return ""
