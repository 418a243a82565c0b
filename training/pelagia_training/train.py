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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pelagia.errors import DatasetError, TrainingError, some
from pelagia.files import is_full
from pelagia.preprocess import Image
from pelagia_training.averaging import Soup
from pelagia_training.begin import Splits, first_network, read_splits, require_same_dataset, training_batches
from pelagia_training.checkpoint import Journey, Progress, load_checkpoint, require_finite, save_checkpoint
from pelagia_training.config import TrainConfig
from pelagia_training.crops import open_crops
from pelagia_training.data import Batches, Every, ahead, sizes_of, targets_of
from pelagia_training.devices import deterministic, is_first, launch, make_fabric, name_of, share_batch_norms
from pelagia_training.environment import changes, environment
from pelagia_training.learner import Learner, build_learner, seed_everything
from pelagia_training.loggers import Logger, open_loggers, require_loggers
from pelagia_training.logs import EpochFigures, run_log, write_metrics
from pelagia_training.losses import build_loss
from pelagia_training.metrics import Matrix, Metrics, confusion_matrix, metrics_of
from pelagia_training.network import Normalised
from pelagia_training.run import (
    BEST_FILE,
    CHECKPOINT_FILE,
    LAST_FILE,
    RunState,
    flat,
    open_run,
    save_weights,
    write_config,
    write_state,
)
from pelagia_training.teaching import build_teaching

_EVAL_BATCH = 64
_READ_EVERY = 10
"""Batches between two looks at the losses on a device that would have to wait for each."""
_EXPLODED = 5.0
"""A mean loss so many times that of a network which says nothing is a divergence..."""
_EXPLODED_AFTER = 20
"""...after so many batches of an epoch."""


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


@dataclass
class Course:
    """A run under way: what learns, from what, what is watched, and where it is."""

    config: TrainConfig
    out: Path
    learner: Learner
    loader: Any
    batches: Batches
    val_images: Sequence[Image]
    val_sizes: NDArray[np.float32] | None
    val_targets: NDArray[np.int64]
    journey: Journey
    report: Report
    logger: Logger
    stop: threading.Event
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> Progress:
        return self.journey.progress

    @property
    def goes_on(self) -> bool:
        return self.progress.epoch < self.config.train.epochs and self.progress.waited < self.config.train.patience

    @property
    def place(self) -> str:
        return f"epoch {self.progress.epoch + 1}, batch {self.progress.batch}"


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
        report = stack.enter_context(_logged(out, report))
        splits = read_splits(config, fabric.world_size)
        if splits.unwatched:
            report(f"warning: no validation image of {some(splits.unwatched)}: nobody will see how well it is learnt")
        goes_on = require_same_dataset(out, splits.dataset)
        crops = open_crops(
            splits.dataset,
            (splits.train, splits.val),
            config.preprocess,
            folder=config.data.cache,
            stream=config.data.stream,
            report=report,
        )
        seed_everything((config.seed,))
        network = first_network(config, splits, report, with_weights=not goes_on)
        launch(fabric)
        share_batch_norms(network, fabric)
        loader, batches = training_batches(config, splits, crops[0], fabric)
        criterion = build_loss(config.train.long_tail, np.bincount(targets_of(splits.train, splits.classes)))
        teaching = build_teaching(config, splits.classes, splits.dataset.meta.fingerprint)
        learner = build_learner(fabric, network, teaching, criterion, config.train, len(batches), config.seed, report)
        journey = _journey(config, out, splits, learner, goes_on, report)
        stop = stack.enter_context(_stoppable())
        shown = flat(config.model_dump(mode="json"))
        logger = stack.enter_context(
            open_loggers(config.loggers if is_first() else (), out, config.name, shown, report)
        )
        logger(journey.figures)
        targets = targets_of(splits.val, splits.classes)
        sizes = sizes_of(splits.val) if config.model.size else None
        course = Course(config, out, learner, loader, batches, crops[1], sizes, targets, journey, report, logger, stop)
        return _run(course)


def _run(course: Course) -> RunState:
    """The loop, epoch by epoch, to the end of the run."""
    progress, config = course.progress, course.config
    while course.goes_on:
        _learn_an_epoch(course)
        _end_epoch(course, _validate(course))
    if progress.epoch < config.train.epochs:
        course.report(
            f"stopping: {progress.waited} epochs without a better validation macro-F1 than {progress.best:.4f}"
        )
    _taste_soup(course)
    course.journey.state = course.journey.state.model_copy(update={"status": "finished"})
    if is_first():
        write_state(course.out, course.journey.state)
        (course.out / CHECKPOINT_FILE).unlink(missing_ok=True)
        Soup(course.out, config.train.soup).discard()
    return course.journey.state


