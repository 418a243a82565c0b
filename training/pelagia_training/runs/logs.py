"""The metrics of a run in `metrics.csv`, one row per epoch, and its messages in `train.log`.

Invariant: the metrics in the checkpoint are authoritative; `metrics.csv` is always written completely from them.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pelagia.errors import InputError, first_line
from pelagia.system.tables import write_table
from pelagia_training.runs.folder import LOG_FILE, METRICS_FILE


@dataclass(frozen=True)
class EpochMetrics:
    """One row of `metrics.csv`: the metrics of one epoch.

    The validation metrics are None if all images are trained on. A run with `train.head_only` has no training loss and
    no learning rate. ``val_loss`` is also None for the first epochs of a
    run that an older Pelagia started, which did not compute it.
    """

    epoch: int
    train_loss: float | None = None
    lr: float | None = None
    val_accuracy: float | None = None
    val_macro_f1: float | None = None
    val_balanced_accuracy: float | None = None
    val_loss: float | None = None

    @property
    def scalars(self) -> dict[str, float]:
        """The metrics, by the names that loggers show, such as ``val/macro_f1``."""
        values = {name: value for name, value in asdict(self).items() if name != "epoch" and value is not None}
        return {name.replace("_", "/", 1): value for name, value in values.items()}


def write_metrics(folder: Path, metrics: Sequence[EpochMetrics]) -> None:
    """Writes `metrics.csv`. A metric that no epoch has gets no column."""
    columns = [column.name for column in fields(EpochMetrics)]
    measured = [name for name in columns if not metrics or any(getattr(one, name) is not None for one in metrics)]
    rows = ([str(one.epoch), *(_cell(getattr(one, name)) for name in measured[1:])] for one in metrics)
    write_table(folder / METRICS_FILE, measured, rows, guard_formulas=False)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def read_metrics(folder: Path, epochs: int) -> list[EpochMetrics]:
    """Reads the `metrics.csv` of a run after ``epochs`` epochs. Raises InputError if it is missing or damaged."""
    try:
        with (folder / METRICS_FILE).open(encoding="utf-8", newline="") as file:
            metrics = [_epoch(row) for row in csv.DictReader(file)]
        if [one.epoch for one in metrics] != [*range(1, epochs + 1)]:
            raise ValueError(f"it does not have one row for each of {epochs} epochs")
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder / METRICS_FILE} is missing or damaged ({first_line(error)}): put it back, or choose another --out"
        ) from None
    return metrics


def _epoch(row: Mapping[str, str]) -> EpochMetrics:
    values = {name: float(value) for name, value in row.items() if value and name != "epoch"}
    return EpochMetrics(epoch=int(row["epoch"]), **values)


def read_curves(run: Path) -> dict[str, list[float]]:
    """Reads the columns of a run's `metrics.csv` that hold numbers; NaN stands for an empty cell.

    Raises:
        InputError: ``run`` is not a run, or its `metrics.csv` is damaged.
    """
    try:
        with (run / METRICS_FILE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        raise InputError(
            f"{run} is not a training run, because it has no {METRICS_FILE}: name another folder with --run"
        ) from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{run / METRICS_FILE} is damaged: leave out --run, or copy the run again") from None
    curves = {}
    for name in rows[0] if rows else ():
        try:
            curves[name] = [float(row[name] or "nan") for row in rows]
        except (TypeError, ValueError):
            continue
    return curves


@contextmanager
def training_log(folder: Path) -> Iterator[Callable[[str], None]]:
    """Yields a function that adds a line with the time to `train.log`. If the disk is full, only that line is lost."""

    def log(text: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n"
        with suppress(OSError), (folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(line)

    try:
        yield log
    except BaseException as error:
        log(f"ended: {type(error).__name__}: {error}".removesuffix(": "))
        raise
