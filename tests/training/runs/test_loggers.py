"""MLflow and Weights & Biases, with a local database and offline; skipped where they are not installed."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import Interrupted, MissingExtra
from pelagia_training.config import TrainConfig
from pelagia_training.runs import loggers
from pelagia_training.runs.folder import run_name
from pelagia_training.runs.loggers import open_loggers, require_loggers
from pelagia_training.runs.logs import EpochMetrics
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")
FIGURES = [EpochMetrics(epoch, 1.0 / epoch, 0.1, 0.2, 0.3 + epoch / 100, 0.4) for epoch in (1, 2, 3)]


def test_a_logger_that_is_not_installed_is_refused_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia_training.runs.loggers.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"the logger 'mlflow' needs the package 'mlflow', .*\[mlflow\]'"):
        require_loggers(["mlflow"])


def test_mlflow_hears_of_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs pip install 'pelagia[mlflow]'")
    monkeypatch.setenv("DO_NOT_TRACK", "true")  # MLflow reports its use to its makers
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    said: list[str] = []
    for known in (1, 2, 3):  # broken off after each epoch
        with open_loggers(["mlflow"], tmp_path, "first", {"train.lr": 0.1}, said.append) as tell:
            tell(FIGURES[:known])
            tell(FIGURES[:known])
    assert said == ["connecting to mlflow"] * 3
    client = mlflow.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("pelagia").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.lr": "0.1"}
    heard = client.get_metric_history(run.info.run_id, "val/macro_f1")
    assert [(one.step, one.value) for one in heard] == [(one.epoch, one.val_macro_f1) for one in FIGURES]


def test_a_server_that_is_away_costs_seconds_and_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="needs pip install 'pelagia[mlflow]'")
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    with socket.socket() as silent:  # it accepts connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(loggers, "_PATIENCE", {**loggers._PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
        said: list[str] = []
        with open_loggers(["mlflow"], tmp_path, "first", {}, said.append) as tell:
            tell(FIGURES)
    assert said[0] == "connecting to mlflow"
    assert said[1].startswith("warning: mlflow gets no metrics until the run is resumed, because it does not answer ")
    assert said[1].endswith("; to train without it, give loggers=[tensorboard]")
    assert len(said) == 2
    assert not any(name in os.environ for name in loggers._PATIENCE)


def test_a_server_that_goes_away_during_the_run_does_not_hide_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def away(*given: object) -> Iterator[loggers.Logger]:
        try:
            yield lambda metrics: None
        finally:
            raise ConnectionError("the server is away")

    monkeypatch.setattr(loggers, "_mlflow", away)
    said: list[str] = []

    def train_until(end: Exception | None) -> None:
        with open_loggers(["mlflow"], tmp_path, "first", {}, said.append):
            if end:
                raise end

    with pytest.raises(Interrupted, match="by SIGTERM"):
        train_until(Interrupted("interrupted by SIGTERM"))
    train_until(None)
    assert said.count("warning: mlflow was not told that the run ended: the server is away") == 2


def test_a_run_is_named_by_its_folder_and_a_fold_by_two(tmp_path: Path) -> None:
    assert run_name(tmp_path / "runs" / "first") == "first"
    assert run_name(tmp_path / "cv" / "fold-3") == "cv/fold-3"
    assert run_name(tmp_path / "sweep" / "trial-12") == "sweep/trial-12"


def test_wandb_hears_of_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs pip install 'pelagia[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    said: list[str] = []
    for known in (2, 3):
        with open_loggers(["wandb"], tmp_path, "first", {"train.lr": 0.1}, said.append) as tell:
            tell(FIGURES[:known])
    assert said == ["connecting to wandb"] * 2
    assert json.loads((tmp_path / "wandb.json").read_text())["epoch"] == 3
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 2


def test_a_logger_that_fails_does_not_end_the_run(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    said: list[str] = []
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", lambda *given: 1 / 0)
    state = train(
        load_config(CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY]),
        tmp_path / "run",
        lambda event: said.append(event) if isinstance(event, str) else None,
    )
    assert state.status == "finished"
    assert (
        "warning: tensorboard did not get the metrics of epoch 2; it tries again after the next epoch: division by zero"
        in said
    )
