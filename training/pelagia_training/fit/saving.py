"""The files that a run writes while it trains.

Invariant: only finite weights replace a file, and if the disk is full, the existing files stay complete.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from pelagia.errors import DiskFullError
from pelagia.system.files import is_full
from pelagia_training.devices import is_first
from pelagia_training.figures.metrics import Matrix, metrics_of
from pelagia_training.fit.checkpoint import require_finite, save_checkpoint
from pelagia_training.fit.context import RunContext
from pelagia_training.fit.validation import validate
from pelagia_training.runs.folder import BEST_FILE, CHECKPOINT_FILE, LAST_FILE, write_state
from pelagia_training.runs.logs import write_metrics
from pelagia_training.runs.soup import Soup
from pelagia_training.runs.weights import save_weights


def save_epoch(run: RunContext) -> None:
    """Writes the weights and metrics of the epoch that has just ended, then a checkpoint."""
    out, learner, progress = run.out, run.learner, run.progress
    with _disk_may_be_full(run):
        require_finite(learner, run.advice)
        if progress.epochs_without_gain == 0:
            save_weights(out / BEST_FILE, learner.evaluated, progress.epoch)
        save_weights(out / LAST_FILE, learner.evaluated, progress.epoch)
        Soup(out, run.soup_epochs).add(learner.evaluated, progress.epoch)
        write_metrics(out, run.history.metrics)
        write_state(out, run.history.state)
    save_run_checkpoint(run)


def average_last_epochs(run: RunContext) -> None:
    """Averages the weights of the last epochs, and keeps the average if it is better than every epoch.

    Without validation the average is always kept.
    """
    learner, progress = run.learner, run.progress
    soup = Soup(run.out, run.soup_epochs)
    learner.fabric.barrier()  # wait until the last epoch's weights are written
    average = soup.average()
    if average is None:
        return
    learner.evaluated.load_state_dict(average)
    validation = validate(run)
    if validation is None:
        better = True
        run.report("average of the last epochs: kept; nothing is validated")
    else:
        macro_f1 = metrics_of(validation.confusion).macro_f1
        better = macro_f1 > progress.best
        verdict = "kept" if better else f"not kept, because the best epoch has {progress.best:.4f}"
        run.report(f"average of the last epochs: validation macro-F1 {macro_f1:.4f}, {verdict}")
    if better:
        confusion = None if validation is None else validation.confusion
        run.history.state = run.history.state.model_copy(update=best_weights(progress.epoch, confusion))
        if is_first():
            with _disk_may_be_full(run):
                save_weights(run.out / BEST_FILE, learner.evaluated, progress.epoch)


def best_weights(epoch: int, confusion: Matrix | None) -> dict[str, Any]:
    """The entries of `run.json` about the weights to export; without a confusion matrix nothing was validated."""
    if confusion is None:
        return {"best_epoch": epoch}
    return {
        "best_epoch": epoch,
        "metrics": metrics_of(confusion).headline,
        "validation_confusion": tuple(map(tuple, confusion.tolist())),
    }


def save_run_checkpoint(run: RunContext) -> None:
    """Writes a checkpoint from which the run can resume."""
    now = replace(run.progress, seconds=run.seconds)
    with _disk_may_be_full(run):
        require_finite(run.learner, run.advice)
        save_checkpoint(run.out / CHECKPOINT_FILE, run.learner, replace(run.history, progress=now))
    run.saved = time.monotonic()


@contextmanager
def _disk_may_be_full(run: RunContext) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        exists = (run.out / CHECKPOINT_FILE).exists()
        kept = "the last checkpoint is intact" if exists else "no checkpoint has been written yet"
        raise DiskFullError(
            f"the disk of {run.out} is full ({run.place}); {kept}: free some space, then run the same command again "
            "to resume"
        ) from None
