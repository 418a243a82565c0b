"""Several processes share the work, and learn what one would have learnt."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.devices import make_fabric, memory_kept
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=3", "train.batch_size=16", "model={backbone: test_resnet}", "device=cpu")


def command(dataset: Path, out: Path, *overrides: str) -> list[str]:
    settings = [f"dataset={dataset}", *TINY, *overrides]
    words = ["-m", "pelagia.cli", "train", str(CONFIG), "--no-export", "--out", str(out)]
    return words + [word for setting in settings for word in ("--set", setting)]


def environment(**extra: str) -> dict[str, str]:
    foreign = ("SLURM_", "MASTER_", "WORLD_SIZE", "LOCAL_RANK", "RANK")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**own, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **extra}


def run(words: list[str], **extra: str) -> str:
    done = subprocess.run(words, cwd=REPOSITORY, env=environment(**extra), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def alone(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    train(load_config(CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY]), out)
    return out


def assert_alike(together: Path, alone: Path) -> None:
    """But for the order in which numbers are summed, which AdamW makes visible; seeds differ by ten times as much."""
    found, expected = rows(together), rows(alone)
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    assert float(found[0]["train_loss"]) == pytest.approx(float(expected[0]["train_loss"]), abs=5e-4)
    for one, other in zip(found, expected, strict=True):
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), abs=4e-3)
        assert float(one["val_accuracy"]) == pytest.approx(float(other["val_accuracy"]), abs=0.1)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    said = run([sys.executable, *command(dataset.root, tmp_path / "run", "devices=2")])
    assert said.count("training test_resnet on ") == said.count("best validation macro-F1") == 1
    assert "2 processes: cpu" in said
    assert_alike(tmp_path / "run", alone)


@pytest.mark.slow
def test_under_torchrun_it_takes_the_processes_that_it_is_given(dataset: Dataset, alone: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    said = run([*launcher, *command(dataset.root, tmp_path / "run")])
    assert said.count("training test_resnet on ") == 1
    assert_alike(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_with_two(dataset: Dataset, tmp_path: Path) -> None:
    words = [sys.executable, *command(dataset.root, tmp_path / "run", "devices=2", "train.checkpoint_minutes=0")]
    run([sys.executable, *command(dataset.root, tmp_path / "whole", "devices=2", "train.checkpoint_minutes=0")])
    process = subprocess.Popen(words, cwd=REPOSITORY, env=environment(), start_new_session=True)
    while process.poll() is None and not (tmp_path / "run" / "checkpoint.safetensors").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert "resuming after epoch 0 of 3, batch " in run(words)
    for name in ("metrics.csv", "last.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


SRUN = """#!/bin/sh
# Two tasks on this machine with the variables that Slurm gives them.
shift
for task in 0 1; do SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & tasks="$tasks $!"; done
for task in $tasks; do wait $task || exit 1; done
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", ["one_node", "several_nodes"])
def test_a_slurm_script_starts_a_process_a_task(dataset: Dataset, alone: Path, tmp_path: Path, script: str) -> None:
    """There is no cluster here; what its `srun` does is done by one of ours."""
    for name, text in (("srun", SRUN), ("pelagia", f'#!/bin/sh\nexec "{sys.executable}" -m pelagia.cli "$@"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    given = {"NNODES": "1", "NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_ID": "7", "JOB_NAME": "pelagia", "NODEID": "0"}
    slurm = {f"SLURM_{name}": value for name, value in given.items()} | {"SLURM_NODELIST": "localhost"}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    words = command(dataset.root, tmp_path / "run")[3:]
    said = run(["bash", f"configs/slurm/{script}.sh", *words], PATH=path, PELAGIA=str(tmp_path / "pelagia"), **slurm)
    assert said.count("training test_resnet on ") == 1
    assert_alike(tmp_path / "run", alone)


def test_make_slurm_hands_over_what_it_is_given(tmp_path: Path) -> None:
    sbatch = tmp_path / "sbatch"
    sbatch.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    sbatch.chmod(0o755)
    given = ["DATASET=D", "NODES=2", "DEVICES=4", "RUN=R", "SET=train.lr=1e-3 model.mean=[0.5, 0.5, 0.5]"]
    text = subprocess.run(
        ["make", "--no-print-directory", "slurm", *given],
        cwd=REPOSITORY,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    job = ["--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "configs/slurm/several_nodes.sh"]
    keys = ["--set", "dataset=D", "--set=train.lr=1e-3", "--set=model.mean=[0.5, 0.5, 0.5]"]
    assert text.splitlines() == [*job, "configs/training/baseline.yaml", *keys, "--out", "R"]


def test_a_batch_that_cannot_be_shared_alike_is_refused_with_one_that_can(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="16 images cannot be shared evenly by 3 processes: set it to 15"):
        train(load_config(CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY, "devices=3"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone gives memory back so eagerly")
def test_memory_of_tensors_that_are_gone_is_kept_for_the_next_ones() -> None:
    import resource

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            torch.ones(16 << 20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    given_back = faults()
    with memory_kept():
        for _ in range(3):  # small ones may come to lie in a hole that a large one left, which is then too small
            torch.ones(16 << 20)
        kept = faults()
    assert kept < given_back / 2
    assert faults() > 2 * kept


@pytest.mark.skipif(torch.cuda.is_available(), reason="auto is a GPU here")
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_half_precision_on_a_cpu_is_refused_with_what_to_set(device: str) -> None:
    with pytest.raises(ConfigError, match="^precision: fp16 needs a GPU, and this run is on a CPU: set precision=auto"):
        make_fabric(device, "fp16", 1, 1)
