"""`pelagia train`: one run, read from top to bottom.

    pelagia train configs/training/tiny_cpu.yaml --set dataset=DATASET --out RUN
    pelagia train configs/training/baseline.yaml --set dataset=DATASET --set train.epochs=20 --out RUN

Shapes: N images, S side, C classes. Images are uint8 N x S x S x 3; logits float32 N x C.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pelagia.errors import DatasetError, TrainingError, first_few
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import prefetched, sizes_of, targets_of
from pelagia_training.data.crops import open_crops
from pelagia_training.devices import (
    deterministic,
    is_first,
    launch,
    leave,
    make_fabric,
    memory_kept,
    name_of,
    share_batch_norms,
)
from pelagia_training.environment import changes, environment
from pelagia_training.figures.metrics import Matrix, metrics_of
from pelagia_training.fit.checkpoint import RunHistory, RunProgress, load_checkpoint
from pelagia_training.fit.context import Report, RunContext, Step
from pelagia_training.fit.learner import Learner, build_learner, seed_everything
from pelagia_training.fit.prepare import Splits, first_network, read_splits, require_same_dataset, training_batches
from pelagia_training.fit.saving import average_last_epochs, best_weights, save_epoch, save_progress
from pelagia_training.fit.targets import build_targets
from pelagia_training.fit.validation import validate
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import build_loss
from pelagia_training.runs.folder import (
    CHECKPOINT_FILE,
    RunState,
    flat,
    open_run,
    write_config,
    write_state,
)
from pelagia_training.runs.loggers import open_loggers, require_loggers
from pelagia_training.runs.logs import training_log, write_metrics
from pelagia_training.runs.soup import Soup

_READ_EVERY = 10
"""Batches between two looks at the losses on a device that would have to wait for each."""
_EXPLODED = 5.0
"""A mean loss so many times that of a network which says nothing is a divergence..."""
_EXPLODED_AFTER = 20
"""...after so many batches of an epoch."""


def train(config: TrainConfig, out: Path, report: Report = lambda event: None, *, resume: bool = True) -> RunState:
    """Trains a network on the train split, watches the val split, and leaves the run folder ``out``.

    A run that was broken off goes on from its last checkpoint, and ends as if it had not been, unless ``resume`` is
    False.

    Raises:
        ConfigError, InputError, DatasetError: the config, the weights, the dataset or the run folder will not do.
        TrainingError: the loss is no longer a number or explodes, or the memory or the disk is too small.
    """
    require_loggers(config.loggers)
    fabric = make_fabric(config.device, config.precision, config.devices, config.nodes)
    with ExitStack() as stack:
        stack.enter_context(open_run(out, config, resume) if is_first() else nullcontext())
        stack.enter_context(deterministic(fabric))
        stack.enter_context(memory_kept())
        report = stack.enter_context(_logged(out, report))
        splits = read_splits(config, fabric.world_size)
        if splits.unwatched:
            report(
                f"warning: no validation image of {first_few(splits.unwatched)}: nobody will see how well it is learnt"
            )
        if (count := len(splits.train)) < config.train.batch_size:
            report(f"warning: all {count} training images are one batch, less than train.batch_size")
        if config.train.warmup_epochs >= config.train.epochs:
            report(
                f"warning: a warm-up of {config.train.warmup_epochs:g} epochs is all of {config.train.epochs}: the "
                "learning rate never gets to train.lr; lower train.warmup_epochs"
            )
        resuming = require_same_dataset(out, splits.dataset)
        seed_everything((config.seed,))
        network = first_network(config, splits, report, with_weights=not resuming)
        crops = open_crops(
            splits.dataset,
            (splits.train, splits.val),
            config.preprocess,
            folder=config.data.cache,
            stream=config.data.stream,
            report=report,
        )
        launch(fabric)
        share_batch_norms(network, fabric)
        loader, batches = training_batches(config, splits, crops[0], fabric)
        criterion = build_loss(config.train.long_tail, np.bincount(targets_of(splits.train, splits.classes)))
        make_targets = build_targets(config, splits.classes, splits.dataset.meta.fingerprint)
        learner = build_learner(
            fabric, network, make_targets, criterion, config.train, len(batches), config.seed, report
        )
        stop = stack.enter_context(_stoppable())
        history = _history(config, out, splits, learner, resuming, report)
        shown = flat(config.model_dump(mode="json"))
        logger = stack.enter_context(
            open_loggers(config.loggers if is_first() else (), out, config.name, shown, report)
        )
        logger(history.figures)
        targets = targets_of(splits.val, splits.classes)
        sizes = sizes_of(splits.val) if config.model.size else None
        context = RunContext(
            config, out, learner, loader, batches, crops[1], sizes, targets, history, report, logger, stop
        )
        return _run(context)


def _run(context: RunContext) -> RunState:
    """The loop, epoch by epoch, to the end of the run."""
    progress, config = context.progress, context.config
    while context.resuming:
        _learn_an_epoch(context)
        _end_epoch(context, validate(context))
    if progress.epoch < config.train.epochs:
        context.report(
            f"stopping: {progress.waited} epochs without a better validation macro-F1 than {progress.best:.4f}"
        )
    average_last_epochs(context)
    context.history.state = context.history.state.model_copy(update={"status": "finished"})
    if is_first():
        write_state(context.out, context.history.state)
        (context.out / CHECKPOINT_FILE).unlink(missing_ok=True)
        Soup(context.out, config.train.soup).discard()
    return context.history.state


# ---- before the first batch and beside all of them


def _history(
    config: TrainConfig, out: Path, splits: Splits, learner: Learner, resuming: bool, report: Report
) -> RunHistory:
    """Where the run is: at its checkpoint or at its begin. The run folder says so."""
    now = environment(name_of(learner.fabric))
    if resuming:
        history = load_checkpoint(out / CHECKPOINT_FILE, learner)
        for change in changes(history.state.environment, now):
            report(f"warning: not as the run began, so its last digits may differ: {change}")
        history.state = history.state.model_copy(update={"dataset": splits.dataset.root.absolute()})
        done = history.progress
        report(f"going on after epoch {done.epoch} of {config.train.epochs}, batch {done.batch}")
    else:
        history = RunHistory(RunProgress(), _first_state(splits, learner.network, now), [])
        report(f"training {config.model.backbone} on {len(splits.train)} images, {now['device']}")
    learner.fabric.barrier()  # nobody writes before everybody has read
    if is_first():
        write_config(out, config)
        write_state(out, history.state)
        write_metrics(out, history.figures)
    return history


def _first_state(splits: Splits, network: Normalized, made_with: dict[str, str]) -> RunState:
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


@contextmanager
def _logged(out: Path, report: Report) -> Iterator[Report]:
    """``report`` that writes `train.log` as well; silent in all processes but the first."""
    if not is_first():
        yield lambda event: None
        return
    with training_log(out) as log:

        def both(event: str | Step) -> None:
            if isinstance(event, str):
                log(event)
            elif event.validation is not None:
                figures = ", ".join(f"{name} {value:.4f}" for name, value in event.validation.headline.items())
                log(f"epoch {event.epoch} of {event.epochs}, loss {event.loss:.4f}, validation {figures}")
            report(event)

        yield both


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Yields an event that a SIGTERM sets: the run then ends after a batch, with a checkpoint of it."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- what is repeated


def _learn_an_epoch(context: RunContext) -> None:
    """The batches of an epoch that are still to be learnt from."""
    progress, learner, batches = context.progress, context.learner, context.batches
    every = 1 if learner.fabric.device.type == "cpu" else _READ_EVERY
    batches.start(progress.epoch + 1, progress.batch)
    losses: list[Tensor] = []
    with _in_one_line(), closing(prefetched(context.loader)) as feed:
        for batch in feed:
            losses.append(learner.step(progress.epoch * len(batches) + progress.batch, batch))
            progress.batch += 1
            if progress.batch % every == 0 or progress.batch == len(batches):
                _read(context, torch.stack(losses).sum(0))
                losses.clear()


@contextmanager
def _in_one_line() -> Iterator[None]:
    """What a worker process says of an image, without the traceback that the loader puts before it."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(str(error).rpartition("DatasetError: ")[2].strip()) from None


