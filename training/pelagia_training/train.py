"""`pelagia train`: one run, read from top to bottom.

    pelagia train configs/training/tiny_cpu.yaml --set dataset=DATASET --out RUN
    pelagia train configs/training/baseline.yaml --set dataset=DATASET --set train.epochs=20 --out RUN

Shapes: N images, S side, C classes. Images are uint8 N x S x S x 3; logits float32 N x C.
"""

from __future__ import annotations

import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from pelagia import __version__
from pelagia.dataset import Dataset, Record
from pelagia.errors import ConfigError, DatasetError, TrainingError, did_you_mean, some
from pelagia.taxonomy import Taxonomy
from pelagia_training.augment import build_augment
from pelagia_training.config import TrainConfig
from pelagia_training.data import Batches, TrainingImages, load_fitted, shuffled, targets_of
from pelagia_training.devices import name_of, open_fabric
from pelagia_training.learner import Learner, build_learner, seed_everything
from pelagia_training.logs import EpochFigures, MetricsLog
from pelagia_training.metrics import Matrix, Metrics, confusion_matrix, metrics_of
from pelagia_training.network import Normalised, build_network, load_weights, normalisation, require_fit
from pelagia_training.run import (
    BEST_FILE,
    LAST_FILE,
    RunState,
    new_run,
    refuse_run,
    save_weights,
    write_config,
    write_state,
)

_EVAL_BATCH = 64


@dataclass(frozen=True)
class Step:
    """Where a run is, after each batch and each epoch. ``validation`` is None within an epoch."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    validation: Metrics | None = None
    best: bool = False


Report = Callable[[str | Step], None]
"""Called with a sentence on what begins, or a `Step`."""


@dataclass(frozen=True)
class Splits:
    """What is learnt from, and what is watched: the dataset's rows of the classes in ``taxonomy``."""

    dataset: Dataset
    taxonomy: Taxonomy
    train: list[Record]
    val: list[Record]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.taxonomy.names


@dataclass
class Progress:
    """How far a run is: ``epoch`` epochs are over, and ``batch`` batches after them, whose losses sum to ``total``."""

    epoch: int = 0
    batch: int = 0
    total: float = 0.0
    best: float = -1.0
    waited: int = 0
    began: float = field(default_factory=time.monotonic)


