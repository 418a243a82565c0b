"""What a training reports: a progress bar and one line per epoch on the terminal, and lines in `train.log`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pelagia.system import console
from pelagia_training.devices import is_first
from pelagia_training.fit.context import Report, Step
from pelagia_training.runs.logs import training_log

NOT_VALIDATED = "not validated: all images are trained on"


@contextmanager
def show_training() -> Iterator[Callable[[str | Step], None]]:
    """Yields the function that `pelagia_training.train.train` reports to."""
    with console.progress_bar("training") as update:

        def report(event: str | Step) -> None:
            if isinstance(event, str):
                console.note(event)
                return
            total = event.epochs * event.batches
            text = event.what or f"epoch {event.epoch}, loss {event.loss:.3f}"
            update((event.epoch - 1) * event.batches + event.batch, total, text)
            if event.ended and event.validation is None:
                console.note(f"epoch {event.epoch:3}/{event.epochs}  loss {event.loss:.4f}  {NOT_VALIDATED}")
            elif event.validation is not None:
                scores = event.validation
                star = "  best" if event.best else ""
                console.note(
                    f"epoch {event.epoch:3}/{event.epochs}  loss {event.loss:.4f}  val loss {event.validation_loss:.4f}"
                    f"  macro-F1 {scores.macro_f1:.4f}  accuracy {scores.accuracy:.4f}{star}"
                )

        yield report


@contextmanager
def logged(out: Path, report: Report) -> Iterator[Report]:
    """Yields ``report``, extended to also write `train.log`; only the first process reports."""
    if not is_first():
        yield lambda event: None
        return
    with training_log(out) as log:

        def both(event: str | Step) -> None:
            if isinstance(event, str):
                log(event)
            elif event.validation is not None:
                metrics = ", ".join(f"{name} {value:.4f}" for name, value in event.validation.headline.items())
                losses = f"loss {event.loss:.4f}, validation loss {event.validation_loss:.4f}"
                log(f"epoch {event.epoch} of {event.epochs}, {losses}, {metrics}")
            elif event.ended:
                log(f"epoch {event.epoch} of {event.epochs}, loss {event.loss:.4f}, {NOT_VALIDATED}")
            report(event)

        yield both
