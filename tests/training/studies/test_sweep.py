"""A sweep: its files, and the effect of a kill, of a failed trial and of another command."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import yaml

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, InputError, MissingExtra
from pelagia.options import needs
from pelagia.shell import install_command
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.config import TrainConfig
from pelagia_training.fit.context import Step
from pelagia_training.studies.space import Space, load_search
from pelagia_training.studies.sweep import STUDY_FILE, Sweep, sweep
from pelagia_training.studies.trials import open_trial_store
from pelagia_training.train import train

CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
SEARCH = ("train.lr=log:1e-4..1e-2", "augment.strength=0..2", "train.long_tail=none,sqrt_sampling")
EVERY_BATCH = "train.checkpoint_minutes=0"


def planned(dataset: Path, *overrides: str, search: tuple[str, ...] = SEARCH) -> tuple[TrainConfig, Space]:
    return load_search(CONFIG, [f"dataset={dataset}", *TINY, EVERY_BATCH, *overrides], search)


def words(dataset: Path, out: Path, trials: int) -> list[str]:
    settings = (f"dataset={dataset}", *TINY, EVERY_BATCH)
    given = [*(("--set", setting) for setting in settings), *(("--search", search) for search in SEARCH)]
    return ["sweep", str(CONFIG), *(word for pair in given for word in pair), f"--trials={trials}", f"--out={out}"]


def start(dataset: Path, out: Path, trials: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pelagia.cli", *words(dataset, out, trials)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def swept(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sweep]:
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    return out, sweep(*planned(dataset.root), out, trials=3)


def test_each_trial_is_a_run_with_the_values_that_the_tables_say(swept: tuple[Path, Sweep]) -> None:
    out, found = swept
    with (out / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    assert Sweep.model_validate(json.loads((out / "sweep.json").read_text())) == found
    for row, trial in zip(rows, found.trials, strict=True):
        run = load_config(out / f"trial-{trial.number}" / "config.yaml", TrainConfig)
        assert (run.train.lr, run.augment.strength, run.train.long_tail) == (
            float(row["train.lr"]),
            float(row["augment.strength"]),
            row["train.long_tail"],
        )
        state = json.loads((out / f"trial-{trial.number}" / "run.json").read_text())
        assert state["status"] == "finished"
        assert float(row["macro_f1"]) == trial.macro_f1 == state["metrics"]["macro_f1"]
        assert (row["epochs"], row["state"]) == ("2", "complete")
    assert len({row["train.lr"] for row in rows}) == 3


def test_of_a_trial_that_is_over_only_the_best_weights_stay(swept: tuple[Path, Sweep]) -> None:
    assert {file.name for file in swept[0].glob("trial-*/*.safetensors")} == {"best.safetensors"}


def test_the_best_config_opens_with_its_command_and_trains_to_the_weights_of_the_best_trial(
    swept: tuple[Path, Sweep], tmp_path: Path
) -> None:
    out, found = swept
    assert found.best is not None
    assert found.best.macro_f1 == max(trial.macro_f1 or 0 for trial in found.trials)
    first = (out / "best.yaml").read_text().splitlines()[0]
    assert first == f"# pelagia train {out}/best.yaml --out {out}-best"
    train(load_config(out / "best.yaml", TrainConfig), tmp_path / "run")
    theirs = out / f"trial-{found.best.number}" / "best.safetensors"
    assert (tmp_path / "run" / "best.safetensors").read_bytes() == theirs.read_bytes()


@pytest.mark.slow
def test_a_sweep_killed_in_the_middle_of_trials_ends_as_the_uninterrupted_one(
    swept: tuple[Path, Sweep], dataset: Dataset, tmp_path: Path
) -> None:
    """Each start is killed within a trial, after a checkpoint; the last one resumes from it."""
    (whole, _), out = swept, tmp_path / "sweep"
    for trial in (1, 2):
        process = start(dataset.root, out, 3)
        while process.poll() is None and not (out / f"trial-{trial}" / "checkpoint.safetensors").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(dataset.root, out, 3)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert "resuming after epoch " in said
    assert (out / "sweep.csv").read_text() == (whole / "sweep.csv").read_text()
    for trial in (1, 2, 3):
        for file in ("best.safetensors", "metrics.csv"):
            assert (out / f"trial-{trial}" / file).read_bytes() == (whole / f"trial-{trial}" / file).read_bytes()


class InterruptedTestError(Exception):
    pass


def test_an_epoch_that_was_not_stored_is_stored_by_the_next_start(
    swept: tuple[Path, Sweep], dataset: Dataset, tmp_path: Path
) -> None:
    out, (config, space) = tmp_path / "sweep", planned(dataset.root)

    def interrupt(event: str | Step) -> None:
        if isinstance(event, Step) and event.validation is not None:
            raise InterruptedTestError

    with pytest.raises(InterruptedTestError):
        sweep(config, space, out, trials=1, report=interrupt)
    with open_trial_store(out / STUDY_FILE, space) as store:
        assert [(trial.state, trial.epochs) for trial in store.trials()] == [("unfinished", 0)]
    assert sweep(config, space, out, trials=1).trials == swept[1].trials[:1]
    with closing(sqlite3.connect(out / STUDY_FILE)) as file:
        assert file.execute("SELECT step FROM trial_intermediate_values ORDER BY step").fetchall() == [(1,), (2,)]


def test_more_trials_are_added_to_a_sweep_that_is_over(
    swept: tuple[Path, Sweep], dataset: Dataset, tmp_path: Path
) -> None:
    config, space = planned(dataset.root)
    first = sweep(config, space, tmp_path / "sweep", trials=1)
    said: list[str | Step] = []
    assert sweep(config, space, tmp_path / "sweep", trials=1, report=said.append) == first
    assert said == []
    assert sweep(config, space, tmp_path / "sweep", trials=2).trials == swept[1].trials[:2]


@pytest.mark.parametrize("prune", [True, False])
def test_a_run_below_the_median_is_stopped_and_frees_its_resources(
    dataset: Dataset, tmp_path: Path, prune: bool
) -> None:
    out, (config, space) = tmp_path / "sweep", planned(dataset.root, "data.workers=1")
    out.mkdir()
    with open_trial_store(out / STUDY_FILE, space) as store:
        for _ in range(5):
            trial = store.next(config.seed)
            assert trial is not None
            store.record_epochs(trial.number, [1.0, 1.0])
            store.end(trial.number, "complete", 1.0)
    threads = threading.active_count()
    last = sweep(config, space, out, trials=6, prune=prune).trials[-1]
    assert (last.state, last.epochs) == (("pruned", 1) if prune else ("complete", 2))
    assert last.macro_f1 is not None
    assert ("ended: Pruned: the other trials were better" in (out / "trial-6" / "train.log").read_text()) == prune
    assert threading.active_count() == threads
    assert not [one for one in psutil.Process().children() if any("spawn_main" in word for word in one.cmdline())]
    assert not (out / "trial-6" / "checkpoint.safetensors").exists()


def test_a_run_that_diverges_is_a_failed_trial_and_not_the_end(dataset: Dataset, tmp_path: Path) -> None:
    wild = ("train.warmup_epochs=0", "train.clip_grad=1e30", "train.epochs=1")
    found = sweep(*planned(dataset.root, *wild, search=("train.lr=1e-3,1e30",)), tmp_path / "sweep", trials=2)
    states = {trial.values["train.lr"]: trial for trial in found.trials}
    assert states["1e-3"].state == "complete"
    assert states["1e30"].state == "failed"
    assert states["1e30"].fault.startswith("a weight is NaN or infinite; no epoch was finished")
    assert found.best == states["1e-3"]


def test_values_that_do_not_go_together_are_failed_trials_and_a_sweep_of_these_alone_an_error(
    dataset: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    out = tmp_path / "sweep"
    search = ("--search=train.mixup=0.6,0.7", "--search=train.cutmix=0.6,0.7", "--trials=2", f"--out={out}")
    done = pelagia("sweep", CONFIG, f"--set=dataset={dataset.root}", *search)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1] == (
        "error: none of 2 trials was completed; the last one: values that cannot be combined: train: mixup and cutmix "
        "are shares of the images: lower them so that their sum is at most 1"
    )
    assert [trial["state"] for trial in json.loads((out / "sweep.json").read_text())["trials"]] == ["failed"] * 2


def test_a_space_of_few_combinations_is_tried_once_each(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str | Step] = []
    plan = planned(dataset.root, "train.epochs=1", search=("train.long_tail=none,sqrt_sampling",))
    found = sweep(*plan, tmp_path / "sweep", trials=9, report=said.append)
    assert {trial.values["train.long_tail"] for trial in found.trials} == {"none", "sqrt_sampling"}
    assert len(found.trials) == 2
    assert said[-1] == "all 2 combinations were tried"


def test_another_search_or_config_in_the_same_folder_is_refused_with_what_differs(
    swept: tuple[Path, Sweep], dataset: Dataset
) -> None:
    out, found = swept
    search = ("train.lr=log:1e-4..2e-2", "augment.strength=0..2", "train.mixup=0,0.2")
    with pytest.raises(InputError) as caught:
        sweep(*planned(dataset.root, "train.epochs=3", "data.workers=1", search=search), out, trials=4, prune=False)
    assert str(caught.value) == (
        f"the sweep {out} was started with other values, so its trials could not be compared:\n"
        "  - train.epochs: was 2, is now 3\n"
        "  - --search train.long_tail: was none,sqrt_sampling, is now None\n"
        "  - --search train.lr: was log:0.0001..0.01, is now log:0.0001..0.02\n"
        "  - --search train.mixup: was None, is now 0,0.2\n"
        "  - --prune: was True, is now False\n"
        "set the old values again, or choose another --out"
    )
    assert Sweep.model_validate(json.loads((out / "sweep.json").read_text())) == found


def test_another_dataset_in_the_same_folder_is_refused(
    swept: tuple[Path, Sweep], dataset: Dataset, tmp_path: Path
) -> None:
    other = import_dataset(dataset.root / "images", tmp_path / "other", seed=3)
    with pytest.raises(
        InputError, match=r"started with other values, .*\n  - the dataset: was \w{12}, is now \w{12}\n"
    ):
        sweep(*planned(other.root), swept[0], trials=4)


def test_a_second_process_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    out, refused = tmp_path / "sweep", []

    def report(event: str | Step) -> None:
        if isinstance(event, Step) and not refused:
            refused.append(start(dataset.root, out, 1).communicate(timeout=60)[1])

    found = sweep(*planned(dataset.root), out, trials=1, report=report)
    assert refused[0].startswith(f"error: another process is using the sweep {out}: wait for it, or choose another")
    assert [trial.state for trial in found.trials] == ["complete"]


def test_a_folder_that_is_not_a_sweep_is_not_touched(run: Path, dataset: Dataset) -> None:
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match="exists already: choose another name, or remove it first"):
        sweep(*planned(dataset.root), run, trials=1)
    assert sorted(run.iterdir()) == before


def test_a_sweep_without_a_trial_leaves_no_folder(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.backbone: timm .* has no 'no_such"):
        sweep(*planned(dataset.root, search=("model.backbone=no_such_net,no_such",)), tmp_path / "sweep", trials=2)
    assert not (tmp_path / "sweep").exists()


def test_an_unknown_network_is_a_failed_trial_after_a_complete_one(dataset: Dataset, tmp_path: Path) -> None:
    config, space = planned(dataset.root, search=("model.backbone=no_such_net,no_such",))
    with open_trial_store(tmp_path / STUDY_FILE, space) as store:
        trial = store.next(config.seed)
        assert trial is not None
        store.end(trial.number, "complete", 0.5)
    last = sweep(config, space, tmp_path, trials=2).trials[-1]
    assert (last.state, last.epochs) == ("failed", 0)
    assert "has no 'no_such" in last.fault


def test_a_damaged_study_file_is_one_line_and_is_made_again_from_the_runs(dataset: Dataset, tmp_path: Path) -> None:
    out, (config, space) = tmp_path / "sweep", planned(dataset.root)
    found = sweep(config, space, out, trials=1)
    (out / STUDY_FILE).write_bytes(b"no database" * 400)
    with pytest.raises(
        InputError, match=r"study.sqlite cannot be used \(.*not a database.*\): .* remove it, and the same"
    ):
        sweep(config, space, out, trials=1)
    (out / STUDY_FILE).unlink()
    said: list[str | Step] = []
    assert sweep(config, space, out, trials=1, report=said.append) == found
    assert not any(isinstance(event, Step) for event in said)


def test_the_command_shows_the_trials_and_what_to_do_next(
    swept: tuple[Path, Sweep], dataset: Dataset, pelagia: Pelagia
) -> None:
    out, found = swept
    done = pelagia(*words(dataset.root, out, 3))
    assert done.returncode == 0, done.stderr
    assert found.best is not None
    lines = done.stdout.splitlines()
    assert lines[0].split() == [
        "trial",
        "augment.strength",
        "train.long_tail",
        "train.lr",
        "macro-F1",
        "epochs",
        "state",
    ]
    assert lines[1].split()[0] == str(found.best.number)
    assert lines[-2:] == [
        f"next: pelagia export {out}/trial-{found.best.number} --out whole.onnx",
        f"or train its config again with other settings: pelagia train {out}/best.yaml --out {out}-best",
    ]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pelagia.options.find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        needs("sweep", "sweep")
    assert str(caught.value) == (
        "`pelagia sweep` needs the package 'optuna', which is not installed; install it with: "
        + install_command("sweep")
    )


def test_the_best_config_holds_every_key(swept: tuple[Path, Sweep]) -> None:
    assert set(yaml.safe_load((swept[0] / "best.yaml").read_text())) == set(TrainConfig.model_fields)
