"""The output of `pelagia train`: a progress bar, and one line after each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pelagia.system import console
from pelagia_training.fit.context import Step


@contextmanager
def show_training() -> Iterator[Callable[[str | Step], None]]:
    """Yields the function that `pelagia_training.train.train` reports to."""
    with console.progress_bar("training") as update:

        def report(event: str | Step) -> None:
            if isinstance(event, str):
                console.note(event)
                return
            total = event.epochs * event.batches
            update(
                (event.epoch - 1) * event.batches + event.batch, total, f"epoch {event.epoch}, loss {event.loss:.3f}"
            )
            if event.validation is not None:
                scores = event.validation
                star = "  best" if event.best else ""
                console.note(
                    f"epoch {event.epoch:3}/{event.epochs}  loss {event.loss:.4f}  val macro-F1 {scores.macro_f1:.4f}  "
                    f"accuracy {scores.accuracy:.4f}{star}"
                )

        yield report
