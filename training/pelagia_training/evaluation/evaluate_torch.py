"""Evaluates a run in PyTorch, without an exported model: for cross-validation, `pelagia leak` and unexported runs.

Metrics that must also apply to `pelagia classify` come from `pelagia_training.evaluation.evaluate`, which runs the
exported file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pelagia.errors import DatasetError
from pelagia_training.data.batches import sizes_of
from pelagia_training.data.crops import StreamedCrops
from pelagia_training.devices import memory_kept
from pelagia_training.evaluation.evaluate import Evaluation, evaluation_of
from pelagia_training.figures.calibrate import softmax
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.load import dataset_of, load_trained


def evaluate_run(run: Path, split: str) -> Evaluation:
    """Computes the metrics of a run's best weights on a split of the run's dataset.

    Args:
        run: the run folder.
        split: train, val, test or all.

    Raises:
        InputError, DatasetError: the run or its dataset is missing or damaged, or the split has no image to compare.
    """
    config, state = read_run(run)
    dataset = dataset_of(state.dataset, config, state, has_option=False)
    if state.final and split in ("val", "test"):
        raise DatasetError(f"the run {run} has no split '{split}': {state.final.not_measured}")
    records = [record for record in dataset.split(split) if record.class_name in state.taxonomy.names]
    if not records:
        raise DatasetError(
            f"the split '{split}' of {dataset.root} holds no image of the run's classes: choose another split"
        )
    images = StreamedCrops(dataset, records, config.preprocess)
    sizes = sizes_of(records) if config.model.size else None
    network = load_trained(run, config, state).to("cuda" if torch.cuda.is_available() else "cpu")
    with memory_kept():
        logits = predict(network, images, sizes)
    probabilities = softmax(logits).astype(np.float32)
    return evaluation_of(records, probabilities, state.taxonomy.names, dataset, split, model=(run.name, ""))
