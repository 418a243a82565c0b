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

from pelagia.dataset.schema import Record
from pelagia.errors import InputError, TrainingError
from pelagia.system.files import sha256_of_file
from pelagia_training.config import MOST_ORIENTATIONS
from pelagia_training.data.batches import targets_of
from pelagia_training.data.splits import Splits
from pelagia_training.ensemble.members import MemberRun
from pelagia_training.frontier.folder import RUNS_FOLDER
from pelagia_training.frontier.included import Included
from pelagia_training.frontier.plan import Plan
from pelagia_training.runs.folder import BEST_FILE, read_run
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


def included_candidates(found: Sequence[Included], taken: Sequence[str]) -> list[Candidate]:
    """The runs of ``--include`` with names of their own.

    Args:
        taken: names that other runs have.

    Raises:
        InputError: the weights of a run are damaged.
    """
    candidates: list[Candidate] = []
    for one in found:
        try:
            load_trained(one.folder, one.config, one.state)  # damaged weights are named before anything is trained
        except InputError as error:
            raise InputError(f"--include {one.folder}: {error}") from None
        name = _free_name(one.folder, [*taken, *(other.name for other in candidates)])
        candidates.append(Candidate(name, MemberRun(one.folder, one.config, one.state), one.weights, included=True))
    return candidates


def _free_name(run: Path, taken: Sequence[str]) -> str:
    folder = run.resolve()
    names = (folder.name, f"{folder.parent.name}-{folder.name}", str(folder))
    return next(name for name in names if name not in taken)
