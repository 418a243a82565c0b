"""What each member says of the held-out images, and which mean of the members is better.

Invariant: everything is measured on images that no member was trained on: the val split that all members share or, of
runs on all images, what the folds of their cross-validations held out. There, the mean for an image is the mean of
those networks that held it out, so the cross-validations must have the same folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import InputError
from pelagia.model.ensemble import Ensemble, Mean, Member
from pelagia.model.metadata import Calibration
from pelagia.system.files import sha256_of_file
from pelagia_training.data.batches import targets_of
from pelagia_training.ensemble.members import MemberRun
from pelagia_training.export.export import known_of
from pelagia_training.export.final import FinalScores, fitted_final
from pelagia_training.export.held_out import HeldOut, held_out_predictions
from pelagia_training.export.reliability import (
    CalibratedNetwork,
    Predictions,
    fit_subspace,
    fitted,
    predictions_of,
    subspace_images,
)
from pelagia_training.figures.calibrate import calibrate, calibrated
from pelagia_training.figures.metrics import confusion_matrix, metrics_of
from pelagia_training.network.backbone import Deployed, Normalized
from pelagia_training.network.ensemble import DeployedEnsemble, pooled_arrays
from pelagia_training.network.outputs import Progress, no_progress, outputs
from pelagia_training.network.unknown import VirtualLogit
from pelagia_training.runs.folder import BEST_FILE
from pelagia_training.runs.load import load_trained

Report = Callable[[str], None]
MEANS: tuple[Mean, ...] = get_args(Mean)


@dataclass(frozen=True)
class Measured:
    """An ensemble, what was fitted, the images that it was fitted on, and the document of the model file."""

    calibrated: CalibratedNetwork
    held_out: Sequence[Record]
    document: Ensemble


def measure(
    members: Sequence[MemberRun], dataset: Dataset, report: Report, progress: Progress = no_progress
) -> Measured:
    """Fits the ensemble on the val split of its members, or on the out-of-fold predictions of runs on all images.

    Raises:
        InputError: weights are missing or damaged, or the cross-validations of the runs have different folds.
        DatasetError: an image cannot be read.
    """
    networks = [load_trained(one.folder, one.config, one.state) for one in members]
    if members[0].state.final:
        return _measure_final(members, networks, dataset, report, progress)
    return _measure(members, networks, dataset, report, progress)


def _measure(
    members: Sequence[MemberRun],
    networks: Sequence[Normalized],
    dataset: Dataset,
    report: Report,
    progress: Progress,
) -> Measured:
    config, state = members[0].config, members[0].state
    known = known_of(dataset, "train", state), known_of(dataset, "val", state)
    found = []
    for number, (member, network) in enumerate(zip(members, networks, strict=True), 1):
        report(f"network {number} of {len(members)}: {member.config.model.backbone} of {member.folder}")
        spec, scored = config.preprocess, config.decision.unknown
        found.append(predictions_of(network, dataset, known, spec, scored=scored, progress=progress))
    document = _document(members, [one.logits for one in found], known[1])
    together = Predictions(
        pooled_arrays([one.logits for one in found], document.mean),
        _mean_of([one.scores for one in found]),
        None,
        sum(one.dimensions for one in found),
        _first_reason(members, [one.no_scores for one in found]),
    )
    make = _maker(networks, [one.virtual for one in found], document.mean)
    report("fitting temperatures, thresholds and the out-of-distribution score of the ensemble")
    return Measured(fitted(together, dataset, known[1], state.taxonomy, config.decision, make), known[1], document)


def _measure_final(
    members: Sequence[MemberRun],
    networks: Sequence[Normalized],
    dataset: Dataset,
    report: Report,
    progress: Progress,
) -> Measured:
    """The same for runs on all images, from the out-of-fold predictions of their cross-validations."""
    config, state = members[0].config, members[0].state
    found = [_out_of_fold(member, dataset, report, progress) for member in members]
    _require_same_folds(members, found)
    document = _document(members, [one.logits for one in found], found[0].records)
    scores = _mean_of([one.scores for one in found])
    no_scores = _first_reason(members, [one.no_scores for one in found])
    trained: list[NDArray[np.float32]] = []
    virtual: list[VirtualLogit | None] = [None] * len(members)
    dimensions = 0
    if scores is not None:
        shown = subspace_images(known_of(dataset, "train", state))
        given = [outputs(network, dataset, shown, config.preprocess, progress) for network in networks]
        fits = [fit_subspace(network, *values) for network, values in zip(networks, given, strict=True)]
        trained = [of_trained for _, of_trained, _ in fits]
        virtual = [None if vim is None else VirtualLogit(vim) for vim, _, _ in fits]
        no_scores = _first_reason(members, [reason for _, _, reason in fits])
        dimensions = 0 if no_scores else sum(vim.dimensions for vim, _, _ in fits if vim is not None)
    by_fold = zip(*(one.trained for one in found), strict=True) if scores is not None else ()
    together = replace(
        found[0],
        logits=pooled_arrays([one.logits for one in found], document.mean),
        scores=scores,
        trained=tuple(np.mean(fold, axis=0, dtype=np.float32) for fold in by_fold),
        no_scores=no_scores,
    )
    final = FinalScores(np.mean(trained, axis=0) if dimensions else np.empty(0, np.float32), dimensions, no_scores)
    make = _maker(networks, virtual, document.mean)
    report("fitting temperatures, thresholds and the out-of-distribution score to the out-of-fold predictions")
    made = fitted_final(together, final, dataset, state.taxonomy, config, make, report)
    return Measured(made, found[0].records, document)


def _out_of_fold(member: MemberRun, dataset: Dataset, report: Report, progress: Progress) -> HeldOut:
    assert member.state.final is not None  # noqa: S101 - all members are runs on all images
    final = member.state.final
    return held_out_predictions(member.folder, final, dataset, member.config, None, report, progress)


def _require_same_folds(members: Sequence[MemberRun], found: Sequence[HeldOut]) -> None:
    """Raises InputError if a fold of one cross-validation held out other images than the same fold of another."""
    for member, other in zip(members[1:], found[1:], strict=True):
        same = found[0].records == other.records and np.array_equal(found[0].folds, other.folds)
        if not same:
            raise InputError(
                f"{members[0].folder} and {member.folder} cannot be one model: their cross-validations have different "
                "folds, so no two of their networks have held out the same images: cross-validate both recipes with "
                "the same --folds on the same dataset, and train both with `pelagia train --final`"
            )


def _document(
    members: Sequence[MemberRun], logits: Sequence[NDArray[np.float32]], held_out: Sequence[Record]
) -> Ensemble:
    """How good each member is alone, and the better of the means."""
    targets = targets_of(held_out, members[0].state.taxonomy.names)
    groups = [record.group for record in held_out]
    likelihood = {mean: calibrate(pooled_arrays(logits, mean), targets, groups)[0].likelihood for mean in MEANS}
    names = _names([member.folder for member in members])
    described = [
        _described(member, name, own, calibrate(own, targets, groups)[0], targets)
        for member, name, own in zip(members, names, logits, strict=True)
    ]
    best = min(MEANS, key=lambda mean: likelihood[mean])
    return Ensemble(mean=best, likelihood=likelihood, images=len(held_out), members=tuple(described))


def _described(
    member: MemberRun,
    name: str,
    logits: NDArray[np.float32],
    fit: Calibration,
    targets: NDArray[np.int64],
) -> Member:
    predicted = calibrated(logits, fit.temperatures).argmax(axis=1)
    alone = metrics_of(confusion_matrix(targets, predicted, logits.shape[1]))
    state, model = member.state, member.config.model
    return Member(
        run=name,
        backbone=model.backbone,
        orientations=model.orientations,
        epoch=state.best_epoch,
        weights_sha256=sha256_of_file(member.folder / BEST_FILE),
        normalisation={"mean": state.mean, "std": state.std},
        likelihood=fit.likelihood,
        macro_f1=alone.macro_f1,
        accuracy=alone.accuracy,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The name of each folder, with the folder above it if two have the same name."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    return [f"{folder.resolve().parent.name}/{name}" for folder, name in zip(folders, names, strict=True)]


def _mean_of(scores: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """The mean of the members' scores: float32, N; None if a member has none."""
    given = [one for one in scores if one is not None]
    return np.mean(given, axis=0, dtype=np.float32) if len(given) == len(scores) else None


def _first_reason(members: Sequence[MemberRun], reasons: Sequence[str]) -> str:
    """Why the ensemble has no score: the reason of the first member without one; empty if all have one."""
    return next((f"of {member.folder}, {why}" for member, why in zip(members, reasons, strict=True) if why), "")


def _maker(
    networks: Sequence[Normalized], virtual: Sequence[VirtualLogit | None], mean: Mean
) -> Callable[[Sequence[float]], DeployedEnsemble]:
    """A function that makes the graph from the temperatures. If a member has no score, none has."""
    scored = all(one is not None for one in virtual)

    def make(temperatures: Sequence[float]) -> DeployedEnsemble:
        parts = [Deployed(net, 1.0, one if scored else None) for net, one in zip(networks, virtual, strict=True)]
        return DeployedEnsemble(parts, temperatures, mean)

    return make
