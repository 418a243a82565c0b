"""`pelagia train --head-only`: a run whose network keeps its first weights, except for its last layer.

The last layer is a regularized logistic regression on the features of the training images (`head.logistic`). The result
is an ordinary run of one epoch, so everything that reads a run reads this one. It takes seconds, so an interrupted run
starts again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import targets_of
from pelagia_training.data.soft import report_soft_labels, training_labels
from pelagia_training.data.splits import Splits, read_splits
from pelagia_training.devices import memory_kept
from pelagia_training.environment import environment
from pelagia_training.figures.calibrate import negative_log_likelihood, softmax
from pelagia_training.figures.metrics import Matrix, confusion_matrix, metrics_of
from pelagia_training.fit.console import logged
from pelagia_training.fit.context import Report, Step
from pelagia_training.fit.learner import seed_everything
from pelagia_training.fit.prepare import first_network, first_state, warn_of_classes
from pelagia_training.fit.saving import best_weights
from pelagia_training.head.features import Floats, features_of_images
from pelagia_training.head.logistic import STRENGTHS, Choice, Linear, choose_strength, fit_path
from pelagia_training.network.backbone import Normalized, example_inputs, last_layer, shows_features
from pelagia_training.network.losses import build_loss, soft_targets
from pelagia_training.network.outputs import outputs
from pelagia_training.runs.check import require_dataset_there, resumes
from pelagia_training.runs.folder import (
    BEST_FILE,
    LAST_FILE,
    FinalFit,
    HeadFit,
    RunState,
    flat,
    open_run,
    run_name,
    write_config,
    write_state,
)
from pelagia_training.runs.loggers import open_loggers
from pelagia_training.runs.logs import EpochMetrics, write_metrics
from pelagia_training.runs.weights import save_weights

EPOCH = 1
"""The only epoch of the run, which its weights and its metrics name."""


def fit_head(
    config: TrainConfig, out: Path, report: Report, *, resume: bool = True, final: FinalFit | None = None
) -> RunState:
    """Fits the last layer of a network, and writes the run folder ``out``. The arguments are those of `train`.

    Raises:
        ConfigError: the network does not end in one linear layer.
        InputError, DatasetError: the weights, the dataset or the run folder is unusable.
    """
    began = time.monotonic()
    with open_run(out, config, resume), memory_kept(), logged(out, report) as told:
        require_dataset_there(out, config)
        splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
        resumes(out, config, splits.dataset)
        network = _first_network(config, splits, told)
        state = first_state(splits, network, environment("the last layer only"))
        state = state.model_copy(update={"final": final})
        write_state(out, state)
        write_config(out, config)
        head = _fit(config, splits, network, told)
        state, metrics = _measured(config, splits, network, state.model_copy(update={"head": head}), told)
        save_weights(out / BEST_FILE, network, EPOCH)
        save_weights(out / LAST_FILE, network, EPOCH)
        write_metrics(out, [metrics])
        with open_loggers(config.loggers, out, run_name(out), flat(config.model_dump(mode="json")), told) as logger:
            logger([metrics])
        state = state.model_copy(update={"status": "finished", "seconds": round(time.monotonic() - began, 1)})
        write_state(out, state)  # last, because a run without it starts again
    return state


def _first_network(config: TrainConfig, splits: Splits, report: Report) -> Normalized:
    """The network with its first weights. Raises ConfigError if it does not end in one linear layer with a bias."""
    warn_of_classes(splits, report)
    report_soft_labels(splits.train, config.train.soft_labels, report)
    seed_everything((config.seed,))
    side = config.preprocess.size
    network = first_network(config.model, splits, side, config.data.resplit, report, with_weights=True).eval()
    if not shows_features(network, example_inputs(network, side)[0]) or last_layer(network).bias is None:
        fault = (
            f"{config.model.backbone} does not end in one linear layer, so its head cannot be fitted alone: choose "
            "another model.backbone, or leave out --head-only (train.head_only)"
        )
        raise ConfigError("model.backbone", [fault])
    return network


def _fit(config: TrainConfig, splits: Splits, network: Normalized, report: Report) -> HeadFit:
    """Fits the last layer of ``network`` to the training images, and says how."""
    train, classes = splits.train, splits.classes
    report(
        f"fitting the last layer of {config.model.backbone} on {len(train)} images; of the keys of train, only "
        "head_only, long_tail and soft_labels have an effect, and those of augment have none"
    )
    features = features_of_images(
        network,
        splits.dataset,
        train,
        config.preprocess,
        folder=config.data.cache and config.data.cache / "features",
        progress=partial(_show, report, "features"),
        report=report,
    )
    labels = targets_of(train, classes)
    given = training_labels(train, classes, soft=config.train.soft_labels)
    targets: Floats = soft_targets(torch.from_numpy(given), len(classes), smoothing=0).numpy()
    loss = build_loss(config.train.long_tail, np.bincount(labels))
    groups, show = [record.group for record in train], partial(_show, report, "folds")
    choice = choose_strength(features, targets, labels, groups, loss, seed=config.seed, progress=show)
    head = fit_path(features, targets, loss, STRENGTHS[: STRENGTHS.index(choice.strength) + 1])[-1]
    _set_head(last_layer(network), head)
    return _told(choice, report)


def _told(choice: Choice, report: Callable[[str], None]) -> HeadFit:
    """What is kept of the choice of the penalty; also reports it."""
    if not choice.grouped:
        report(
            "warning: all training images are of one group, so the penalty of the head was chosen on single images, "
            "and its macro-F1 is too high for other groups"
        )
    macro_f1 = max(choice.macro_f1)
    unit = "groups" if choice.grouped else "images"
    report(
        f"penalty {choice.strength:g}, the best of {len(STRENGTHS)} on {unit} of the training split that were left out "
        f"in turn ({choice.folds} folds): macro-F1 {macro_f1:.4f}"
    )
    return HeadFit(strength=choice.strength, folds=choice.folds, grouped=choice.grouped, macro_f1=macro_f1)


def _set_head(layer: nn.Linear, head: Linear) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))


def _measured(
    config: TrainConfig, splits: Splits, network: Normalized, state: RunState, report: Report
) -> tuple[RunState, EpochMetrics]:
    """The state of the run and its row of `metrics.csv`, with metrics of the val split if there is one."""
    confusion, loss = _validated(config, splits, network)
    found = {} if confusion is None else metrics_of(confusion).headline
    metrics = EpochMetrics(EPOCH, val_loss=loss, **{f"val_{name}": value for name, value in found.items()})
    if found:
        shown = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        report(f"validation: loss {loss:.4f}, {shown}")
    return state.model_copy(update={"epoch": EPOCH, **best_weights(EPOCH, confusion)}), metrics


def _validated(config: TrainConfig, splits: Splits, network: Normalized) -> tuple[Matrix | None, float | None]:
    """The confusion matrix and the mean cross-entropy of the val split; None if all images are trained on."""
    if not splits.val:
        return None, None
    logits, _ = outputs(network, splits.dataset, splits.val, config.preprocess)
    targets = targets_of(splits.val, splits.classes)
    confusion = confusion_matrix(targets, logits.argmax(1), len(splits.classes))
    return confusion, negative_log_likelihood(softmax(logits), targets)


def _show(report: Report, what: str, done: int, total: int) -> None:
    report(Step(epoch=1, epochs=1, batch=done, batches=total, loss=0.0, what=what))
