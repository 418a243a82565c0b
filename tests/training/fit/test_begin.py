"""A finished run that is trained longer."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError
from pelagia_training.config import TrainConfig
from pelagia_training.fit.context import Step
from pelagia_training.runs.folder import read_run
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")
MORE = ("loggers=[]", "train.warmup_epochs=1")


def config(dataset: Path, *overrides: str) -> TrainConfig:
    return load_config(CONFIG, TrainConfig, [f"dataset={dataset}", *TINY, *MORE, *overrides])


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    train(config(dataset.root), out)
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_more_epochs_prolong_a_finished_run(dataset: Dataset, copy: Path) -> None:
    before, said = rows(copy), []
    state = train(config(dataset.root, "train.epochs=4"), copy, said.append)
    assert "training the finished run longer, after epoch 2 of 4, batch 0" in said
    assert (state.status, state.epoch, state.prolonged_after) == ("finished", 4, 2)
    assert read_run(copy)[0].train.epochs == 4
    found = rows(copy)
    assert found[:2] == before
    assert [row["epoch"] for row in found] == ["1", "2", "3", "4"]
    assert float(found[2]["lr"]) > float(before[1]["lr"]) < 1e-9  # it had fallen to 0, and rises again
    assert float(found[3]["lr"]) < 1e-9
    assert not (copy / "checkpoint.safetensors").exists()
    with pytest.raises(InputError, match=r"is finished \(4 epochs\): .* to train it longer, add --set train.epochs=8"):
        train(config(dataset.root, "train.epochs=4"), copy)


def test_a_prolonged_run_that_is_interrupted_ends_as_an_uninterrupted_one(
    dataset: Dataset, copy: Path, finished: Path, tmp_path: Path
) -> None:
    longer = config(dataset.root, "train.epochs=4", "train.checkpoint_minutes=0")
    whole = shutil.copytree(finished, tmp_path / "whole")
    train(longer, whole)

    def interrupt(event: str | Step) -> None:
        if isinstance(event, Step) and (event.epoch, event.batch) == (3, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(longer, copy, interrupt)
    train(longer, copy)
    for name in ("last.safetensors", "best.safetensors", "metrics.csv", "config.yaml"):
        assert (copy / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_that_was_killed_when_it_had_just_been_prolonged_is_prolonged(dataset: Dataset, copy: Path) -> None:
    """`run.json` says that it runs again, and `config.yaml` has the old number of epochs."""
    state = json.loads((copy / "run.json").read_text())
    longer = config(dataset.root, "train.epochs=3")

    def interrupt(event: str | Step) -> None:
        if isinstance(event, Step):
            raise KeyboardInterrupt

    old = (copy / "config.yaml").read_text()
    with pytest.raises(KeyboardInterrupt):
        train(longer, copy, interrupt)
    (copy / "config.yaml").write_text(old)
    assert train(longer, copy).epoch == 3
    assert state["epoch"] == 2


def test_an_early_stop_goes_on_with_more_patience(dataset: Dataset, tmp_path: Path) -> None:
    still = ("train.epochs=5", "train.lr=1e-12", "train.warmup_epochs=0")
    out = tmp_path / "run"
    stopped = train(config(dataset.root, *still, "train.patience=1"), out)
    assert stopped.epoch < 5
    assert train(config(dataset.root, *still, "train.patience=5"), out).epoch == 5
    with pytest.raises(InputError, match=r"is finished \(5 epochs\)"):
        train(config(dataset.root, *still, "train.patience=9"), out)


def test_fewer_epochs_and_other_keys_are_refused_with_what_may_change(dataset: Dataset, copy: Path) -> None:
    with pytest.raises(InputError, match=r"is finished \(2 epochs\)"):
        train(config(dataset.root, "train.epochs=1", "train.warmup_epochs=0"), copy)
    with pytest.raises(
        InputError, match=r"train.lr: was 0.002, is now 0.1\n.*these may rise: train.epochs, train.pati"
    ):
        train(config(dataset.root, "train.epochs=4", "train.lr=0.1"), copy)


def test_a_run_without_its_last_weights_cannot_be_trained_longer(dataset: Dataset, copy: Path) -> None:
    before = (copy / "run.json").read_bytes()
    (copy / "last.safetensors").unlink()
    with pytest.raises(InputError, match=r"last.safetensors is missing or damaged .*: put the file back, or choose"):
        train(config(dataset.root, "train.epochs=4"), copy)
    assert (copy / "run.json").read_bytes() == before


@pytest.mark.parametrize("damaged", ["", "a,b\n1,2\n", "epoch,train_loss,lr,val_accuracy\n1,1,1,1\n"])
def test_a_run_with_damaged_metrics_cannot_be_trained_longer(dataset: Dataset, copy: Path, damaged: str) -> None:
    (copy / "metrics.csv").write_text(damaged)
    with pytest.raises(InputError, match=r"metrics.csv is missing or damaged \(.*\): put it back, or choose another"):
        train(config(dataset.root, "train.epochs=4"), copy)


def test_the_validation_loss_is_shown_and_recorded(finished: Path, dataset: Dataset, tmp_path: Path) -> None:
    steps: list[Step] = []
    out = tmp_path / "run"
    train(config(dataset.root), out, lambda event: steps.append(event) if isinstance(event, Step) else None)
    losses = [step.validation_loss for step in steps if step.validation is not None]
    assert [f"{loss:.6g}" for loss in losses] == [row["val_loss"] for row in rows(finished)]
    log = (out / "train.log").read_text()
    assert "epoch 1 of 2, " in log
    assert f", validation loss {losses[0]:.4f}, accuracy " in log
