"""A training run under way, and what it tells of itself."""

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
from pelagia_training.config import TrainConfig
from pelagia_training.data.batches import Batches
from pelagia_training.figures.metrics import Metrics
from pelagia_training.fit.checkpoint import RunHistory, RunProgress
from pelagia_training.fit.learner import Learner
from pelagia_training.runs.folder import BEST_FILE
from pelagia_training.runs.loggers import Logger
from pelagia_training.runs.logs import EpochMetrics


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
class RunContext:
    """A run under way: what learns, from what, what is watched, and where it is."""

    config: TrainConfig
    out: Path
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
    def resuming(self) -> bool:
        return self.progress.epoch < self.config.train.epochs and self.progress.waited < self.config.train.patience

    @property
    def place(self) -> str:
        return f"epoch {self.progress.epoch + 1}, batch {self.progress.batch}"

    @property
    def seconds(self) -> float:
        """Spent on the run, in all its starts."""
        return self.progress.seconds + time.monotonic() - self.began

    @property
    def advice(self) -> str:
        """What is kept of a run that cannot go on as it is, and what to try."""
        kept = (
            f"the best weights so far are in {self.out / BEST_FILE}"
            if (self.out / BEST_FILE).exists()
            else "no epoch was finished"
        )
        lower = f"--set train.lr={self.learner.peak_rate / 3:.2g}"
        return f"{kept}. Try a lower learning rate in a new run: {lower}, or a longer --set train.warmup_epochs"

    def figures(self, metrics: Metrics) -> EpochMetrics:
        """The row of the epoch that is just over."""
        progress, learner, batches = self.progress, self.learner, len(self.batches)
        return EpochMetrics(
            epoch=progress.epoch,
            train_loss=progress.total / batches,
            lr=learner.peak_rate * learner.rate(progress.epoch * batches),
            val_accuracy=metrics.accuracy,
            val_macro_f1=metrics.macro_f1,
            val_balanced_accuracy=metrics.balanced_accuracy,
        )

    def step(self, validation: Metrics | None = None) -> Step:
        """What is reported after a batch, or with ``validation`` after an epoch."""
        progress = self.progress
        return Step(
            epoch=progress.epoch + (validation is None),
            epochs=self.config.train.epochs,
            batch=progress.batch,
            batches=len(self.batches),
            loss=progress.total / progress.batch,
            validation=validation,
            best=validation is not None and progress.waited == 0,
        )
