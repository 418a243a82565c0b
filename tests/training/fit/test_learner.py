"""The step, with a network that runs out of memory, and losses that go wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from torch import Tensor, nn

from disk_fixtures import Mounts, fill
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import TrainingError
from pelagia.taxonomy import taxonomy_of_names
from pelagia_training.config import OptimizerConfig, TrainConfig
from pelagia_training.fit.checkpoint import RunHistory, RunProgress, load_checkpoint, save_checkpoint
from pelagia_training.fit.learner import Learner, build_learner
from pelagia_training.fit.schedule import warmup_cosine
from pelagia_training.fit.targets import TargetBuilder
from pelagia_training.network.backbone import Normalized
from pelagia_training.network.losses import build_loss
from pelagia_training.network.optim import build_optimizer
from pelagia_training.network.predict import predict
from pelagia_training.runs.folder import RunState
from pelagia_training.train import train, train_step

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")


class Forgetful(nn.Module):
    """A linear network whose memory holds ``most`` images."""

    pretrained_cfg = {"classifier": "layer"}

    def __init__(self, most: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.most = most
        self.layer = nn.Linear(12, 3)
        self.seen: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(len(image))
        if len(image) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: Tensor = self.layer(image.flatten(1))
        return logits


def learner(network: nn.Module, said: list[str], **changes: object) -> Learner:
    settings = OptimizerConfig.model_validate({"batch_size": 16, "ema_decay": 0, "warmup_epochs": 0, **changes})
    fabric = Fabric(accelerator="cpu", devices=1)
    model = Normalized(network, (0.0,) * 3, (1.0,) * 3)
    return build_learner(
        fabric,
        model,
        build_optimizer(model, lr=settings.lr, weight_decay=settings.weight_decay),
        TargetBuilder(classes=3, smoothing=0.0),
        build_loss("none", np.ones(3)),
        rate=warmup_cosine(0, settings.epochs * 10),
        batch_size=settings.batch_size,
        seed=0,
        report=said.append,
        micro_batch=settings.micro_batch,
    )


@pytest.fixture
def batch() -> list[Tensor]:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (16, 2, 2, 3), np.uint8)
    return [torch.from_numpy(pixels), torch.from_numpy(draw.integers(0, 3, 16))]


def test_a_batch_that_the_memory_does_not_hold_goes_through_in_parts(batch: list[Tensor]) -> None:
    said: list[str] = []
    small, large = Forgetful(most=5), Forgetful(most=16)
    ours, theirs = learner(small, said), learner(large, [])
    for step in range(3):
        found, expected = train_step(ours, step, batch), train_step(theirs, step, batch)
        assert torch.allclose(found, expected)
    assert torch.allclose(small.layer.weight, large.layer.weight, atol=1e-6)
    assert small.seen == [16, 8] + 3 * [4, 4, 4, 4]
    assert [text.partition("; the gradients")[0] for text in said] == [
        "the device's memory is too small for 16 images at once: continuing with 8 at once",
        "the device's memory is too small for 8 images at once: continuing with 4 at once",
    ]


def test_a_memory_that_holds_no_image_is_one_line(batch: list[Tensor]) -> None:
    with pytest.raises(
        TrainingError, match="memory is too small for 1 images at once: .*smaller preprocess.size or backbone"
    ):
        train_step(learner(Forgetful(most=0), []), 0, batch)


def test_images_to_be_judged_go_through_as_many_at_once_as_the_memory_holds() -> None:
    images = np.random.default_rng(0).integers(0, 255, (150, 2, 2, 3), np.uint8)
    small, large = Forgetful(most=20), Forgetful(most=64)
    found, expected = (predict(Normalized(one, (0.0,) * 3, (1.0,) * 3), images) for one in (small, large))
    assert np.allclose(found, expected, atol=1e-6)
    assert small.seen == [64, 32] + 9 * [16] + [6]
    assert large.seen == [64, 64, 22]


def test_a_memory_that_holds_no_image_to_be_judged_is_one_line() -> None:
    images = np.zeros((3, 2, 2, 3), np.uint8)
    with pytest.raises(
        TrainingError, match="memory is too small to classify even 1 image: .*smaller preprocess.size or"
    ):
        predict(Normalized(Forgetful(most=0), (0.0,) * 3, (1.0,) * 3), images)


def test_a_micro_batch_that_was_asked_for_gives_the_same_weights(batch: list[Tensor]) -> None:
    parts, whole = Forgetful(16), Forgetful(16)
    train_step(learner(parts, [], micro_batch=3), 0, batch)
    train_step(learner(whole, []), 0, batch)
    assert parts.seen == [3, 3, 3, 3, 3, 1]
    assert torch.allclose(parts.layer.weight, whole.layer.weight, atol=1e-6)


def test_what_one_memory_did_not_hold_is_tried_again_where_a_run_goes_on(batch: list[Tensor], tmp_path: Path) -> None:
    """On more devices, or a larger one, batch norms would else see fewer images than they could."""
    short = learner(Forgetful(most=5), [])
    train_step(short, 0, batch)
    state = RunState(
        dataset=tmp_path,
        dataset_name="",
        fingerprint="",
        counts={},
        taxonomy=taxonomy_of_names("tiny", ["a", "b", "c"]),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        environment={},
    )
    save_checkpoint(tmp_path / "checkpoint.safetensors", short, RunHistory(RunProgress(), state, []))
    again = learner(large := Forgetful(most=16), [])
    load_checkpoint(tmp_path / "checkpoint.safetensors", again)
    train_step(again, 1, batch)
    assert short.micro_batch == 4
    assert large.seen == [16]


def config(dataset: Path, *overrides: str) -> TrainConfig:
    return load_config(CONFIG, TrainConfig, [f"dataset={dataset}", *TINY, *overrides])


def test_a_loss_that_diverges_stops_and_keeps_what_was_good(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two good epochs the learning rate is ten thousand times as high: a loss of thousands, which is a number."""
    out = tmp_path / "run"
    monkeypatch.setattr(
        sys.modules[train.__module__], "build_schedule", lambda *given, **named: lambda step: 1e4 if step > 20 else 1
    )
    with pytest.raises(
        TrainingError, match=r"the loss diverges \(epoch 3, batch 9\): .*a uniform guess gives"
    ) as caught:
        train(config(dataset.root, "train.epochs=9", "train.ema_decay=0", "train.clip_grad=1e9"), out)
    kept = f"the best weights so far are in {out / 'best.safetensors'}. Try a lower learning rate in a new run: "
    assert kept in str(caught.value)
    with safe_open(out / "checkpoint.safetensors", "pt") as file:
        assert json.loads(file.metadata()["pelagia"])["progress"]["epoch"] == 2
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118


