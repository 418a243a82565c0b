"""`pelagia train`: one run, read from top to bottom.

    pelagia train configs/training/tiny_cpu.yaml --set dataset=DATASET --out RUN
    pelagia train configs/training/baseline.yaml --set dataset=DATASET --set train.epochs=20 --out RUN

Shapes: N images, S side, C classes. Images are uint8 N x S x S x 3; logits float32 N x C.
"""

from __future__ import annotations

import csv
import math
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.seed import seed_everything
from numpy.typing import NDArray
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from pelagia import __version__
from pelagia.dataset import Dataset, Record
from pelagia.errors import ConfigError, DatasetError, TrainingError, did_you_mean, some
from pelagia_training.augment import build_augment
from pelagia_training.config import TrainConfig
from pelagia_training.data import Shuffled, TrainingImages, load_fitted, targets_of
from pelagia_training.metrics import Metrics, confusion_matrix, metrics_of
from pelagia_training.network import (
    Normalised,
    build_network,
    first_line,
    load_weights,
    normalisation,
    require_fit,
)
from pelagia_training.resplit import resplit
from pelagia_training.run import (
    BEST_FILE,
    LAST_FILE,
    METRICS_FILE,
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


def train(config: TrainConfig, out: Path, report: Report = lambda event: None) -> RunState:
    """Trains a network on the train split, watches the val split, and leaves the run folder ``out``.

    Raises:
        ConfigError, InputError, DatasetError: the config, the weights or the dataset will not do.
        TrainingError: the loss is no longer a number.
    """
    refuse_run(out)
    start = time.monotonic()
    seed_everything(config.seed, verbose=False)
    fabric = _fabric(config)

    # ---- dataset and network
    dataset = _open_dataset(config)
    taxonomy = dataset.meta.taxonomy.restricted_to(set(dataset.class_names) - set(config.data.exclude))
    train_records, val_records = (
        [record for record in dataset.split(split) if record.class_name in taxonomy.names] for split in ("train", "val")
    )
    _require_images(train_records, val_records, taxonomy.names)
    network, mean, std = _network(config, len(taxonomy.classes), report)
    model = Normalised(network, mean, std).to(memory_format=torch.channels_last)
    require_fit(model, config.preprocess.size, config.model.backbone)
    report(f"decoding {len(train_records) + len(val_records)} images of {dataset.root}")
    train_images = load_fitted(dataset, train_records, config.preprocess)
    val_images = load_fitted(dataset, val_records, config.preprocess)
    val_targets = targets_of(val_records, taxonomy.names)
    images = TrainingImages(
        train_images, targets_of(train_records, taxonomy.names), build_augment(config.augment), config.seed
    )
    order = Shuffled(len(images), config.seed)
    loader = fabric.setup_dataloaders(_loader(images, order, config, on_gpu=fabric.device.type == "cuda"))

    # ---- optimiser
    optimizer = create_optimizer_v2(model, "adamw", config.train.lr, config.train.weight_decay)
    steps = len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, _warmup_cosine(config.train.warmup_epochs * steps, config.train.epochs * steps)
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=config.train.label_smoothing)
    wrapped, optimizer = fabric.setup(model, optimizer)
    decay = config.train.ema_decay
    average = ModelEmaV3(model, decay=decay, use_warmup=True) if decay else None
    watched = average.module if average else model

    with new_run(out):
        state = _first_state(config, dataset, taxonomy, mean, std, fabric)
        write_config(out, config)
        write_state(out, state)
        log = _Log(out)
        report(f"training {config.model.backbone} on {len(train_records)} images, {state.environment['device']}")

        # ---- loop
        best_f1, waited = -1.0, 0
        for epoch in range(1, config.train.epochs + 1):
            wrapped.train()
            images.start_epoch(epoch)
            order.start_epoch(epoch)
            total = 0.0
            for batch, (pixels, targets) in enumerate(loader, 1):
                loss = criterion(wrapped(pixels), targets)
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingError(_diverged(epoch, batch, out, config))
                fabric.backward(loss)
                fabric.clip_gradients(wrapped, optimizer, max_norm=config.train.clip_grad)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                if average:
                    average.update(model, step=(epoch - 1) * steps + batch)
                total += value
                report(Step(epoch, config.train.epochs, batch, steps, total / batch))

            confusion = confusion_matrix(val_targets, predict(watched, val_images).argmax(1), len(taxonomy.classes))
            metrics = metrics_of(confusion)
            waited = 0 if metrics.macro_f1 > best_f1 else waited + 1
            state = state.model_copy(update={"epoch": epoch, "seconds": round(time.monotonic() - start, 1)})
            if waited == 0:
                best_f1 = metrics.macro_f1
                save_weights(out / BEST_FILE, watched, epoch)
                found = {
                    "best_epoch": epoch,
                    "metrics": metrics.headline,
                    "validation_confusion": tuple(map(tuple, confusion.tolist())),
                }
                state = state.model_copy(update=found)
            save_weights(out / LAST_FILE, watched, epoch)
            write_state(out, state)
            log.write(epoch, total / steps, float(schedule.get_last_lr()[0]), metrics, state.seconds)
            report(Step(epoch, config.train.epochs, steps, steps, total / steps, metrics, best=waited == 0))
            if waited >= config.train.patience:
                report(f"stopping: {waited} epochs without a better validation macro-F1 than {best_f1:.4f}")
                break

        log.close()
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


