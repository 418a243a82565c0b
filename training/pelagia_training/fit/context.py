"""A training run in progress, and its reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import Image
from pelagia_training.data.batches import Batches
from pelagia_training.figures.metrics import Metrics
from pelagia_training.fit.checkpoint import RunHistory, RunProgress
from pelagia_training.fit.learner import Learner
from pelagia_training.runs.folder import BEST_FILE
from pelagia_training.runs.loggers import Logger
from pelagia_training.runs.logs import EpochMetrics


@dataclass(frozen=True)
class Step:
    """The state of a run after a batch or an epoch.

    After a batch, ``validation`` and its loss are None; so they are after an epoch of a run without validation.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    validation: Metrics | None = None
    validation_loss: float | None = None
    best: bool = False
    ended: bool = False
    """Whether the epoch has ended."""
    what: str = ""
    """What is counted, if it is not the batches of an epoch."""


Report = Callable[[str | Step], None]
"""A function that is called with a message or with a `Step`."""


@dataclass
class RunContext:
    """A run in progress: the learner, its data, and its progress.

    Attributes:
        out: the run folder.
        epochs: the run ends after this many epochs.
        patience: the run also ends after this many epochs without a better validation macro-F1.
        soup_epochs: at the end, the weights of this many last epochs are averaged; 0: no average.
        checkpoint_seconds: the time between two checkpoints within an epoch.
        loader: yields the training batches.
        batches: chooses the images of each training batch.
        val_images: N images, each uint8 of S x S x 3, RGB, 0..255; none if all images are trained on.
        val_sizes: float32, N x 3 (width, height, pixel size in micrometers); None if the network takes no sizes.
        val_targets: int64, N, class indices.
        stop: an event that a SIGTERM sets.
        began: the time at which this process started the run.
        saved: the time of the last checkpoint.
    """

    out: Path
    epochs: int
    patience: int
    soup_epochs: int
    checkpoint_seconds: float
    learner: Learner
    loader: Any
    batches: Batches
    val_images: Sequence[Image]
    val_sizes: NDArray[np.float32] | None
    val_targets: NDArray[np.int64]
    history: RunHistory
    report: Report
    logger: Logger
    stop: threading.Event
    began: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> RunProgress:
        return self.history.progress

    @property
    def unfinished(self) -> bool:
        """Whether the run must train another epoch."""
        return self.progress.epoch < self.epochs and self.progress.epochs_without_gain < self.patience

    @property
    def step(self) -> int:
        """The number of the next step, counted from 0 over the entire run."""
        return self.progress.epoch * len(self.batches) + self.progress.batch

    @property
    def place(self) -> str:
        return f"epoch {self.progress.epoch + 1}, batch {self.progress.batch}"

    @property
    def seconds(self) -> float:
        """Total training time, including earlier starts of a resumed run."""
        return self.progress.seconds + time.monotonic() - self.began

    @property
    def advice(self) -> str:
        """What remains of a failed run, and what to try next."""
        kept = (
            f"the best weights so far are in {self.out / BEST_FILE}"
            if (self.out / BEST_FILE).exists()
            else "no epoch was finished"
        )
        lower = f"--set train.lr={self.learner.peak_rate / 3:.2g}"
        return f"{kept}. Try a lower learning rate in a new run: {lower}, or a longer warm-up (train.warmup_epochs)"

    def epoch_metrics(self, validation: Metrics | None, loss: float | None) -> EpochMetrics:
        """The row of `metrics.csv` for the epoch that has just ended; without validation, both are None."""
        progress, learner, batches = self.progress, self.learner, len(self.batches)
        return EpochMetrics(
            epoch=progress.epoch,
            train_loss=progress.loss_sum / batches,
            lr=learner.peak_rate * learner.rate(progress.epoch * batches),
            val_loss=loss,
            **({} if validation is None else {f"val_{name}": value for name, value in validation.headline.items()}),
        )

    def report_step(self, validation: Metrics | None = None, loss: float | None = None, *, ended: bool = False) -> Step:
        """The state to report after a batch or, if it has ``ended``, after an epoch."""
        progress = self.progress
        return Step(
            epoch=progress.epoch + (not ended),
            epochs=self.epochs,
            batch=progress.batch,
            batches=len(self.batches),
            loss=progress.loss_sum / progress.batch,
            validation=validation,
            validation_loss=loss,
            best=validation is not None and progress.epochs_without_gain == 0,
            ended=ended,
        )
