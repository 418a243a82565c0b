"""`pelagia train`: the training loop of one run, in the order of execution.

    pelagia train configs/training/tiny_cpu.yaml --set dataset=DATASET --out RUN
    pelagia train configs/training/baseline.yaml --set dataset=DATASET --set train.epochs=20 --out RUN

Only this module reads the config of the new run; the modules that it calls get plain values.

Shapes: N is the number of images, S the side of an image in pixels, C the number of classes.
Images are uint8, N x S x S x 3; logits are float32, N x C.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from pelagia.errors import Interrupted, TrainingError
from pelagia.images.preprocess import Image
from pelagia.system.paths import StrPath
from pelagia_training.config import TrainConfig
from pelagia_training.data.augment import build_augment
from pelagia_training.data.batches import (
    Batches,
    TrainingImages,
    loader_error_in_one_line,
    prefetched,
    sizes_of,
    targets_of,
)
from pelagia_training.data.crops import open_crops
from pelagia_training.data.sampling import build_order
from pelagia_training.data.sides import growing
from pelagia_training.data.soft import training_labels
from pelagia_training.data.splits import Splits
from pelagia_training.devices import (
    deterministic,
    is_first,
    launch,
    make_fabric,
    memory_kept,
    share_batch_norms,
    stop_on_sigterm,
)
from pelagia_training.export.dry import check_export
from pelagia_training.figures.metrics import metrics_of
from pelagia_training.fit.begin import begin_history, prolonged_after
from pelagia_training.fit.console import logged
from pelagia_training.fit.context import Report, RunContext
from pelagia_training.fit.learner import Learner, build_learner, seed_everything
from pelagia_training.fit.prepare import (
    first_network,
    read_data,
    require_sides,
    training_batches,
)
from pelagia_training.fit.saving import average_last_epochs, best_weights, save_epoch, save_run_checkpoint
from pelagia_training.fit.schedule import Rate, build_schedule, restarted
from pelagia_training.fit.targets import TargetBuilder, load_teachers
from pelagia_training.fit.validation import Validation, validate
from pelagia_training.head.fit import fit_head
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import build_loss
from pelagia_training.network.optim import build_optimizer, require_optimizer
from pelagia_training.runs.check import Begin, require_dataset_there, require_final, resumes
from pelagia_training.runs.folder import CHECKPOINT_FILE, FinalFit, RunState, flat, open_run, run_name, write_state
from pelagia_training.runs.loggers import open_loggers, require_loggers
from pelagia_training.runs.soup import Soup

_READ_EVERY = 10
"""On a GPU, the number of batches between two reads of the loss: each read makes the CPU wait for the GPU."""
_DIVERGED = 5.0
"""The loss diverges if its mean is more than this many times the loss of a uniform guess."""
_DIVERGED_AFTER = 20
"""Divergence is checked after this many batches of an epoch."""


def train(
    config: TrainConfig,
    out: StrPath,
    report: Report = lambda event: None,
    *,
    resume: bool = True,
    dry_export: bool = False,
    final: FinalFit | None = None,
) -> RunState:
    """Trains a network on the train split, validates it on the val split, and writes the run folder ``out``.

    An interrupted run resumes from its last checkpoint with the same result, unless ``resume`` is False.

    Args:
        report: a function that is called with messages, and with the state after each batch and epoch.
        dry_export: whether to check that the network can be exported before a new run begins.
        final: what `plan_final` gives for a run on all images, which validates nothing.

    Returns:
        The content of `run.json` of the finished run.

    Raises:
        ConfigError, InputError, DatasetError: the config, the weights, the dataset or the run folder is unusable.
        TrainingError, Interrupted: the loss diverges, or the memory or the disk is too small; a SIGTERM arrived.
    """
    _require_usable(config, final, out := Path(out))
    if config.train.head_only:
        return fit_head(config, out, report, resume=resume, final=final)
    fabric = make_fabric(config.device, config.precision, config.devices, config.nodes)
    with ExitStack() as stack:
        stack.enter_context(open_run(out, config, resume) if is_first() else nullcontext())
        stack.enter_context(deterministic(fabric))
        stack.enter_context(memory_kept())
        report = stack.enter_context(logged(out, report))
        run = _prepare(config, out, fabric, report, stack, dry_export, final)
        run.logger(run.history.metrics)
        while run.unfinished:
            _train_epoch(run)
            _end_epoch(run, validate(run))
        return _finish(run)


# ---- the loop


def _train_epoch(run: RunContext) -> None:
    """Trains on the remaining batches of the epoch."""
    progress, batches = run.progress, run.batches
    read_every = 1 if run.learner.fabric.device.type == "cpu" else _READ_EVERY
    batches.start(progress.epoch + 1, progress.batch)
    losses: list[Tensor] = []
    with loader_error_in_one_line(), closing(prefetched(run.loader)) as loaded:
        for batch in loaded:
            losses.append(train_step(run.learner, run.step, batch))
            progress.batch += 1
            if progress.batch % read_every == 0 or progress.batch == len(batches):
                _read_losses(run, torch.stack(losses).sum(0))
                losses.clear()


def train_step(learner: Learner, step: int, batch: Sequence[Tensor]) -> Tensor:
    """One optimizer step. ``batch`` holds the network inputs, then the labels.

    Returns:
        float32, 2 values: the loss, and the loss of a network that gives every class the same probability.

    Raises:
        TrainingError: not even one image fits into the memory.
    """
    learner.set_rate(step)
    learner.wrapped.train()
    losses = learner.within_memory(lambda: _gradients(learner, step, batch), count=len(batch[-1]))
    learner.fabric.clip_gradients(
        learner.wrapped, learner.optimizer, max_norm=learner.clip_grad, error_if_nonfinite=False
    )
    learner.optimizer.step()
    learner.optimizer.zero_grad()
    if learner.average:
        learner.average.update(learner.network, step=step + 1)
    return losses


def _gradients(learner: Learner, step: int, batch: Sequence[Tensor]) -> Tensor:
    """Forward, loss and backward, in micro-batches. The result equals that of the full batch, except for batch norm."""
    key = learner.random_key(step)
    seed_everything(key)
    *inputs, labels = batch
    prepared = learner.make_targets(inputs, labels, key)
    losses = torch.zeros(2, device=prepared[-1].device)
    for (*images, targets), share, last in learner.micro_batches(prepared):
        with learner.synchronized(last):
            logits = learner.wrapped(*images)
            loss = learner.criterion(logits, targets)
            learner.fabric.backward(loss * share if share < 1 else loss)
        with torch.no_grad():
            uniform_loss = learner.criterion(torch.zeros_like(logits), targets)
            losses += torch.stack((loss.detach(), uniform_loss)).float() * share
    return losses


def _read_losses(run: RunContext, losses: Tensor) -> None:
    """Adds the losses of the last batches, writes a checkpoint if one is due, and stops if the loss diverges or a
    SIGTERM arrived."""
    progress, fabric = run.progress, run.learner.fabric
    stop = losses.new_tensor([float(run.stop.is_set())])
    reduced: Any = fabric.all_reduce(torch.cat((losses, stop)), reduce_op="mean")
    loss, uniform_loss, stopping = reduced.tolist()
    progress.loss_sum += loss
    progress.uniform_loss_sum += uniform_loss
    _require_convergence(run)
    run.report(run.report_step())
    due = time.monotonic() - run.saved >= run.checkpoint_seconds
    if is_first() and (due or stopping):
        save_run_checkpoint(run)
    if stopping:
        fabric.barrier()  # if another process ended now, the launcher would kill the first one while it writes
        raise Interrupted(f"interrupted by SIGTERM ({run.place}); a checkpoint was written to {run.out}")


def _require_convergence(run: RunContext) -> None:
    """Raises TrainingError if the loss is not finite or diverges."""
    progress = run.progress
    if not math.isfinite(progress.loss_sum):
        raise TrainingError(f"the loss is not a finite number ({run.place}); {run.advice}")
    enough = progress.batch >= min(_DIVERGED_AFTER, len(run.batches))
    if enough and progress.loss_sum > _DIVERGED * progress.uniform_loss_sum:
        loss, uniform_loss = progress.loss_sum / progress.batch, progress.uniform_loss_sum / progress.batch
        raise TrainingError(
            f"the loss diverges ({run.place}): it is {loss:.3g}, but a uniform guess gives {uniform_loss:.3g}; "
            + run.advice
        )


def _end_epoch(run: RunContext, validation: Validation | None) -> None:
    """Increments the epoch counter, then saves the weights, the metrics and finally a checkpoint."""
    progress, history = run.progress, run.history
    confusion, loss = (None, None) if validation is None else (validation.confusion, validation.loss)
    metrics = None if confusion is None else metrics_of(confusion)
    progress.epoch += 1
    is_best = metrics is None or metrics.macro_f1 > progress.best
    progress.epochs_without_gain = 0 if is_best else progress.epochs_without_gain + 1
    found: dict[str, Any] = {"epoch": progress.epoch, "seconds": round(run.seconds, 1)}
    if is_best:
        progress.best = progress.best if metrics is None else metrics.macro_f1
        found |= best_weights(progress.epoch, confusion)
    history.state = history.state.model_copy(update=found)
    history.metrics.append(run.epoch_metrics(metrics, loss))
    epoch_report = run.report_step(metrics, loss, ended=True)
    progress.batch, progress.loss_sum, progress.uniform_loss_sum = 0, 0.0, 0.0
    if is_first():
        save_epoch(run)
    run.logger(history.metrics)
    run.report(epoch_report)


def _finish(run: RunContext) -> RunState:
    """Averages the weights of the last epochs if the config asks for it, and marks the run as finished."""
    progress = run.progress
    if progress.epoch < run.epochs:
        run.report(
            f"stopping early: for {progress.epochs_without_gain} epochs, the validation macro-F1 was not better than "
            f"{progress.best:.4f}"
        )
    average_last_epochs(run)
    run.history.state = run.history.state.model_copy(update={"status": "finished"})
    if is_first():
        write_state(run.out, run.history.state)
        (run.out / CHECKPOINT_FILE).unlink(missing_ok=True)
        Soup(run.out, run.soup_epochs).discard()
    return run.history.state


# ---- before the first batch


def _require_usable(config: TrainConfig, final: FinalFit | None, out: Path) -> None:
    require_final(config, final, out)
    require_loggers(config.loggers)
    require_optimizer(config.train.optimizer, config.train.optimizer_options)


def _prepare(
    config: TrainConfig, out: Path, fabric: Fabric, report: Report, stack: ExitStack, dry: bool, final: FinalFit | None
) -> RunContext:
    """Builds data, network and learner, and loads the run's checkpoint if there is one."""
    require_dataset_there(out, config)
    splits = read_data(config, fabric.world_size, report)
    begin = resumes(out, config, splits.dataset)
    seed_everything((config.seed,))
    network = _first_network(config, splits, begin, dry, report)
    crops, val_crops = _open_crops(config, splits, report)
    launch(fabric)
    share_batch_norms(network, fabric)
    loader, batches = _load_batches(config, splits, crops, fabric)
    rate = _schedule(config, out, begin, len(batches))
    learner = _build_learner(config, fabric, network, splits, rate, len(batches), report)
    stop = stack.enter_context(stop_on_sigterm())
    history = begin_history(config, out, splits, learner, begin, report, final)
    loggers, settings = config.loggers if is_first() else (), flat(config.model_dump(mode="json"))
    return RunContext(
        out=out,
        epochs=final.epochs if final else config.train.epochs,
        patience=config.train.patience,
        soup_epochs=config.train.soup,
        checkpoint_seconds=60 * config.train.checkpoint_minutes,
        learner=learner,
        loader=loader,
        batches=batches,
        val_images=val_crops,
        val_sizes=sizes_of(splits.val) if config.model.size else None,
        val_targets=targets_of(splits.val, splits.classes),
        history=history,
        report=report,
        logger=stack.enter_context(open_loggers(loggers, out, run_name(out), settings, report)),
        stop=stop,
    )


