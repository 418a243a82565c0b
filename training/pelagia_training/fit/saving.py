"""What a run leaves on the disk while it goes on.

Invariant: only weights that are numbers replace others, and on a full disk what stood there before is whole.
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
from pelagia_training.runs.folder import BEST_FILE, CHECKPOINT_FILE, LAST_FILE, save_weights, write_state
from pelagia_training.runs.logs import write_metrics
from pelagia_training.runs.soup import Soup


def save_epoch(context: RunContext) -> None:
    """Writes the weights and figures of the epoch that is just over, the checkpoint last."""
    out, learner, progress = context.out, context.learner, context.progress
    with _disk_may_be_full(context):
        require_finite(learner, context.advice)
        if progress.waited == 0:
            save_weights(out / BEST_FILE, learner.watched, progress.epoch)
        save_weights(out / LAST_FILE, learner.watched, progress.epoch)
        Soup(out, context.config.train.soup).add(learner.watched, progress.epoch)
        write_metrics(out, context.history.figures)
        write_state(out, context.history.state)
    save_progress(context)


def average_last_epochs(context: RunContext) -> None:
    """Keeps the average of the last epochs' weights as the best, where it is better than any of them."""
    learner, progress = context.learner, context.progress
    soup = Soup(context.out, context.config.train.soup)
    learner.fabric.barrier()  # until the last epoch's weights are there
    average = soup.average()
    if average is None:
        return
    learner.watched.load_state_dict(average)
    confusion = validate(context)
    metrics = metrics_of(confusion)
    better = metrics.macro_f1 > progress.best
    verdict = "kept" if better else f"no better than {progress.best:.4f}"
    context.report(f"average of the last epochs: validation macro-F1 {metrics.macro_f1:.4f}, {verdict}")
    if better:
        context.history.state = context.history.state.model_copy(update=best_weights(progress.epoch, confusion))
        if is_first():
            with _disk_may_be_full(context):
                save_weights(context.out / BEST_FILE, learner.watched, progress.epoch)


def best_weights(epoch: int, confusion: Matrix) -> dict[str, Any]:
    """What `run.json` says of the weights that are kept."""
    return {
        "best_epoch": epoch,
        "metrics": metrics_of(confusion).headline,
        "validation_confusion": tuple(map(tuple, confusion.tolist())),
    }


def save_progress(context: RunContext) -> None:
    """Writes what the run needs to go on from here."""
    now = replace(context.progress, seconds=context.seconds)
    with _disk_may_be_full(context):
        require_finite(context.learner, context.advice)
        save_checkpoint(context.out / CHECKPOINT_FILE, context.learner, replace(context.history, progress=now))
    context.saved = time.monotonic()


@contextmanager
def _disk_may_be_full(context: RunContext) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        exists = (context.out / CHECKPOINT_FILE).exists()
        kept = "the checkpoint before it is whole" if exists else "nothing was kept yet"
        raise DiskFullError(
            f"the disk of {context.out} is full ({context.place}); {kept}: free some space and run the same command "
            "again, it goes on"
        ) from None