def train(config: TrainConfig, out: Path, report: Report = lambda event: None) -> RunState:
    """Trains a network on the train split, watches the val split, and leaves the run folder ``out``.

    Raises:
        ConfigError, InputError, DatasetError: the config, the weights or the dataset will not do.
        TrainingError: the loss is no longer a number.
    """
    refuse_run(out)
    progress = Progress()
    seed_everything((config.seed,))
    fabric = open_fabric(config.device, config.precision)
    splits = _splits(config)
    network = _network(config, len(splits.classes), report)
    report(f"decoding {len(splits.train) + len(splits.val)} images of {splits.dataset.root}")
    loader, batches = _training_batches(config, splits, fabric)
    val_images = load_fitted(splits.dataset, splits.val, config.preprocess)
    val_targets = targets_of(splits.val, splits.classes)
    criterion = nn.CrossEntropyLoss(label_smoothing=config.train.label_smoothing)
    learner = build_learner(fabric, network, criterion, config.train, len(batches), config.seed)

    with new_run(out), MetricsLog(out) as log:
        state = _first_state(config, splits, network, fabric)
        write_config(out, config)
        write_state(out, state)
        report(f"training {config.model.backbone} on {len(splits.train)} images, {state.environment['device']}")
        while progress.epoch < config.train.epochs and progress.waited < config.train.patience:
            batches.start(progress.epoch + 1, progress.batch)
            for batch in loader:
                progress.total += _learn(learner, batch, progress, len(batches), out)
                progress.batch += 1
                report(_step(progress, config, len(batches)))
            predicted = predict(learner.watched, val_images).argmax(1)
            confusion = confusion_matrix(val_targets, predicted, len(splits.classes))
            state = _end_epoch(out, state, learner, progress, confusion)
            figures = metrics_of(confusion)
            log.write(_row(learner, progress, figures, len(batches)))
            report(_step(progress, config, len(batches), figures))
            progress.batch, progress.total = 0, 0.0
        if progress.epoch < config.train.epochs:
            report(f"stopping: {progress.waited} epochs without a better validation macro-F1 than {progress.best:.4f}")
        state = state.model_copy(update={"status": "finished"})
        write_state(out, state)
    return state


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits of fitted images (uint8 N x S x S x 3): float32 N x C."""
    model.eval()
    device = next(model.parameters()).device
    parts = [
        model(torch.from_numpy(images[start : start + _EVAL_BATCH]).to(device)).float().cpu().numpy()
        for start in range(0, len(images), _EVAL_BATCH)
    ]
    return np.concatenate(parts)


# ---- what a run begins with


def _splits(config: TrainConfig) -> Splits:
    if config.dataset is None:
        raise ConfigError("dataset", ["say which dataset to train on: --set dataset=DATASET"])
    dataset = Dataset.read(config.dataset)
    unknown = [name for name in config.data.exclude if name not in dataset.class_names]
    if unknown:
        raise ConfigError(
            "data.exclude",
            [f"'{unknown[0]}' is no class of {config.dataset}{did_you_mean(unknown[0], dataset.class_names)}"],
        )
    taxonomy = dataset.meta.taxonomy.restricted_to(set(dataset.class_names) - set(config.data.exclude))
    train_records, val_records = (
        [record for record in dataset.split(split) if record.class_name in taxonomy.names] for split in ("train", "val")
    )
    _require_images(train_records, val_records, taxonomy.names)
    return Splits(dataset, taxonomy, train_records, val_records)


def _require_images(train_records: Sequence[Record], val_records: Sequence[Record], classes: Sequence[str]) -> None:
    """Every class needs two images to learn from, and the val split needs some at all."""
    if len(classes) < 2:
        raise DatasetError(f"{len(classes)} of the dataset's classes are left: a classifier needs two")
    counts = Counter(record.class_name for record in train_records)
    thin = [name for name in classes if counts[name] < 2]
    if thin:
        listed = some(f"'{name}' ({counts[name]})" for name in thin)
        raise DatasetError(
            f"fewer than 2 training images of {listed}: label more, or leave them out with "
            f"--set data.exclude=[{','.join(thin)}]"
        )
    if not val_records:
        raise DatasetError(
            "the val split holds no image: it has too few groups; import the dataset again with a --group-column of "
            "more values"
        )


def _network(config: TrainConfig, classes: int, report: Report) -> Normalised:
    """The network with its first weights, on the CPU."""
    network = build_network(
        config.model.backbone,
        classes,
        pretrained=config.model.pretrained,
        drop_rate=config.model.drop_rate,
        options=config.model.options,
    )
    if config.model.weights is not None:
        fresh = load_weights(network, config.model.weights)
        report(f"weights of {config.model.weights}; made anew: {some(fresh) or 'nothing'}")
    mean, std = normalisation(network, config.model.mean, config.model.std)
    model = Normalised(network, mean, std).to(memory_format=torch.channels_last)
    require_fit(model, config.preprocess.size, config.model.backbone)
    return model


def _training_batches(config: TrainConfig, splits: Splits, fabric: Fabric) -> tuple[Any, Batches]:
    """The loader of augmented batches, and the sampler that decides which epoch it gives."""
    on_gpu = fabric.device.type == "cuda"
    workers = config.data.workers if config.data.workers is not None else 8 if on_gpu else 0
    images = TrainingImages(
        load_fitted(splits.dataset, splits.train, config.preprocess),
        targets_of(splits.train, splits.classes),
        build_augment(config.augment),
        config.seed,
    )
    batches = Batches(shuffled(len(images), config.seed), len(images), config.train.batch_size)
    loader: DataLoader[Any] = DataLoader(
        images, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0, pin_memory=on_gpu
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False), batches


def _first_state(config: TrainConfig, splits: Splits, network: Normalised, fabric: Fabric) -> RunState:
    dataset = splits.dataset
    mean, std = normalisation(network.network, config.model.mean, config.model.std)
    versions = {module.__name__: module.__version__ for module in (torch, timm, cv2, np)}
    return RunState(
        dataset=dataset.root.absolute(),
        dataset_name=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        counts={name: dataset.meta.counts[name] for name in splits.classes},
        taxonomy=splits.taxonomy,
        mean=mean,
        std=std,
        environment={
            "pelagia": __version__,
            "python": platform.python_version(),
            "device": name_of(fabric),
            **versions,
        },
    )


# ---- what it repeats


def _learn(learner: Learner, batch: Any, progress: Progress, batches: int, out: Path) -> float:
    loss = float(learner.step(progress.epoch * batches + progress.batch, batch))
    if not math.isfinite(loss):
        kept = (
            f"the best weights so far are in {out / BEST_FILE}"
            if (out / BEST_FILE).exists()
            else "no epoch was finished"
        )
        raise TrainingError(
            f"the loss is no longer a number (epoch {progress.epoch + 1}, batch {progress.batch + 1}); {kept}. "
            f"Try a lower learning rate: --set train.lr={learner.peak_rate / 3:.2g}"
        )
    return loss


def _end_epoch(out: Path, state: RunState, learner: Learner, progress: Progress, confusion: Matrix) -> RunState:
    """Counts the epoch, keeps its weights, and returns the new `run.json`."""
    metrics = metrics_of(confusion)
    progress.epoch += 1
    progress.waited = 0 if metrics.macro_f1 > progress.best else progress.waited + 1
    found: dict[str, Any] = {"epoch": progress.epoch, "seconds": round(time.monotonic() - progress.began, 1)}
    if progress.waited == 0:
        progress.best = metrics.macro_f1
        save_weights(out / BEST_FILE, learner.watched, progress.epoch)
        found |= {
            "best_epoch": progress.epoch,
            "metrics": metrics.headline,
            "validation_confusion": tuple(map(tuple, confusion.tolist())),
        }
    save_weights(out / LAST_FILE, learner.watched, progress.epoch)
    state = state.model_copy(update=found)
    write_state(out, state)
    return state


def _row(learner: Learner, progress: Progress, metrics: Metrics, batches: int) -> EpochFigures:
    return EpochFigures(
        epoch=progress.epoch,
        train_loss=progress.total / batches,
        lr=learner.peak_rate * learner.rate(progress.epoch * batches),
        val_accuracy=metrics.accuracy,
        val_macro_f1=metrics.macro_f1,
        val_balanced_accuracy=metrics.balanced_accuracy,
    )


def _step(progress: Progress, config: TrainConfig, batches: int, validation: Metrics | None = None) -> Step:
    return Step(
        epoch=progress.epoch + (validation is None),
        epochs=config.train.epochs,
        batch=progress.batch,
        batches=batches,
        loss=progress.total / progress.batch,
        validation=validation,
        best=validation is not None and progress.waited == 0,
    )
