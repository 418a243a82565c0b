"""Prepares a training run: builds the network, and sets up the batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from pelagia.errors import ConfigError, first_few
from pelagia_training.config import NetworkConfig, Resplit, TrainConfig
from pelagia_training.data.batches import Batches, Order, TrainingImages, sizes_of
from pelagia_training.data.sides import growing
from pelagia_training.data.soft import report_soft_labels
from pelagia_training.data.splits import Splits, read_splits
from pelagia_training.network.backbone import (
    Normalized,
    SizeHead,
    build_network,
    normalization,
    require_fit,
)
from pelagia_training.network.sizes import takes_size
from pelagia_training.network.weights import load_weights
from pelagia_training.runs.folder import BEST_FILE, STATE_FILE, RunState, read_run, split_conflict


def require_even_batches(batch_size: int, processes: int) -> None:
    """Raises ConfigError if ``processes`` cannot share a batch evenly."""
    if batch_size % processes:
        even = max(1, round(batch_size / processes)) * processes
        fault = f"{batch_size} images cannot be shared evenly by {processes} processes: set it to {even}"
        raise ConfigError("train.batch_size", [fault])


def warn_of_classes(splits: Splits, report: Callable[[str], None]) -> None:
    """Reports classes that cannot be validated."""
    if missing := splits.classes_without_validation:
        report(
            f"warning: the val split has no image of {first_few(missing)}, so these classes cannot be validated: "
            "label more, or set data.exclude"
        )


def warn_of_settings(
    splits: Splits, batch_size: int, warmup: float, epochs: int, report: Callable[[str], None]
) -> None:
    """Reports classes that cannot be validated, and a batch or a warm-up that is too large for the training."""
    warn_of_classes(splits, report)
    if (count := len(splits.train)) < batch_size:
        report(
            f"warning: there are only {count} training images, fewer than train.batch_size: one batch per epoch; "
            "to have more, set a smaller train.batch_size"
        )
    if warmup >= epochs:
        report(
            f"warning: the warm-up of {warmup:g} epochs is at least as long as the training of {epochs}: the learning "
            "rate never reaches train.lr; lower train.warmup_epochs"
        )


def read_data(config: TrainConfig, processes: int, report: Callable[[str], None]) -> Splits:
    """Reads the rows for training and validation, and reports warnings about them."""
    require_even_batches(config.train.batch_size, processes)
    splits = read_splits(config.dataset, config.data.exclude, config.data.resplit)
    report_soft_labels(splits.train, config.train.soft_labels, report)
    warn_of_settings(splits, config.train.batch_size, config.train.warmup_epochs, config.train.epochs, report)
    if splits.val:  # without a val split, no run stops early
        _warn_of_small_images(config, report)
    return splits


def _warn_of_small_images(config: TrainConfig, report: Callable[[str], None]) -> None:
    """Reports if the run may stop early while the training images are still small."""
    settings, size = config.train, config.preprocess.size
    side = growing(settings.epochs, settings.first_size, size)
    grown = next((epoch for epoch in range(1, settings.epochs + 1) if side(epoch) == size), settings.epochs)
    if settings.patience < grown - 1:
        report(
            f"warning: the training images have {size} pixels from epoch {grown} on, and train.patience is "
            f"{settings.patience}: the run may stop before; set train.patience={settings.epochs}"
        )


def first_network(
    model: NetworkConfig,
    splits: Splits,
    side: int,
    split: Resplit | None,
    report: Callable[[str], None],
    *,
    with_weights: bool,
) -> Normalized:
    """Builds the network on the CPU, and loads its first weights.

    Args:
        side: the side of the input images, in pixels.
        split: replaces the dataset's split; first weights must come from a run with the same split.
        with_weights: whether first weights are loaded; not needed if a checkpoint replaces them.
    """
    network = build_network(
        model.backbone,
        len(splits.classes),
        pretrained=model.pretrained and with_weights,
        drop_rate=model.drop_rate,
        options=model.options,
        size=side,
    )
    mean, std, weights = model.mean, model.std, model.weights
    run = None if weights is None else _run_of(weights)
    if run is not None:
        theirs = _require_same_network(run, model, split, splits.dataset.meta.fingerprint)
        mean, std, weights = mean or theirs.mean, std or theirs.std, run / BEST_FILE
    if weights is not None and with_weights:
        keep_head = run is None or theirs.taxonomy.names == splits.classes
        fresh = load_weights(network, weights, keep_head=keep_head, report=report)
        report(f"loaded the weights of {weights}; initialized at random: {first_few(fresh) or 'nothing'}")
    size_head = SizeHead(len(splits.classes)) if model.size else None
    if size_head is not None:
        size_head.fit(torch.from_numpy(sizes_of(splits.train)))
    normalized = Normalized(network, *normalization(network, mean, std), size_head)
    normalized = normalized.to(memory_format=torch.channels_last)
    require_fit(normalized, side, model.backbone)
    return normalized


def _run_of(weights: Path) -> Path | None:
    """The run folder that ``weights`` names, or in which the file ``weights`` is; None if it is not in a run."""
    folder = weights if weights.is_dir() else weights.parent
    return folder if weights.is_dir() or (folder / STATE_FILE).is_file() else None


def _require_same_network(run: Path, model: NetworkConfig, split: Resplit | None, fingerprint: str) -> RunState:
    """Reads `run.json` of ``run``. Raises ConfigError if its network differs or was trained on held-out images."""
    theirs, state = read_run(run)
    faults = [
        f"{key} is {getattr(theirs.model, key)} in the run {run} but {getattr(model, key)} in the config: "
        f"set model.{key} to the same value"
        for key in ("backbone", "options")
        if getattr(theirs.model, key) != getattr(model, key)
    ]
    if fault := split_conflict(run, theirs, state, split, fingerprint):
        faults.append(fault)
    if faults:
        raise ConfigError("model.weights", faults)
    return state


def require_sides(network: Normalized, config: TrainConfig) -> None:
    """Raises ConfigError if the network does not take the smaller images of the first epochs."""
    side = growing(config.train.epochs, config.train.first_size, config.preprocess.size)
    for one in sorted({side(epoch) for epoch in range(1, config.train.epochs + 1)} - {config.preprocess.size}):
        if not takes_size(network.network, one):
            fault = f"{config.model.backbone} does not take images of {one} x {one} pixels"
            raise ConfigError("train.first_size", [f"{fault}, which those of the first epochs are: leave it out"])


def training_batches(
    images: TrainingImages, order: Order, batch_size: int, fabric: Fabric, workers: int | None
) -> tuple[Any, Batches]:
    """The loader of augmented batches, and the sampler that chooses the images of each batch.

    Args:
        order: computes the order of the images in an epoch.
        batch_size: the number of images per batch, over all processes.
        workers: the number of processes that augment images; None: 8 for a GPU, else 0.
    """
    on_gpu = fabric.device.type == "cuda"
    if workers is None:
        workers = 8 if on_gpu else 0
    batches = Batches(order, len(images), batch_size, fabric.global_rank, fabric.world_size)
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=on_gpu,
        multiprocessing_context="spawn" if workers else None,  # a fork would inherit this process's locks and pipes
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False), batches


def first_state(splits: Splits, network: Normalized, made_with: dict[str, str]) -> RunState:
    """The content of `run.json` before the first epoch."""
    return RunState(
        dataset=splits.dataset.root.absolute(),
        dataset_name=splits.dataset.meta.name,
        fingerprint=splits.dataset.meta.fingerprint,
        counts={name: splits.dataset.meta.counts[name] for name in splits.classes},
        taxonomy=splits.taxonomy,
        mean=network.mean,
        std=network.std,
        environment=made_with,
    )
