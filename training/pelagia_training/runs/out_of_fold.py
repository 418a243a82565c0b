"""Reads the out-of-fold predictions of a cross-validation that `pelagia train --folds` made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, InputError
from pelagia.shell import command_line
from pelagia.survey.journal import JOURNAL_FILE, Survey
from pelagia.system.files import sha256_of, sha256_of_file
from pelagia_training.runs.folder import BEST_FILE

SURVEY_FOLDER, FOLDS_FILE = "out_of_fold", "folds.json"
"""The survey with the predictions, and the metrics, in the folder of the cross-validation."""
OUT_OF_FOLD = "out of fold"
"""The name of the split in evaluations."""


def digest_of_folds(runs: Sequence[Path]) -> str:
    """The SHA-256 of the best weights of all folds, by which the predictions of other weights are noticed."""
    return sha256_of("".join(sha256_of_file(run / BEST_FILE) for run in runs).encode())


def read_predictions(run: Path, dataset: Dataset) -> tuple[list[Record], NDArray[np.float32], tuple[str, ...]]:
    """The images of a cross-validation, their out-of-fold probabilities (float32, N x classes), and the classes.

    Args:
        run: the folder of the cross-validation.
        dataset: the dataset on which it was made.

    Raises:
        InputError: ``run`` holds no out-of-fold predictions.
        DatasetError: the predictions were made on another dataset.
    """
    folder = run / SURVEY_FOLDER
    if not (folder / JOURNAL_FILE).is_file():
        make = command_line("pelagia", "train", "CONFIG", "--folds", 5, "--out", run)
        raise InputError(f"{run} holds no out-of-fold predictions: make them with `{make}`")
    by_path = {record.path: record for record in dataset.records}
    with Survey.open(folder) as survey:
        rows = [row for row in survey if row.probabilities is not None]
        classes = survey.classes
    wrong_dataset = f"{dataset.root} is not the dataset that {run} was made of"
    if not rows:
        raise DatasetError(f"{wrong_dataset}: {folder} holds no predictions")
    for row in rows:
        if row.path not in by_path or by_path[row.path].sha256 != row.sha256:
            raise DatasetError(
                f"{wrong_dataset}: it does not hold the image {row.path}; give the other one as --dataset"
            )
    records = [by_path[row.path] for row in rows]
    for record in records:
        if record.class_name not in classes:
            raise DatasetError(
                f"{wrong_dataset}: the run has no class '{record.class_name}'; give the other one as --dataset"
            )
    probabilities = np.stack([row.probabilities for row in rows if row.probabilities is not None])
    return records, probabilities, tuple(classes)
