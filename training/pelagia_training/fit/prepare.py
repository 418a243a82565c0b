"""What a training run begins with: the dataset's rows, the network, and the batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import ConfigError, DatasetError, InputError, did_you_mean, first_few
from pelagia.images.preprocess import Image
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import TrainConfig
from pelagia_training.data.augment import build_augment
from pelagia_training.data.batches import Batches, TrainingImages, sizes_of, targets_of
from pelagia_training.data.resplit import resplit
from pelagia_training.data.sampling import build_order
from pelagia_training.network.backbone import (
    Normalized,
    SizeHead,
    build_network,
    load_weights,
    normalization,
    require_fit,
)
from pelagia_training.runs.folder import (
    BEST_FILE,
    CHECKPOINT_FILE,
    STATE_FILE,
    RunState,
    read_run,
    read_state,
    unlike_split,
)


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

    @property
    def unwatched(self) -> list[str]:
        """Classes without a validation image."""
        watched = {record.class_name for record in self.val}
        return [name for name in self.classes if name not in watched]


def read_splits(config: TrainConfig, processes: int) -> Splits:
    """The rows to learn from and to watch. Raises ConfigError, DatasetError where there is too little of either."""
    if config.train.batch_size % processes:
        wish = max(1, round(config.train.batch_size / processes)) * processes
        fault = f"{config.train.batch_size} images cannot be shared by {processes} processes alike: {wish} can"
        raise ConfigError("train.batch_size", [fault])
    if config.dataset is None:
        raise ConfigError("dataset", ["say which dataset to train on: --set dataset=DATASET"])
    dataset = resplit(Dataset.read(config.dataset), config.data.resplit)
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
        listed = first_few(f"'{name}' ({counts[name]})" for name in thin)
        raise DatasetError(
            f"fewer than 2 training images of {listed}: label more, or leave them out with "
            f"--set data.exclude=[{','.join(thin)}]"
        )
    if not val_records:
        raise DatasetError(
            "the val split holds no image: it has too few groups; import the dataset again with a --group-column of "
            "more values"
        )


def first_network(
    config: TrainConfig, splits: Splits, report: Callable[[str], None], *, with_weights: bool
) -> Normalized:
    """The network on the CPU, with its first weights where no checkpoint has later ones."""
    network = build_network(
        config.model.backbone,
        len(splits.classes),
        pretrained=config.model.pretrained and with_weights,
        drop_rate=config.model.drop_rate,
        options=config.model.options,
    )
    mean, std, weights = config.model.mean, config.model.std, config.model.weights
    run = None if weights is None else _run_of(weights)
    if run is not None:
        theirs = _require_alike(run, config, splits.dataset.meta.fingerprint)
        mean, std, weights = mean or theirs.mean, std or theirs.std, run / BEST_FILE
    if weights is not None and with_weights:
        fresh = load_weights(network, weights, keep_head=run is None or theirs.taxonomy.names == splits.classes)
        report(f"weights of {weights}; made anew: {first_few(fresh) or 'nothing'}")
    size_head = SizeHead(len(splits.classes)) if config.model.size else None
    if size_head is not None:
        size_head.fit(torch.from_numpy(sizes_of(splits.train)))
    model = Normalized(network, *normalization(network, mean, std), size_head).to(memory_format=torch.channels_last)
    require_fit(model, config.preprocess.size, config.model.backbone)
    return model


def _run_of(weights: Path) -> Path | None:
    """The run that ``weights`` is, or is a file of."""
    folder = weights if weights.is_dir() else weights.parent
    return folder if weights.is_dir() or (folder / STATE_FILE).is_file() else None


def _require_alike(run: Path, config: TrainConfig, fingerprint: str) -> RunState:
    """What the run rests on. Raises ConfigError where its network is another, or it has seen what is held out."""
    theirs, state = read_run(run)
    faults = [
        f"the run {run} has the {key} {getattr(theirs.model, key)}, the config {getattr(config.model, key)}: "
        f"set model.{key} likewise"
        for key in ("backbone", "options")
        if getattr(theirs.model, key) != getattr(config.model, key)
    ]
    if fault := unlike_split(run, theirs, state, config, fingerprint):
        faults.append(fault)
    if faults:
        raise ConfigError("model.weights", faults)
    return state


def training_batches(
    config: TrainConfig, splits: Splits, crops: Sequence[Image], fabric: Fabric
) -> tuple[Any, Batches]:
    """The loader of augmented batches, and the sampler that decides which epoch it gives."""
    on_gpu = fabric.device.type == "cuda"
    workers = config.data.workers if config.data.workers is not None else 8 if on_gpu else 0
    targets = targets_of(splits.train, splits.classes)
    sizes = sizes_of(splits.train) if config.model.size else None
    images = TrainingImages(crops, targets, build_augment(config.augment), config.seed, sizes)
    order = build_order(config.train.long_tail, targets, config.seed)
    batches = Batches(order, len(images), config.train.batch_size, fabric.global_rank, fabric.world_size)
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=on_gpu,
        multiprocessing_context="spawn" if workers else None,  # a fork inherits our threads' locks and our pipes
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False), batches


def require_same_dataset(out: Path, dataset: Dataset) -> bool:
    """Whether the run ``out`` goes on from a checkpoint. Raises InputError where it was trained on other images."""
    if not (out / STATE_FILE).is_file():
        return False
    begun = read_state(out)
    if begun.fingerprint != dataset.meta.fingerprint:
        raise InputError(
            f"the run {out} was begun on another dataset: {begun.dataset}, fingerprint {begun.fingerprint[:12]}; "
            f"{dataset.root} has {dataset.meta.fingerprint[:12]}. Give it that dataset, or choose another --out"
        )
    return (out / CHECKPOINT_FILE).is_file()
