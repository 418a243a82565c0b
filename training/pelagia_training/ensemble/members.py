"""The runs of an ensemble: they are read, and refused if one model cannot be made of them.

Invariant: all members learned the same classes from the same training images of one dataset, and see an image fitted in
the same way. So one split holds the images that no member has learned, and one input serves all. Their networks,
orientations, recipes, seeds, and normalizations may differ.

The five runs of a cross-validation are refused. Each of them has learned images that another one holds out, so no image
is left that measures their mean or from which its thresholds could be chosen. The out-of-fold predictions are those of
single networks; a mean of five is surer, so thresholds from single networks would not fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError, first_few
from pelagia_training.config import TrainConfig
from pelagia_training.export.export import require_exportable, with_options
from pelagia_training.runs.folder import RunState, read_run
from pelagia_training.runs.load import dataset_of


@dataclass(frozen=True)
class MemberRun:
    """A run of the ensemble: its folder, its config with the orientations of the export, and its state."""

    folder: Path
    config: TrainConfig
    state: RunState


def read_members(
    runs: Sequence[Path], dataset: Path | None, orientations: int | None, report: Callable[[str], None]
) -> tuple[list[MemberRun], Dataset]:
    """The runs of an ensemble, and their dataset with their split.

    Args:
        runs: two or more run folders.
        dataset: the folder of their dataset, if it was moved.
        orientations: a value that replaces `model.orientations` of every config.
        report: called with a line of text for people.

    Raises:
        InputError: a folder is not a run, is named twice, or does not fit the first one.
        ConfigError: a network was not trained on this number of orientations.
        DatasetError: the dataset is missing, or is another one.
    """
    for place, run in enumerate(runs):
        if run.resolve() in [other.resolve() for other in runs[:place]]:
            raise InputError(f"the run {run} is named twice: name each run once")
    members = []
    for run in runs:
        config, state = read_run(run)
        members.append(MemberRun(run, with_options(config, orientations, None), state))
        require_exportable(run, config, state, report)
    for other in members[1:]:
        if reason := misfit(members[0], other):
            raise InputError(f"{members[0].folder} and {other.folder} cannot be one model: {reason}")
    first = members[0]
    return members, dataset_of(dataset or first.state.dataset, first.config, first.state)


def misfit(first: MemberRun, other: MemberRun) -> str:
    """Why two runs do not fit together, and what to do; empty if they do."""
    a, b = first.state, other.state
    if a.fingerprint != b.fingerprint:
        return (
            f"they were trained on different datasets, '{a.dataset_name}' (fingerprint {a.fingerprint[:12]}) and "
            f"'{b.dataset_name}' ({b.fingerprint[:12]}), so the images that one run holds out may be training images "
            "of the other: name runs of one dataset"
        )
    if a.taxonomy.names != b.taxonomy.names:
        differ = sorted(set(a.taxonomy.names) ^ set(b.taxonomy.names))
        return (
            f"they know different classes ({len(a.taxonomy.names)} and {len(b.taxonomy.names)}; only one of them "
            f"knows {first_few(differ)}): name runs with the same data.exclude"
        )
    return _other_images(first, other) or _other_split(first, other)


def _other_images(first: MemberRun, other: MemberRun) -> str:
    """Which keys of the preprocessing differ; empty if none."""
    ours, theirs = asdict(first.config.preprocess), asdict(other.config.preprocess)
    differ = [f"preprocess.{key} is {ours[key]} and {theirs[key]}" for key in ours if ours[key] != theirs[key]]
    if not differ:
        return ""
    return (
        f"they see an image in different ways ({', '.join(differ)}), but a model has one input: name runs with the "
        "same preprocess keys"
    )


def _other_split(first: MemberRun, other: MemberRun) -> str:
    """Why no images are left that neither run has learned; empty if both have the same split."""
    ours, theirs = first.config.data.resplit, other.config.data.resplit
    if ours == theirs:
        return ""
    everything = [run.folder for run in (first, other) if run.state.final]
    if everything:
        return (
            f"{everything[0]} was trained on all images and the other run was not: name only runs of `pelagia train "
            "--final`, or only runs that hold out the same val split"
        )
    folds = ours is not None and theirs is not None and ours.folds is not None and theirs.folds is not None
    what = "they are different folds of a cross-validation" if folds else "they have different splits"
    return (
        f"{what}, so each has learned images that the other one holds out, and too few images are left to measure "
        "their mean and to choose its thresholds: name runs of one split, such as runs with other seeds (--set "
        "seed=1) or networks; or train each recipe on all images with `pelagia train --final`, and name these runs"
    )