@torch.no_grad()
def predict(
    model: nn.Module, images: Sequence[Image] | NDArray[np.uint8], sizes: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Logits of fitted images (N of uint8 S x S x 3), and their sizes (N x 3) where it takes them: float32 N x C."""
    model.eval()
    device = next(model.parameters()).device

    def batch(start: int) -> list[NDArray[Any]]:
        place = range(start, min(start + _EVAL_BATCH, len(images)))
        pixels = np.stack([images[index] for index in place])
        return [pixels] if sizes is None else [pixels, sizes[place.start : place.stop]]

    with closing(ahead(map(batch, range(0, len(images), _EVAL_BATCH)))) as batches:
        parts = [model(*(torch.from_numpy(one).to(device) for one in inputs)).float().cpu() for inputs in batches]
    return np.concatenate([part.numpy() for part in parts])


# ---- before the first batch and beside all of them


def _journey(
    config: TrainConfig, out: Path, splits: Splits, learner: Learner, goes_on: bool, report: Report
) -> Journey:
    """Where the run is: at its checkpoint or at its begin. The run folder says so."""
    now = environment(name_of(learner.fabric))
    if goes_on:
        journey = load_checkpoint(out / CHECKPOINT_FILE, learner)
        for change in changes(journey.state.environment, now):
            report(f"warning: not as the run began, so its last digits may differ: {change}")
        journey.state = journey.state.model_copy(update={"dataset": splits.dataset.root.absolute()})
        done = journey.progress
        report(f"going on after epoch {done.epoch} of {config.train.epochs}, batch {done.batch}")
    else:
        journey = Journey(Progress(), _first_state(splits, learner.network, now), [])
        report(f"training {config.model.backbone} on {len(splits.train)} images, {now['device']}")
    learner.fabric.barrier()  # nobody writes before everybody has read
    if is_first():
        write_config(out, config)
        write_state(out, journey.state)
        write_metrics(out, journey.figures)
    return journey


def _first_state(splits: Splits, network: Normalised, made_with: dict[str, str]) -> RunState:
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
    with run_log(out) as log:

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


def _learn_an_epoch(course: Course) -> None:
    """The batches of an epoch that are still to be learnt from."""
    progress, learner, batches = course.progress, course.learner, course.batches
    every = 1 if learner.fabric.device.type == "cpu" else _READ_EVERY
    batches.start(progress.epoch + 1, progress.batch)
    losses: list[Tensor] = []
    with _in_one_line(), closing(ahead(course.loader)) as feed:
        for batch in feed:
            losses.append(learner.step(progress.epoch * len(batches) + progress.batch, batch))
            progress.batch += 1
            if progress.batch % every == 0 or progress.batch == len(batches):
                _read(course, torch.stack(losses).sum(0))
                losses.clear()


@contextmanager
def _in_one_line() -> Iterator[None]:
    """What a worker process says of an image, without the traceback that the loader puts before it."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(str(error).rpartition("DatasetError: ")[2].strip()) from None


def _read(course: Course, losses: Tensor) -> None:
    """Looks at the losses of the last batches, keeps a checkpoint where it is time, and stops where it must."""
    progress, fabric = course.progress, course.learner.fabric
    stop = losses.new_tensor([float(course.stop.is_set())])
    reduced: Any = fabric.all_reduce(torch.cat((losses, stop)), reduce_op="mean")
    loss, chance, stopping = reduced.tolist()
    progress.total += loss
    progress.chance += chance
    _require_sane(course)
    course.report(_step(course))
    due = time.monotonic() - course.saved >= 60 * course.config.train.checkpoint_minutes
    if is_first() and (due or stopping):
        _checkpoint(course)
    if stopping:
        fabric.barrier()  # a process that ends early has the first one killed, which still writes
        raise SystemExit(128 + signal.SIGTERM if is_first() else 0)


def _require_sane(course: Course) -> None:
    progress = course.progress
    if not math.isfinite(progress.total):
        raise TrainingError(f"the loss is no longer a number ({course.place}); {_advice(course)}")
    if progress.batch >= min(_EXPLODED_AFTER, len(course.batches)) and progress.total > _EXPLODED * progress.chance:
        loss, chance = progress.total / progress.batch, progress.chance / progress.batch
        raise TrainingError(
            f"the loss explodes ({course.place}): {loss:.3g}, where a network that says nothing has {chance:.3g}; "
            + _advice(course)
        )


def _advice(course: Course) -> str:
    kept = (
        f"the best weights so far are in {course.out / BEST_FILE}"
        if (course.out / BEST_FILE).exists()
        else "no epoch was finished"
    )
    lower = f"--set train.lr={course.learner.peak_rate / 3:.2g}"
    return f"{kept}. Try a lower learning rate in a new run: {lower}, or a longer --set train.warmup_epochs"


def _validate(course: Course) -> Matrix:
    """Counts of the validation images by label and answer."""
    logits = _validation_logits(course)
    return confusion_matrix(course.val_targets, logits.argmax(1), logits.shape[1])


def _validation_logits(course: Course) -> NDArray[np.float32]:
    """Logits of all validation images, each process having computed its share."""
    fabric = course.learner.fabric
    share = Every(course.val_images, fabric.global_rank, fabric.world_size)
    sizes = None if course.val_sizes is None else course.val_sizes[fabric.global_rank :: fabric.world_size]
    logits = predict(course.learner.watched, share, sizes)
    if fabric.world_size == 1:
        return logits
    everything = torch.zeros((len(course.val_images), logits.shape[1]), device=fabric.device)
    everything[fabric.global_rank :: fabric.world_size] = torch.from_numpy(logits).to(fabric.device)
    reduced: Any = fabric.all_reduce(everything, reduce_op="sum")
    return np.asarray(reduced.cpu().numpy(), np.float32)


def _end_epoch(course: Course, confusion: Matrix) -> None:
    """Counts the epoch and keeps its weights and figures, the checkpoint last."""
    progress, journey, metrics = course.progress, course.journey, metrics_of(confusion)
    progress.epoch += 1
    progress.waited = 0 if metrics.macro_f1 > progress.best else progress.waited + 1
    found: dict[str, Any] = {"epoch": progress.epoch, "seconds": round(_seconds(course), 1)}
    if progress.waited == 0:
        progress.best = metrics.macro_f1
        found |= _best(progress.epoch, confusion)
    journey.state = journey.state.model_copy(update=found)
    journey.figures.append(_figures(course, metrics))
    told = _step(course, metrics)
    progress.batch, progress.total, progress.chance = 0, 0.0, 0.0
    if is_first():
        _keep(course)
    course.logger(journey.figures)
    course.report(told)


def _keep(course: Course) -> None:
    out, learner, progress = course.out, course.learner, course.progress
    with _disk_may_be_full(course):
        require_finite(learner, _advice(course))
        if progress.waited == 0:
            save_weights(out / BEST_FILE, learner.watched, progress.epoch)
        save_weights(out / LAST_FILE, learner.watched, progress.epoch)
        Soup(out, course.config.train.soup).add(learner.watched, progress.epoch)
        write_metrics(out, course.journey.figures)
        write_state(out, course.journey.state)
    _checkpoint(course)


def _taste_soup(course: Course) -> None:
    """Keeps the average of the last epochs' weights as the best, where it is better than any of them."""
    learner, progress = course.learner, course.progress
    soup = Soup(course.out, course.config.train.soup)
    learner.fabric.barrier()  # until the last epoch's weights are there
    average = soup.average()
    if average is None:
        return
    learner.watched.load_state_dict(average)
    confusion = _validate(course)
    metrics = metrics_of(confusion)
    better = metrics.macro_f1 > progress.best
    verdict = "kept" if better else f"no better than {progress.best:.4f}"
    course.report(f"average of the last epochs: validation macro-F1 {metrics.macro_f1:.4f}, {verdict}")
    if better:
        course.journey.state = course.journey.state.model_copy(update=_best(progress.epoch, confusion))
        if is_first():
            with _disk_may_be_full(course):
                save_weights(course.out / BEST_FILE, learner.watched, progress.epoch)


def _best(epoch: int, confusion: Matrix) -> dict[str, Any]:
    """What `run.json` says of the weights that are kept."""
    return {
        "best_epoch": epoch,
        "metrics": metrics_of(confusion).headline,
        "validation_confusion": tuple(map(tuple, confusion.tolist())),
    }


def _checkpoint(course: Course) -> None:
    now = replace(course.progress, seconds=_seconds(course))
    with _disk_may_be_full(course):
        require_finite(course.learner, _advice(course))
        save_checkpoint(course.out / CHECKPOINT_FILE, course.learner, replace(course.journey, progress=now))
    course.saved = time.monotonic()


@contextmanager
def _disk_may_be_full(course: Course) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        exists = (course.out / CHECKPOINT_FILE).exists()
        kept = "the checkpoint before it is whole" if exists else "nothing was kept yet"
        raise TrainingError(
            f"the disk of {course.out} is full ({course.place}); {kept}: free some space and run the same command "
            "again, it goes on"
        ) from None


def _seconds(course: Course) -> float:
    return course.progress.seconds + time.monotonic() - course.began


def _figures(course: Course, metrics: Metrics) -> EpochFigures:
    progress, learner, batches = course.progress, course.learner, len(course.batches)
    return EpochFigures(
        epoch=progress.epoch,
        train_loss=progress.total / batches,
        lr=learner.peak_rate * learner.rate(progress.epoch * batches),
        val_accuracy=metrics.accuracy,
        val_macro_f1=metrics.macro_f1,
        val_balanced_accuracy=metrics.balanced_accuracy,
    )


def _step(course: Course, validation: Metrics | None = None) -> Step:
    progress = course.progress
    return Step(
        epoch=progress.epoch + (validation is None),
        epochs=course.config.train.epochs,
        batch=progress.batch,
        batches=len(course.batches),
        loss=progress.total / progress.batch,
        validation=validation,
        best=validation is not None and progress.waited == 0,
    )