def _first_network(config: TrainConfig, splits: Splits, begin: Begin, dry_export: bool, report: Report) -> Normalized:
    """The network with its first weights; with ``dry_export``, that of a new run is exported and compared."""
    side, split = config.preprocess.size, config.data.resplit
    network = first_network(config.model, splits, side, split, report, with_weights=begin == "no")
    require_sides(network, config)
    if dry_export and begin == "no" and is_first():
        check_export(config, splits.dataset, splits.val or splits.train, network, report)
    return network


def _open_crops(config: TrainConfig, splits: Splits, report: Report) -> Sequence[Sequence[Image]]:
    """The fitted images for training and for validation."""
    rows, data = (splits.train, splits.val), config.data
    return open_crops(splits.dataset, rows, config.preprocess, folder=data.cache, stream=data.stream, report=report)


def _load_batches(config: TrainConfig, splits: Splits, crops: Sequence[Image], fabric: Fabric) -> tuple[Any, Batches]:
    targets = targets_of(splits.train, splits.classes)
    sizes = sizes_of(splits.train) if config.model.size else None
    labels = training_labels(splits.train, splits.classes, soft=config.train.soft_labels)
    side = growing(config.train.epochs, config.train.first_size, config.preprocess.size)
    images = TrainingImages(crops, labels, build_augment(config.augment), config.seed, sizes, side)
    order = build_order(config.train.long_tail, targets, config.seed)
    return training_batches(images, order, config.train.batch_size, fabric, config.data.workers)