def _read(context: RunContext, losses: Tensor) -> None:
    """Looks at the losses of the last batches, keeps a checkpoint where it is time, and stops where it must."""
    progress, fabric = context.progress, context.learner.fabric
    stop = losses.new_tensor([float(context.stop.is_set())])
    reduced: Any = fabric.all_reduce(torch.cat((losses, stop)), reduce_op="mean")
    loss, chance, stopping = reduced.tolist()
    progress.total += loss
    progress.chance += chance
    _require_sane(context)
    context.report(context.step())
    due = time.monotonic() - context.saved >= 60 * context.config.train.checkpoint_minutes
    if is_first() and (due or stopping):
        save_progress(context)
    if stopping:
        fabric.barrier()  # a process that ends early has the first one killed, which still writes
        leave()
        raise SystemExit(128 + signal.SIGTERM)


def _require_sane(context: RunContext) -> None:
    progress = context.progress
    if not math.isfinite(progress.total):
        raise TrainingError(f"the loss is no longer a number ({context.place}); {context.advice}")
    if progress.batch >= min(_EXPLODED_AFTER, len(context.batches)) and progress.total > _EXPLODED * progress.chance:
        loss, chance = progress.total / progress.batch, progress.chance / progress.batch
        raise TrainingError(
            f"the loss explodes ({context.place}): {loss:.3g}, where a network that says nothing has {chance:.3g}; "
            + context.advice
        )


def _end_epoch(context: RunContext, confusion: Matrix) -> None:
    """Counts the epoch and keeps its weights and figures, the checkpoint last."""
    progress, history, metrics = context.progress, context.history, metrics_of(confusion)
    progress.epoch += 1
    progress.waited = 0 if metrics.macro_f1 > progress.best else progress.waited + 1
    found: dict[str, Any] = {"epoch": progress.epoch, "seconds": round(context.seconds, 1)}
    if progress.waited == 0:
        progress.best = metrics.macro_f1
        found |= best_weights(progress.epoch, confusion)
    history.state = history.state.model_copy(update=found)
    history.figures.append(context.figures(metrics))
    told = context.step(metrics)
    progress.batch, progress.total, progress.chance = 0, 0.0, 0.0
    if is_first():
        save_epoch(context)
    context.logger(history.figures)
    context.report(told)