def _fabric(config: TrainConfig) -> Fabric:
    try:
        fabric = Fabric(accelerator=config.device, devices=1, precision=_precision(config))
        fabric.launch()
    except Exception as error:  # Lightning has an exception class for each accelerator
        raise ConfigError("device", [f"'{config.device}' cannot be used here: {first_line(error)}"]) from None
    return fabric


def _open_dataset(config: TrainConfig) -> Dataset:
    if config.dataset is None:
        raise ConfigError("dataset", ["say which dataset to train on: --set dataset=DATASET"])
    dataset = resplit(Dataset.read(config.dataset), config.data.resplit)
    unknown = [name for name in config.data.exclude if name not in dataset.class_names]
    if unknown:
        raise ConfigError(
            "data.exclude",
            [f"'{unknown[0]}' is no class of {config.dataset}{did_you_mean(unknown[0], dataset.class_names)}"],
        )
    return dataset


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


def _loader(images: TrainingImages, order: Shuffled, config: TrainConfig, on_gpu: bool) -> DataLoader[Any]:
    workers = config.data.workers if config.data.workers is not None else 8 if on_gpu else 0
    size = min(config.train.batch_size, len(images))
    return DataLoader(
        images,
        size,
        sampler=order,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=on_gpu,
    )


def _network(config: TrainConfig, classes: int, report: Report) -> tuple[nn.Module, Any, Any]:
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
    return network, *normalisation(network, config.model.mean, config.model.std)


def _precision(config: TrainConfig) -> Any:
    if config.precision != "auto":
        return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[config.precision]
    on_gpu = config.device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if on_gpu else "32-true"


def _warmup_cosine(warmup: float, total: int) -> Callable[[int], float]:
    """Learning rate factor of a step: linear from 0 over ``warmup`` steps, then a half cosine to 0 at ``total``."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))

    return factor


def _first_state(config: TrainConfig, dataset: Dataset, taxonomy: Any, mean: Any, std: Any, fabric: Fabric) -> RunState:
    device = (
        torch.cuda.get_device_name(fabric.device)
        if fabric.device.type == "cuda"
        else f"{fabric.device.type}, {torch.get_num_threads()} threads"
    )
    versions = {module.__name__: module.__version__ for module in (torch, timm, cv2, np)}
    return RunState(
        dataset=dataset.root.absolute(),
        dataset_name=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        counts={name: dataset.meta.counts[name] for name in taxonomy.names},
        taxonomy=taxonomy,
        mean=mean,
        std=std,
        environment={"pelagia": __version__, "python": platform.python_version(), "device": device, **versions},
    )


def _diverged(epoch: int, batch: int, out: Path, config: TrainConfig) -> str:
    kept = (
        f"the best weights so far are in {out / BEST_FILE}" if (out / BEST_FILE).exists() else "no epoch was finished"
    )
    return (
        f"the loss is no longer a number (epoch {epoch}, batch {batch}); {kept}. "
        f"Try a lower learning rate: --set train.lr={config.train.lr / 3:.2g}"
    )


class _Log:
    """One row an epoch, in `metrics.csv` and for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / METRICS_FILE).open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(
            ("epoch", "train_loss", "lr", "val_accuracy", "val_macro_f1", "val_balanced_accuracy", "seconds")
        )
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, epoch: int, loss: float, lr: float, metrics: Metrics, seconds: float) -> None:
        row = (loss, lr, metrics.accuracy, metrics.macro_f1, metrics.balanced_accuracy)
        self._csv.writerow((epoch, *(f"{value:.6g}" for value in row), seconds))
        self._file.flush()
        for name, value in zip(
            ("train/loss", "train/lr", "val/accuracy", "val/macro_f1", "val/balanced_accuracy"), row, strict=True
        ):
            self._board.add_scalar(name, value, epoch)
        self._board.flush()

    def close(self) -> None:
        self._file.close()
        self._board.close()