SMALL = ("model={backbone: resnet10t, options: {channels: [4, 8, 8, 8]}}", "train.epochs=400", "train.patience=400")


def words(dataset: Dataset, cache: Path, out: Path, *overrides: str) -> list[object]:
    settings = [f"dataset={dataset.root}", *TINY, *SMALL, f"data.cache={cache}", *overrides]
    return ["train", CONFIG, "--out", out, *(word for one in settings for word in ("--set", one))]


def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(
    mounts: Mounts, disk: Path, dataset: Dataset, tmp_path: Path
) -> None:
    out, command = disk / "run", words(dataset, tmp_path / "cache", disk / "run")
    training = mounts.start(sys.executable, "-m", "pelagia.cli", *command)
    mounts.must("timeout", 60, "sh", "-c", f"until [ -e {out}/checkpoint.safetensors ]; do sleep 0.02; done")
    fill(mounts, disk, 20)
    _, said = training.communicate(timeout=60)
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"the disk of {out} is full (epoch " in line
    assert line.endswith("is intact: free some space, then run the same command again to resume")
    assert training.returncode == 7
    mounts.must("rm", disk / "filler")
    again = mounts.start(sys.executable, "-m", "pelagia.cli", *command)
    while "resuming after epoch " not in (told := again.stderr.readline()):  # type: ignore[union-attr]
        assert told, "it did not resume"
    again.terminate()
    assert "error" not in again.communicate(timeout=60)[1]
    assert again.returncode == 143


def test_a_cache_that_the_disk_does_not_hold_is_done_without(
    mounts: Mounts, disk: Path, dataset: Dataset, tmp_path: Path
) -> None:
    fill(mounts, disk, 300)
    done = mounts.pelagia(*words(dataset, disk / "cache", tmp_path / "run", "train.epochs=1"))
    assert done.returncode == 0, done.stderr
    assert f"no cache of decoded images in {disk}/cache (No space left on device): decoding the orig" in done.stderr
    assert ".crops" not in mounts.must("ls", "-A", disk / "cache").replace(".lock", "")
