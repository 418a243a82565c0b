"""The figures of a run, epoch by epoch: `metrics.csv` and what loggers make of it."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from pelagia_training.run import METRICS_FILE


@dataclass(frozen=True)
class EpochFigures:
    """One row of `metrics.csv`."""

    epoch: int
    train_loss: float
    lr: float
    val_accuracy: float
    val_macro_f1: float
    val_balanced_accuracy: float


class MetricsLog:
    """One row an epoch, in `metrics.csv` and for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / METRICS_FILE).open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(column.name for column in fields(EpochFigures))
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._board.close()

    def write(self, figures: EpochFigures) -> None:
        epoch, *values = asdict(figures).values()
        self._csv.writerow((epoch, *(f"{value:.6g}" for value in values)))
        self._file.flush()
        for column, value in zip(fields(figures)[1:], values, strict=True):
            self._board.add_scalar(column.name.replace("_", "/", 1), value, epoch)
        self._board.flush()
