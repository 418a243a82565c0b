"""The trained networks that a frontier compares: its own runs, and runs that were trained elsewhere.

Invariant: all of them learned the same classes from the same training images, so that one validation split and one test
split measure all of them, and none has seen these images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import InputError, TrainingError, first_few
from pelagia.system.files import sha256_of_file
from pelagia_training.config import MOST_ORIENTATIONS, TrainConfig
from pelagia_training.data.batches import targets_of
from pelagia_training.data.splits import Splits
from pelagia_training.ensemble.members import MemberRun
from pelagia_training.frontier.folder import RUNS_FOLDER
from pelagia_training.frontier.plan import Plan
from pelagia_training.runs.folder import BEST_FILE, STATE_FILE, RunState, read_run
from pelagia_training.runs.load import load_trained


@dataclass(frozen=True)
class Candidate:
    """A trained network.

    Attributes:
        name: its name in the tables.
        member: its run, as for an ensemble.
        weights: the SHA-256 of its best weights.
        included: whether it was trained elsewhere.
    """

    name: str
    member: MemberRun
    weights: str
    included: bool = False

    @property
    def size(self) -> int:
        """The side of its images in pixels."""
        return self.member.config.preprocess.size

    @property
    def backbone(self) -> str:
        return self.member.config.model.backbone

    def views(self, wanted: Sequence[int]) -> list[int]:
        """Those numbers of orientations that its training allows."""
        return [views for views in wanted if views <= MOST_ORIENTATIONS[self.member.config.augment.flips]]


@dataclass(frozen=True)
class HeldOut:
    """The images of one split that measure the networks: labels int64, N, and the group of each image."""

    name: str
    records: Sequence[Record]
    targets: NDArray[np.int64]
    groups: Sequence[str]


def held_out_of(splits: Splits) -> list[HeldOut]:
    """The validation split and, if the dataset has one, the test split; of the classes that are trained on."""
    test = [one for one in splits.dataset.records if one.split == "test" and one.class_name in splits.classes]
    return [
        HeldOut(name, records, targets_of(records, splits.classes), [record.group for record in records])
        for name, records in (("val", splits.val), ("test", test))
        if records
    ]


def trained_candidates(out: Path, plan: Plan) -> list[Candidate]:
    """The runs of the frontier itself that were trained. Raises TrainingError if all of them failed."""
    found = []
    for run in plan.runs:
        if run.name not in plan.failed:
            folder = out / RUNS_FOLDER / run.name
            config, state = read_run(folder)
            found.append(Candidate(run.name, MemberRun(folder, config, state), sha256_of_file(folder / BEST_FILE)))
    if not found:
        name, fault = next(iter(plan.failed.items()))
        raise TrainingError(f"none of the {len(plan.runs)} runs could be trained; {name}: {fault}")
    return found


def included_candidates(
    runs: Sequence[Path], config: TrainConfig, splits: Splits, taken: Sequence[str], out: Path
) -> list[Candidate]:
    """The runs of ``--include``, checked.

    Args:
        config: that of the frontier.
        splits: the classes and the images of the frontier.
        taken: names that other runs have.
        out: the folder of the frontier.

    Raises:
        InputError: a run is not finished, is damaged, is named twice, belongs to this frontier, or was trained on other
            images or other classes.
    """
    found: list[Candidate] = []
    for run in runs:
        try:
            if (out / RUNS_FOLDER).resolve() in run.resolve().parents:
                raise InputError("it is a run of this frontier already: leave it out")
            found.append(_included(run, config, splits, taken, found))
        except InputError as error:
            raise InputError(f"--include {run}: {error}") from None
    return found


def _included(
    run: Path, config: TrainConfig, splits: Splits, taken: Sequence[str], others: Sequence[Candidate]
) -> Candidate:
    if not any(run.glob(STATE_FILE)) and not any(run.glob(f"*/{STATE_FILE}")):
        raise InputError("this is no training run: name a folder that `pelagia train` wrote")
    theirs, state = read_run(run)
    if reason := _misfit(theirs, state, config, splits):
        raise InputError(reason)
    weights = sha256_of_file(run / BEST_FILE)
    if same := [str(other.member.folder) for other in others if other.weights == weights]:
        raise InputError(f"it has the same weights as {same[0]}: name each network once")
    load_trained(run, theirs, state)  # damaged weights are named before anything is trained
    name = _free_name(run, [*taken, *(other.name for other in others)])
    return Candidate(name, MemberRun(run, theirs, state), weights, included=True)


def _misfit(theirs: TrainConfig, state: RunState, config: TrainConfig, splits: Splits) -> str:
    """Why a run cannot be compared with those of the frontier, and what to do; empty if it can."""
    dataset: Dataset = splits.dataset
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


def _free_name(run: Path, taken: Sequence[str]) -> str:
    folder = run.resolve()
    names = (folder.name, f"{folder.parent.name}-{folder.name}", str(folder))
    return next(name for name in names if name not in taken)
