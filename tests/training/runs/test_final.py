"""A run on all labeled images: what it takes from a cross-validation, what it leaves, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, DatasetError, InputError, Interrupted, PelagiaError
from pelagia.system.files import write_text
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.config import TrainConfig
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.fit.console import NOT_VALIDATED
from pelagia_training.fit.context import Step
from pelagia_training.runs.final import epochs_of, plan_final
from pelagia_training.runs.folder import RunState, read_run
from pelagia_training.train import train


@pytest.fixture
def copy(cross_validation: Path, tmp_path: Path) -> Path:
    """A copy of the cross-validation, to damage."""
    return shutil.copytree(cross_validation, tmp_path / "cv")


def refused(folder: Path, *changes: str) -> str:
    with pytest.raises(PelagiaError) as caught:
        plan_final(folder, changes)
    return str(caught.value)


def test_the_run_has_all_images_and_no_validation(final_run: Path, dataset: Dataset, cross_validation: Path) -> None:
    config, state = read_run(final_run)
    assert config.data.resplit is not None
    assert config.data.resplit.everything
    counts = {name: {"train": sum(one.values()), "val": 0, "test": 0} for name, one in dataset.meta.counts.items()}
    assert state.counts == counts
    assert (state.metrics, state.validation_confusion, state.status) == ({}, (), "finished")
    assert state.final is not None
    assert (state.final.folds, state.final.images) == (2, len(dataset.records))
    assert state.final.cross_validation == cross_validation
    assert (state.epoch, state.best_epoch) == (2, 2)
    assert (final_run / "best.safetensors").read_bytes() == (final_run / "last.safetensors").read_bytes()


def test_its_tables_and_its_log_claim_no_validation(final_run: Path) -> None:
    with (final_run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [[*row] for row in rows] == [["epoch", "train_loss", "lr"]] * 2
    log = (final_run / "train.log").read_text()
    assert log.count(NOT_VALIDATED) == 2
    assert "validation" not in log
    assert "2 epochs, because the learning rate of the schedule 'cosine' ends low, and no fold stopped early" in log


def test_no_split_of_the_run_measures_it(final_run: Path) -> None:
    with pytest.raises(DatasetError, match=r"no split 'test': not measured: all images were trained on; out-of-fold"):
        evaluate_run(final_run, "test")


def test_an_interrupted_run_resumes_with_the_same_result(
    final_run: Path, cross_validation: Path, tmp_path: Path
) -> None:
    (config, final), out = plan_final(cross_validation), tmp_path / "run"
    config = config.model_copy(update={"train": config.train.model_copy(update={"checkpoint_minutes": 0})})
    stopped = []

    def stop(event: str | Step) -> None:
        if isinstance(event, Step) and event.epoch == 2 and not stopped:
            stopped.append(event)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(config, out, stop, final=final)
    said: list[str | Step] = []
    train(config, out, said.append, final=final)
    assert any(str(line).startswith("resuming after epoch 1 of 2, batch ") for line in said)
    for name in ("last.safetensors", "best.safetensors", "metrics.csv"):
        assert (out / name).read_bytes() == (final_run / name).read_bytes()


def test_a_run_cannot_resume_with_another_cross_validation(final_run: Path, copy: Path, tmp_path: Path) -> None:
    shutil.copytree(final_run, tmp_path / "run")
    config, final = plan_final(copy)
    with pytest.raises(InputError, match="has other networks: name that one, or choose another --out"):
        train(config, tmp_path / "run", final=final.model_copy(update={"weights": "0" * 64}))


def test_a_finished_run_cannot_be_trained_longer(final_run: Path, cross_validation: Path) -> None:
    config, final = plan_final(cross_validation)
    with pytest.raises(
        InputError, match=r"is finished \(2 epochs\): its model is .*model\.onnx; to train again, choose"
    ):
        train(config, final_run, final=final)


def test_a_config_alone_cannot_hold_nothing_out(dataset: Dataset, tmp_path: Path) -> None:
    changes = [f"dataset={dataset.root}", *TINY, "data.resplit={everything: true}"]
    config = load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, changes)
    with pytest.raises(ConfigError, match="needs a cross-validation: train it with `pelagia train --final"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_keys_that_do_not_change_the_recipe_may_be_set(cross_validation: Path) -> None:
    config, _ = plan_final(cross_validation, ["model.orientations=4", "name=field", "device=auto"])
    assert (config.model.orientations, config.name) == (4, "field")
    said = refused(cross_validation, "train.lr=1e-4", "train.epochs=9")
    assert "- train.epochs: was 2, is now 9\n  - train.lr: was 0.002, is now 0.0001\n" in said
    assert "cross-validate the new values first, with `pelagia train CONFIG --folds 2 --out CV`" in said


def test_other_folders_are_refused_with_what_to_type(run: Path, copy: Path, tmp_path: Path) -> None:
    assert "no is not a cross-validation: make one with `pelagia train CONFIG --folds 5 --out" in refused(
        tmp_path / "no"
    )
    assert f"--folds 5 --out {run}-cv`, then name that folder" in refused(run)
    (copy / "sweep.json").touch()
    said = refused(copy)
    assert "is a sweep: its best macro-F1 was chosen from many" in said
    assert f"`pelagia train {copy}/best.yaml --folds 5 --out {copy}-cv`" in said


def test_an_unfinished_cross_validation_is_refused(copy: Path) -> None:
    (copy / "folds.json").unlink()
    assert "out-of-fold predictions are missing, or older than its folds; run its command again" in refused(copy)
    state = json.loads((copy / "fold-2/run.json").read_text())
    write_text(copy / "fold-2/run.json", json.dumps(state | {"status": "running"}))
    assert "is not finished: fold 2 of 2 was interrupted; run its command again to resume it" in refused(copy)
    shutil.rmtree(copy / "fold-2")
    assert "is not finished: fold 2 of 2 is missing" in refused(copy)


def test_a_fold_that_was_trained_again_is_noticed(copy: Path) -> None:
    shutil.copy(copy / "fold-1/best.safetensors", copy / "fold-2/best.safetensors")
    assert "out-of-fold predictions are missing, or older than its folds" in refused(copy)


def test_folds_of_two_recipes_are_refused(copy: Path) -> None:
    text = (copy / "fold-2/config.yaml").read_text()
    write_text(copy / "fold-2/config.yaml", text.replace("lr: 0.002", "lr: 0.003"))
    assert "has another config or dataset than" in refused(copy)


def test_damaged_figures_are_one_line(copy: Path) -> None:
    write_text(copy / "folds.json", "[]")
    assert "folds.json is damaged: remove it, then run `pelagia train" in refused(copy)


def test_another_dataset_is_refused(cross_validation: Path, dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.root / "images", tmp_path / "source")
    other = import_dataset(tmp_path / "source", tmp_path / "other")
    assert "is not the dataset that" in refused(cross_validation, f"dataset={other.root}")
    assert "is no longer at" in refused(cross_validation, f"dataset={tmp_path / 'gone'}")


def state_of(epoch: int, best: int) -> RunState:
    return RunState.model_construct(epoch=epoch, best_epoch=best)


@pytest.mark.parametrize(
    ("changes", "epochs", "expected", "last"),
    [
        ((), [(10, 7), (10, 9)], 10, True),
        (("train.soup=3",), [(10, 7), (10, 9)], 10, False),
        ((), [(8, 3), (10, 8)], 6, False),
        (("train.scheduler=constant",), [(10, 4), (10, 7)], 6, False),
    ],
)
def test_the_epochs_follow_from_the_folds(
    changes: tuple[str, ...], epochs: list[tuple[int, int]], expected: int, last: bool
) -> None:
    config = load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, ["train.epochs=10", *changes])
    found, _, with_last = epochs_of(config, [state_of(*one) for one in epochs])
    assert (found, with_last) == (expected, last)


def test_the_command_says_what_was_measured_and_refuses_what_excludes_it(
    pelagia: Pelagia, cross_validation: Path, tmp_path: Path
) -> None:
    done = pelagia("train", "--final", cross_validation, "--no-export", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"not measured: all images were trained on; out-of-fold macro-F1 0\.\d{4} of 2 folds\n", done.stdout
    )
    assert "epoch   2/2  loss" in done.stderr
    assert not (tmp_path / "run/report.html").exists()
    both = pelagia("train", "config.yaml", "--final", cross_validation, "--out", tmp_path / "other")
    assert "--final takes the config of the cross-validation" in both.stderr
    folds = pelagia("train", "--final", cross_validation, "--folds", 5, "--out", tmp_path / "other")
    assert "--final holds no image out, so it excludes --folds and --test-groups" in folds.stderr
    assert "no config is given" in pelagia("train", "--out", tmp_path / "other").stderr
