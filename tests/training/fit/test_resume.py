"""A run that is broken off, and what comes of it when the same command is given again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError, Interrupted
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.config import TrainConfig
from pelagia_training.fit.context import Step
from pelagia_training.runs.folder import read_run
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = (
    *("preprocess.size=48", "train.first_size=32", "train.epochs=3", "train.batch_size=16"),
    "model={backbone: test_resnet, drop_rate: 0.2}",
)
SAME = ("metrics.csv", "best.safetensors", "last.safetensors", "config.yaml")


def config(dataset: Path, *overrides: str) -> TrainConfig:
    return load_config(CONFIG, TrainConfig, [f"dataset={dataset}", *TINY, "train.checkpoint_minutes=0", *overrides])


def start(dataset: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """`pelagia train` as a process of its own, with a checkpoint after every batch."""
    settings = (f"dataset={dataset}", *TINY, "train.checkpoint_minutes=0")
    words = [sys.executable, "-m", "pelagia.cli", "train", str(CONFIG), "--no-export", "--out", str(out), *options]
    words += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def wait_for_checkpoints(out: Path, process: subprocess.Popen[str], count: int) -> None:
    """Returns when so many have been written since the call, or the process has ended."""
    seen: set[int] = set()
    while len(seen) <= count and process.poll() is None:
        try:
            seen.add((out / "checkpoint.safetensors").stat().st_mtime_ns)
        except FileNotFoundError:
            seen.add(0)
        time.sleep(0.001)


@pytest.fixture(scope="module")
def unbroken(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(config(dataset.root), out)
    return out


def assert_same(run: Path, unbroken: Path) -> None:
    for name in SAME:
        assert (run / name).read_bytes() == (unbroken / name).read_bytes(), name
    (_, found), (_, expected) = read_run(run), read_run(unbroken)
    assert found.model_copy(update={"seconds": 0.0}) == expected.model_copy(update={"seconds": 0.0})
    assert not (run / "checkpoint.safetensors").exists()


class BrokenOffError(Exception):
    pass


def train_until(settings: TrainConfig, out: Path, epoch: int, batch: int) -> None:
    """Breaks a run off after a batch."""

    def report(event: str | Step) -> None:
        if isinstance(event, Step) and event.validation is None and (event.epoch, event.batch) == (epoch, batch):
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        train(settings, out, report)


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_the_unbroken_one(
    dataset: Dataset, unbroken: Path, tmp_path: Path
) -> None:
    out, moments, kills = tmp_path / "run", random.Random(3), 0
    while True:
        process = start(dataset.root, out)
        wait_for_checkpoints(out, process, moments.randint(0, 5))
        time.sleep(moments.uniform(0, 0.05))
        if process.poll() is not None or kills == 5:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    end(process)
    assert kills >= 3
    assert_same(out, unbroken)


def test_a_run_broken_off_within_an_epoch_and_between_two_goes_on_there(
    dataset: Dataset, unbroken: Path, tmp_path: Path
) -> None:
    out, said = tmp_path / "run", []
    train_until(config(dataset.root), out, 1, 5)
    train_until(config(dataset.root), out, 3, 1)
    train(config(dataset.root), out, said.append)
    assert "resuming after epoch 2 of 3, batch 0" in said
    assert_same(out, unbroken)


def test_no_row_is_lost_or_doubled(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_until(config(dataset.root), out, 2, 3)
    train(config(dataset.root), out)
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("val/macro_f1")] == [1, 2, 3]
    assert [line.split(",")[0] for line in (out / "metrics.csv").read_text().splitlines()] == ["epoch", "1", "2", "3"]


def test_sigterm_leaves_a_checkpoint_of_that_moment(dataset: Dataset, unbroken: Path, tmp_path: Path) -> None:
    """As a cluster ends jobs: with checkpoints an hour apart, no batch is lost."""
    out = tmp_path / "run"
    process = start(dataset.root, out, "--set", "train.checkpoint_minutes=60")
    log = out / "train.log"
    while process.poll() is None and not (log.exists() and "epoch 1 of 3" in log.read_text()):
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert said.endswith(f"the run {out} is not finished: run the same command again to resume it\nstopped\n")
    ended = log.read_text().splitlines()[-1]
    assert "ended: Interrupted: interrupted by SIGTERM (epoch 2, batch " in ended
    assert ended.endswith(f"); a checkpoint was written to {out}")
    assert "resuming after epoch 1 of 3, batch " in end(start(dataset.root, out))
    shutil.copy(unbroken / "config.yaml", out)  # the time between checkpoints may change, and did
    assert_same(out, unbroken)


def test_a_program_that_trains_is_told_of_a_sigterm_and_lives(dataset: Dataset, unbroken: Path, tmp_path: Path) -> None:
    out, handler = tmp_path / "run", signal.getsignal(signal.SIGTERM)

    def report(event: str | Step) -> None:
        if isinstance(event, Step) and event.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        train(config(dataset.root), out, report)
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == handler
    train(config(dataset.root), out)
    assert_same(out, unbroken)


def test_another_config_is_refused_with_what_differs(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_until(config(dataset.root), out, 1, 2)
    with pytest.raises(InputError) as caught:
        train(config(dataset.root, "train.lr=5e-4", "seed=1", "data.workers=1"), out)
    assert str(caught.value) == (
        f"the run {out} was started with another config, and this one cannot resume it:\n"
        "  - seed: was 0, is now 1\n"
        "  - train.lr: was 0.002, is now 0.0005\n"
        "set the old values, or choose another --out. Only these keys may change: dataset, data.workers, data.cache, "
        "data.stream, devices, nodes, loggers, train.checkpoint_minutes, model.orientations, model.embedding; "
        "these may rise: train.epochs, train.patience"
    )


def test_a_dataset_that_moved_is_the_same_and_another_one_is_refused(
    dataset: Dataset, unbroken: Path, tmp_path: Path
) -> None:
    out, moved, other = tmp_path / "run", tmp_path / "moved", tmp_path / "other"
    train_until(config(dataset.root), out, 2, 2)
    shutil.copytree(dataset.root, moved)
    shutil.copytree(dataset.root / "images", tmp_path / "source")
    import_dataset(tmp_path / "source", other)
    with pytest.raises(
        InputError, match=rf"the run {out} was started on another dataset: {dataset.root}, fingerprint "
    ):
        train(config(other), out)
    state = train(config(moved), out)
    assert state.dataset == moved
    assert (out / "best.safetensors").read_bytes() == (unbroken / "best.safetensors").read_bytes()


def test_a_finished_run_is_refused(dataset: Dataset, unbroken: Path, tmp_path: Path) -> None:
    before = (unbroken / "run.json").read_bytes()
    with pytest.raises(InputError, match=r"is finished \(3 epochs\): export it with `pelagia export .*another --out"):
        train(config(dataset.root), unbroken)
    assert (unbroken / "run.json").read_bytes() == before
    (tmp_path / "run").mkdir()
    for name in ("run.json", "config.yaml", "best.safetensors"):
        shutil.copy(unbroken / name, tmp_path / "run")
    (tmp_path / "run/model.onnx").touch()
    with pytest.raises(
        InputError, match=r"its model is .*run/model\.onnx; to train it longer, add --set train\.epochs=6; to"
    ):
        train(config(dataset.root), tmp_path / "run")


def test_no_resume_refuses_a_broken_run(dataset: Dataset, tmp_path: Path) -> None:
    train_until(config(dataset.root), tmp_path / "run", 1, 2)
    with pytest.raises(
        InputError, match="already exists and has finished 0 epochs: choose another --out, remove it, or resume it"
    ):
        train(config(dataset.root), tmp_path / "run", resume=False)


def test_two_processes_do_not_train_into_one_folder(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused: list[str] = []

    def report(event: str | Step) -> None:
        if isinstance(event, Step) and not refused:
            refused.append(start(dataset.root, out).communicate(timeout=60)[1])

    state = train(config(dataset.root), out, report)
    assert refused[0].startswith(f"error: another process is training into {out}: wait for it, or choose another --out")
    assert state.status == "finished"


def test_a_damaged_checkpoint_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_until(config(dataset.root), out, 1, 2)
    whole = (out / "checkpoint.safetensors").read_bytes()
    (out / "checkpoint.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        InputError, match=r"the checkpoint .* is damaged or was written by another version .*: remove the run"
    ):
        train(config(dataset.root), out)


def test_a_run_that_lost_its_checkpoint_is_not_begun_anew_over_its_weights(dataset: Dataset, tmp_path: Path) -> None:
    """As one that was copied while it was trained."""
    out = tmp_path / "run"
    train_until(config(dataset.root), out, 3, 1)
    (out / "checkpoint.safetensors").unlink()
    before = (out / "best.safetensors").read_bytes()
    with pytest.raises(
        InputError, match=r"has finished epoch 2, but its checkpoint.safetensors is missing, .*: put the file back, or"
    ):
        train(config(dataset.root), out)
    assert (out / "best.safetensors").read_bytes() == before


def test_the_first_weights_are_not_needed_to_go_on(dataset: Dataset, unbroken: Path, tmp_path: Path) -> None:
    weights, out = tmp_path / "first.safetensors", tmp_path / "run"
    network = {
        name.removeprefix("network."): value
        for name, value in safetensors.torch.load_file(unbroken / "last.safetensors").items()
    }
    safetensors.torch.save_file(network, weights)
    settings = config(dataset.root, f"model.weights={weights}")
    train(settings, tmp_path / "whole")
    train_until(settings, out, 2, 1)
    weights.unlink()
    train(settings, out)
    assert_same(out, tmp_path / "whole")


def test_half_precision_goes_on_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    settings = config(dataset.root, "precision=bf16", "train.epochs=2")
    train(settings, tmp_path / "whole")
    train_until(settings, tmp_path / "run", 1, 4)
    train(settings, tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_nothing_random_is_left_to_chance(dataset: Dataset, unbroken: Path, tmp_path: Path) -> None:
    """Whatever was drawn before the run, and in whatever state the generators are, it ends the same."""
    torch.manual_seed(99)
    random.seed(99)
    train(config(dataset.root), tmp_path / "run")
    assert_same(tmp_path / "run", unbroken)


def test_a_folder_with_other_peoples_files_is_neither_used_nor_removed(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("years of work")
    (tmp_path / "mine" / ".lock").touch()
    with pytest.raises(InputError, match="exists"):
        train(config(dataset.root), tmp_path / "mine")
    assert (tmp_path / "mine" / "precious.txt").read_text() == "years of work"


def test_a_lock_of_another_program_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".lock").write_text("4711" * 400)
    with pytest.raises(InputError, match="is not a lock file of Pelagia"):
        train(config(dataset.root), tmp_path / "mine")
