"""The figures of a run, epoch by epoch, in `metrics.csv`; and what was said, in `train.log`.

Invariant: the checkpoint's list of figures is the truth, and `metrics.csv` is written from it, whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pelagia.files import write_text
from pelagia_training.run import LOG_FILE, METRICS_FILE


@dataclass(frozen=True)
class EpochFigures:
    """One row of `metrics.csv`."""

    epoch: int
    train_loss: float
    lr: float
    val_accuracy: float
    val_macro_f1: float
    val_balanced_accuracy: float

    @property
    def scalars(self) -> dict[str, float]:
        """The figures by the names that loggers show, such as ``val/macro_f1``."""
        return {name.replace("_", "/", 1): value for name, value in asdict(self).items() if name != "epoch"}


def write_metrics(folder: Path, figures: Sequence[EpochFigures]) -> None:
    """Writes `metrics.csv`."""
    lines = [",".join(column.name for column in fields(EpochFigures))]
    for one in figures:
        epoch, *values = asdict(one).values()
        lines.append(",".join((str(epoch), *(f"{value:.6g}" for value in values))))
    write_text(folder / METRICS_FILE, "\n".join(lines) + "\n")


@contextmanager
def run_log(folder: Path) -> Iterator[Callable[[str], None]]:
    """Yields a function that adds a line with the time to `train.log`; a full disk loses the line alone."""

    def log(text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n"
        with suppress(OSError), (folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(line)

    try:
        yield log
    except BaseException as error:
        log(f"ended: {type(error).__name__}: {error}".removesuffix(": "))
        raise
