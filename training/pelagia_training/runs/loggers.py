"""TensorBoard, MLflow and Weights & Biases: each gets the metrics of those epochs that it does not have yet.

Invariant: each time, a logger gets all metrics of the run and sends the new ones. So there is no gap and no duplicate
after a run was resumed or a server was unavailable for an hour. A logger that fails never stops the training, and no
call waits longer than a few seconds for a server: `_PATIENCE` shortens the libraries' own waiting, which is minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pelagia.errors import MissingExtra, first_line
from pelagia.system.files import write_text
from pelagia_training.runs.logs import EpochMetrics

Logger = Callable[[Sequence[EpochMetrics]], None]
"""A function that is called with the metrics of all finished epochs."""

PROJECT = "pelagia"
_SENT_FILE = "wandb.json"
_MLFLOW_FILE = "mlflow.txt"
_SERVERS = ("mlflow", "wandb")
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "WANDB_INIT_TIMEOUT": "10"}
"""Environment variables that MLflow and Weights & Biases read: seconds, and the number of further tries."""


def require_loggers(names: Sequence[str]) -> None:
    """Raises MissingExtra if a logger's package is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise MissingExtra(f"the logger '{name}'", name, name)


@contextmanager
def open_loggers(
    names: Sequence[str], folder: Path, run: str, config: Mapping[str, Any], report: Callable[[str], None]
) -> Iterator[Logger]:
    """Yields one logger that sends to all loggers in ``names``.

    Args:
        folder: the run folder.
        run: the run's name.
        config: the run's parameters, by dotted keys.
        report: a function that is called with warnings.
    """
    makers: dict[str, Callable[[Path, str, Mapping[str, Any]], AbstractContextManager[Logger]]]
    makers = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    with ExitStack() as stack:
        stack.enter_context(_little_patience())
        opened: dict[str, Logger] = {}
        for name in names:
            if name in _SERVERS:
                report(f"connecting to {name}")
            try:
                opened[name] = stack.enter_context(_closed_in_peace(name, makers[name](folder, run, config), report))
            except Exception as error:  # each library raises different errors for its server and login
                report(
                    f"warning: {name} gets no metrics until the run is resumed, because it does not answer or refuses: "
                    f"{first_line(error)}; to train without it, give loggers=[tensorboard]"
                )

        def send(metrics: Sequence[EpochMetrics]) -> None:
            for name, log in opened.items():
                try:
                    log(metrics)
                except Exception as error:  # as above
                    report(
                        f"warning: {name} did not get the metrics of epoch {len(metrics)}; it tries again after the "
                        f"next epoch: {first_line(error)}"
                    )

        yield send


@contextmanager
def _little_patience() -> Iterator[None]:
    """Sets the waiting times of `_PATIENCE`, except those that the user has set, and removes them at the end."""
    own = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


@contextmanager
def _closed_in_peace(
    name: str, logger: AbstractContextManager[Logger], report: Callable[[str], None]
) -> Iterator[Logger]:
    """Opens and closes a logger. An error while it is closed is reported, and does not replace another error."""
    log = logger.__enter__()
    error: BaseException | None = None
    try:
        yield log
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            logger.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except Exception as failed:
            if failed is not error:
                report(f"warning: {name} was not told that the run ended: {first_line(failed)}")


@contextmanager
def _tensorboard(folder: Path, run: str, config: Mapping[str, Any]) -> Iterator[Logger]:
    """Writes event files; each start of the run writes all of them again."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    board = SummaryWriter(str(folder / "tensorboard"))
    sent: set[int] = set()

    def log(metrics: Sequence[EpochMetrics]) -> None:
        for one in metrics:
            if one.epoch not in sent:
                for name, value in one.scalars.items():
                    board.add_scalar(name, value, one.epoch)
                sent.add(one.epoch)
        board.flush()

    try:
        yield log
    finally:
        board.close()


@contextmanager
def _mlflow(folder: Path, run: str, config: Mapping[str, Any]) -> Iterator[Logger]:
    """Opens a run on the server of MLFLOW_TRACKING_URI or in MLflow's default store; saves its id in the run folder."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient()
    file = folder / _MLFLOW_FILE
    if not file.is_file():
        found = client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else client.create_experiment(PROJECT)
        run_id: str = client.create_run(experiment, run_name=run).info.run_id
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in config.items()])
        write_text(file, run_id + "\n")
    run_id = file.read_text(encoding="utf-8").strip()
    client.set_terminated(run_id, "RUNNING")
    last = dict.fromkeys(EpochMetrics(0, 0, 0, 0, 0, 0, 0).scalars, 0)

    def log(metrics: Sequence[EpochMetrics]) -> None:
        for name, epoch in last.items():
            sent = epoch or max((metric.step for metric in client.get_metric_history(run_id, name)), default=0)
            for one in metrics:
                if one.epoch > sent and name in one.scalars:
                    client.log_metric(run_id, name, one.scalars[name], step=one.epoch)
            last[name] = len(metrics)

    try:
        yield log
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


@contextmanager
def _wandb(folder: Path, run: str, config: Mapping[str, Any]) -> Iterator[Logger]:
    """Opens a run online, or in the run folder if WANDB_MODE=offline; saves its progress in the run folder."""
    import wandb

    file = folder / _SENT_FILE
    sent: dict[str, Any] = {"id": uuid.uuid4().hex[:8], "epoch": 0}
    if file.is_file():
        sent = json.loads(file.read_text(encoding="utf-8"))
    options = {"config": dict(config), "settings": wandb.Settings(silent=True, console="off")}
    opened = wandb.init(project=PROJECT, name=run, id=sent["id"], resume="allow", dir=str(folder), **options)

    def log(metrics: Sequence[EpochMetrics]) -> None:
        for one in metrics[sent["epoch"] :]:
            opened.log(one.scalars, step=one.epoch)
            sent["epoch"] = one.epoch
            write_text(file, json.dumps(sent) + "\n")

    try:
        yield log
    except BaseException:
        opened.finish(exit_code=1)
        raise
    opened.finish()
