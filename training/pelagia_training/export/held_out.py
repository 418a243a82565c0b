"""What the networks of a cross-validation say of the images that they held out, as an exported model would say it.

The survey `out_of_fold` of the cross-validation holds probabilities with one orientation, which are not enough: the
out-of-distribution score needs features. So the networks of the folds run once more, with the orientations of the model
that is exported. The result is kept in the run folder:

    out_of_fold-N.npz    N: the number of orientations; logits, scores, folds, and what they belong to

Invariant: a kept file is used only if the folds' weights, the dataset and the number of orientations are the same.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import InputError
from pelagia.system.files import new_file
from pelagia_training.config import TrainConfig
from pelagia_training.data.resplit import resplit
from pelagia_training.export.reliability import fit_subspace, subspace_images
from pelagia_training.network.outputs import Progress, no_progress, outputs
from pelagia_training.network.threshold import FoldScores
from pelagia_training.network.unknown import vim_score
from pelagia_training.runs.final import Folds, read_folds
from pelagia_training.runs.folder import FinalFit
from pelagia_training.runs.load import load_trained
from pelagia_training.runs.out_of_fold import digest_of_folds

Report = Callable[[str], None]


@dataclass(frozen=True)
class HeldOut:
    """The predictions of all folds.

    Attributes:
        records: the N images, each held out by one fold.
        folds: int64, N: the number of that fold, counted from 1.
        logits: float32, N x classes, of the fold's network.
        scores: float32, N: out-of-distribution scores of the fold's network; None if a fold has no score.
        trained: for each fold, float32, the scores of images that its network was trained on; empty without scores.
        no_scores: why a fold has no score; empty if all have one, or if the config turns it off.
    """

    records: tuple[Record, ...]
    folds: NDArray[np.int64]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32] | None
    trained: tuple[NDArray[np.float32], ...]
    no_scores: str = ""

    def scores_by_fold(self) -> list[FoldScores]:
        """The scores of each fold's network; empty if there are none."""
        if self.scores is None:
            return []
        return [
            FoldScores(trained, self.scores[self.folds == number]) for number, trained in enumerate(self.trained, 1)
        ]


def held_out_predictions(
    run: Path,
    final: FinalFit,
    dataset: Dataset,
    config: TrainConfig,
    folder: Path | None,
    report: Report,
    progress: Progress = no_progress,
) -> HeldOut:
    """The predictions of the folds for the images that they held out: those kept in ``run``, or new ones.

    Args:
        run: the run folder, which keeps the predictions.
        final: what the run has from the cross-validation.
        dataset: the run's dataset.
        config: the run's config, with the orientations of the model to export.
        folder: the folder of the cross-validation, if it was moved.
        report: called with a line of text for people.
        progress: called with (images done, total images) for each network.

    Raises:
        InputError: the cross-validation is missing, or is another one.
    """
    kept = run / f"out_of_fold-{config.model.orientations}.npz"
    key = json.dumps([final.weights, final.last_weights, dataset.meta.fingerprint, config.decision.unknown])
    if (found := _read(kept, key, dataset)) is not None:
        return found
    folds = _folds_of(final, folder or final.cross_validation)
    numbers = range(1, final.folds + 1)
    parts = [_of_fold(folds, number, dataset, config, final, report, progress) for number in numbers]
    result = _joined(parts)
    with suppress(OSError):  # a folder without room or rights: the predictions are made again the next time
        _write(kept, key, result)
    return result


def _folds_of(final: FinalFit, folder: Path) -> Folds:
    if not folder.is_dir():
        raise InputError(
            f"the cross-validation of this run is no longer at {folder}, and its networks make the out-of-fold "
            "predictions: put it back, or name its new folder with --folds FOLDER"
        )
    folds = read_folds(folder)
    if digest_of_folds(folds.runs) != final.weights:
        raise InputError(
            f"{folder} is not the cross-validation of this run, or a fold was trained again since: name the right one "
            "with --folds FOLDER, or train the run again with `pelagia train --final`"
        )
    return folds


def _of_fold(
    folds: Folds,
    number: int,
    dataset: Dataset,
    config: TrainConfig,
    final: FinalFit,
    report: Report,
    progress: Progress,
) -> HeldOut:
    """The predictions of one fold's network."""
    fold_config, state = folds.configs[number - 1], folds.states[number - 1]
    split = resplit(dataset, fold_config.data.resplit)
    known = set(state.taxonomy.names)
    test, train = ([one for one in split.split(name) if one.class_name in known] for name in ("test", "train"))
    report(f"out-of-fold predictions: network {number} of {final.folds}, {len(test)} images")
    with_views = fold_config.model_copy(update={"model": config.model})
    network = load_trained(folds.runs[number - 1], with_views, state, last=final.last_weights)
    subspace = subspace_images(train) if config.decision.unknown else []
    every, features = outputs(network, dataset, [*test, *subspace], config.preprocess, progress)
    count, logits = len(test), every[: len(test)]
    scores: NDArray[np.float32] | None = None
    trained: tuple[NDArray[np.float32], ...] = ()
    reason = ""
    if config.decision.unknown:
        of_subspace = None if features is None else features[count:]
        vim, of_trained, reason = fit_subspace(network, every[count:], of_subspace)
        if vim is not None and features is not None:
            scores, trained = vim_score(vim, features[:count], logits), (of_trained,)
    reason = reason and f"in fold {number}, {reason}"
    return HeldOut(tuple(test), np.full(len(test), number), logits, scores, trained, reason)


def _joined(parts: Sequence[HeldOut]) -> HeldOut:
    scores = [part.scores for part in parts if part.scores is not None]
    scored = len(scores) == len(parts)
    return HeldOut(
        tuple(record for part in parts for record in part.records),
        np.concatenate([part.folds for part in parts]),
        np.concatenate([part.logits for part in parts]),
        np.concatenate(scores) if scored else None,
        tuple(one for part in parts for one in part.trained) if scored else (),
        next((part.no_scores for part in parts if part.no_scores), ""),
    )


def _write(path: Path, key: str, found: HeldOut) -> None:
    text = {"key": key, "paths": [record.path for record in found.records], "no_scores": found.no_scores}
    arrays: dict[str, Any] = {f"trained_{number}": one for number, one in enumerate(found.trained, 1)}
    arrays |= {} if found.scores is None else {"scores": found.scores}
    arrays |= {"text": np.frombuffer(json.dumps(text).encode(), np.uint8)}
    with new_file(path) as file:
        np.savez(file, folds=found.folds, logits=found.logits, **arrays)


def _read(path: Path, key: str, dataset: Dataset) -> HeldOut | None:
    """The kept predictions; None if there are none, or if they are damaged or belong to something else."""
    by_path = {record.path: record for record in dataset.records}
    try:
        with np.load(path, allow_pickle=False) as stored:
            text = json.loads(stored["text"].tobytes())
            if text["key"] != key:
                return None
            folds, scores = stored["folds"], stored.get("scores")
            numbers = range(1, int(folds.max()) + 1)
            trained = tuple(stored[f"trained_{number}"] for number in numbers if scores is not None)
            records = tuple(by_path[name] for name in text["paths"])
            return HeldOut(records, folds, stored["logits"], scores, trained, text["no_scores"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