def _schedule(config: TrainConfig, out: Path, begin: Begin, steps: int) -> Rate:
    """The learning rate of each step, for ``steps`` steps per epoch."""
    settings = config.train
    rate = build_schedule(
        settings.scheduler,
        settings.scheduler_options,
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        steps=steps,
        lr=settings.lr,
    )
    again = prolonged_after(out, begin)
    return restarted(rate, again * steps, settings.warmup_epochs * steps) if again else rate


def _build_learner(
    config: TrainConfig, fabric: Fabric, network: Normalized, splits: Splits, rate: Rate, steps: int, report: Report
) -> Learner:
    """A learner that makes ``steps`` steps per epoch."""
    settings = config.train
    optimizer = build_optimizer(
        network,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
        frozen_steps=settings.freeze_epochs * steps,
        name=settings.optimizer,
        options=settings.optimizer_options,
    )
    return build_learner(
        fabric,
        network,
        optimizer,
        _build_targets(config, splits),
        build_loss(settings.long_tail, np.bincount(targets_of(splits.train, splits.classes))),
        rate=rate,
        batch_size=settings.batch_size,
        seed=config.seed,
        report=report,
        micro_batch=settings.micro_batch,
        clip_grad=settings.clip_grad,
        ema_decay=settings.ema_decay,
        compiled=settings.compile,
    )


def _build_targets(config: TrainConfig, splits: Splits) -> TargetBuilder:
    settings, distil = config.train, config.train.distil
    teachers = load_teachers(
        distil.teachers,
        splits.classes,
        splits.dataset.meta.fingerprint,
        preprocess=config.preprocess,
        split=config.data.resplit,
        long_tail=settings.long_tail,
        takes_sizes=config.model.size,
    )
    return TargetBuilder(
        classes=len(splits.classes),
        smoothing=settings.label_smoothing,
        mixup=settings.mixup,
        cutmix=settings.cutmix,
        teachers=teachers,
        weight=distil.weight,
        temperature=distil.temperature,
    )
