"""What is refused before torch is imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError
from pelagia_training.config import TrainConfig
from pelagia_training.runs.check import require_trainable

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
WITHOUT_TORCH = """
import sys
from pathlib import Path
from pelagia.errors import PelagiaError
from pelagia_training.frontier_command import frontier
from pelagia_training.train_command import train
config, out, include, *settings = sys.argv[1:]
try:
    if include:
        frontier(Path(config), Path(out), 1, settings, include=[Path(include)])
    else:
        train(Path(config), Path(out), settings)
except PelagiaError as error:
    print(error)
assert "torch" not in sys.modules
assert "timm" not in sys.modules
"""


def refusal(out: Path, *settings: str, include: Path | str = "") -> str:
    """What `pelagia train` says, or `pelagia frontier` with a run to include."""
    words = [sys.executable, "-c", WITHOUT_TORCH, str(CONFIG), str(out), str(include), *settings]
    done = subprocess.run(words, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_missing_dataset_is_refused_without_torch(tmp_path: Path) -> None:
    assert refusal(tmp_path / "run", "dataset=nowhere") == (
        "there is no dataset at nowhere: make one with `pelagia dataset import SRC --out nowhere`"
    )


def test_a_finished_run_and_a_wrong_class_are_refused_without_torch(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    tiny = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")
    assert f"the run {run} is finished (2 epochs): " in refusal(run, f"dataset={dataset.root}", *tiny)
    said = refusal(tmp_path / "run", f"dataset={dataset.root}", "data.exclude=[copepd]")
    assert said.startswith("data.exclude: 'copepd' is not a class of ")


def test_a_frontier_that_is_none_and_a_run_without_weights_are_refused_without_torch(
    dataset: Dataset, run: Path, tmp_path: Path
) -> None:
    there = f"dataset={dataset.root}"
    assert refusal(run, there, include=run).startswith(f"{run} is no frontier, because it has no plan.json: ")
    bare = shutil.copytree(run, tmp_path / "bare", ignore=shutil.ignore_patterns("best.safetensors"))
    assert refusal(tmp_path / "out", there, include=bare) == (
        f"--include {bare}: the run {bare} has lost its weights, best.safetensors: put the file back, or train again"
    )
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_was_moved_is_not_to_be_imported_again(run: Path, tmp_path: Path) -> None:
    tiny = ("preprocess.size=32", "train.epochs=4", "train.batch_size=16", "model={backbone: test_resnet}")
    config = load_config(CONFIG, TrainConfig, [f"dataset={tmp_path / 'gone'}", *tiny])
    with pytest.raises(DatasetError) as caught:
        require_trainable(config, run)
    assert str(caught.value) == (
        f"the dataset of the run {run} is no longer at {tmp_path / 'gone'}: put it back, or name its new folder with "
        "--set dataset=FOLDER"
    )
