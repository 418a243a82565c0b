"""Soup, teachers, fine-tuning and frozen backbones, each in a run."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from model_fixtures import REPOSITORY, TINY
from pelagia.cli import app
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, InputError
from pelagia_training.config import TrainConfig
from pelagia_training.export.export import export
from pelagia_training.fit.context import Step
from pelagia_training.fit.targets import TargetBuilder
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.soup import Soup
from pelagia_training.studies.contact_sheet import DRAWS, show_augmentations
from pelagia_training.train import train

TINY_CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"


def config(dataset: Dataset, *overrides: str) -> TrainConfig:
    return load_config(TINY_CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY, *overrides])


def weights(run: Path, name: str = "best") -> dict[str, torch.Tensor]:
    return dict(safetensors.torch.load_file(run / f"{name}.safetensors"))


# ---- soup


def test_a_soup_is_the_mean_of_the_last_epochs(tmp_path: Path) -> None:
    soup, network = Soup(tmp_path, 3), torch.nn.BatchNorm1d(2)
    for epoch in range(1, 6):
        network.weight.data.fill_(epoch)
        network.num_batches_tracked.fill_(epoch)
        soup.add(network, epoch)
    average = soup.average()
    assert average is not None
    assert average["weight"].tolist() == [4.0, 4.0]
    assert average["num_batches_tracked"].dtype == torch.int64
    assert sorted(path.stem for path in (tmp_path / "soup").iterdir()) == ["000003", "000004", "000005"]


def test_a_run_tastes_its_soup_and_leaves_none(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str | Step] = []
    train(config(dataset, "train.soup=2", "train.epochs=3"), tmp_path / "run", said.append)
    assert any(isinstance(one, str) and one.startswith("average of the last epochs: ") for one in said)
    assert not (tmp_path / "run" / "soup").exists()
    export(tmp_path / "run", tmp_path / "model.onnx")


def test_a_soup_that_is_better_becomes_the_best(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = tmp_path / "able"
    good = train(config(dataset, "train.epochs=12", "train.lr=5e-3", "train.ema_decay=0"), able)
    monkeypatch.setattr(Soup, "average", lambda self: weights(able))
    state = train(config(dataset, "train.soup=2", "train.lr=1e-9"), tmp_path / "run")
    found, expected = weights(tmp_path / "run"), weights(able)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert state.metrics == good.metrics
    assert state.best_epoch == 2
    export(tmp_path / "run", tmp_path / "model.onnx")


# ---- teachers


class Sure(torch.nn.Module):
    """Says one class, whatever it sees."""

    def __init__(self, answer: int) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(inputs[0]), 3), -100.0)
        logits[:, self.answer] = 100.0
        return logits


def test_targets_are_labels_and_the_teachers_average() -> None:
    make_targets = TargetBuilder(classes=3, smoothing=0.0, teachers=[Sure(1), Sure(2)], weight=0.5)
    pixels, targets = make_targets([torch.zeros((2, 8, 8, 3), dtype=torch.uint8)], torch.tensor([0, 1]), (0, 0))
    assert torch.allclose(targets, torch.tensor([[0.5, 0.25, 0.25], [0, 0.75, 0.25]]), atol=1e-6)
    assert pixels.dtype == torch.uint8


def test_a_pupil_is_taught_by_a_run(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    taught = config(dataset, f"train.distil.teachers=[{run}]", "train.distil.weight=1")
    train(taught, tmp_path / "taught")
    train(config(dataset), tmp_path / "alone")
    first, second = weights(tmp_path / "taught"), weights(tmp_path / "alone")
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_teacher_of_other_classes_or_sizes_is_refused(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    teacher = f"train.distil.teachers=[{run}]"
    with pytest.raises(
        ConfigError, match="has other classes: choose a teacher with the same classes in the same order"
    ):
        train(config(dataset, teacher, f"data.exclude=[{dataset.class_names[0]}]"), tmp_path / "run")
    with pytest.raises(ConfigError, match="was trained with another preprocessing"):
        train(config(dataset, teacher, "preprocess.size=48"), tmp_path / "run")
    with pytest.raises(InputError, match="is not a training run"):
        train(config(dataset, f"train.distil.teachers=[{tmp_path}]"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- fine-tuning


@pytest.mark.parametrize("of", ["", "best.safetensors"])
def test_a_run_is_taken_whole_where_the_classes_are_the_same(
    dataset: Dataset, run: Path, tmp_path: Path, of: str
) -> None:
    said: list[str | Step] = []
    still = config(dataset, f"model.weights={run / of}", "train.lr=1e-12", "train.epochs=1", "train.ema_decay=0")
    train(still, tmp_path / "run", said.append)
    before, after = weights(run), weights(tmp_path / "run")
    trained = [name for name in before if "running" not in name and "tracked" not in name]
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in trained)
    assert any(isinstance(one, str) and one.endswith("initialized at random: nothing") for one in said)


def test_another_selection_of_classes_gets_a_head_of_its_own(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    said: list[str | Step] = []
    fewer = config(dataset, f"model.weights={run}", f"data.exclude=[{dataset.class_names[0]}]", "train.epochs=1")
    train(fewer, tmp_path / "run", said.append)
    assert any(isinstance(one, str) and one.endswith("initialized at random: fc.bias, fc.weight") for one in said)


def test_mean_and_deviation_come_along_with_a_run(dataset: Dataset, tmp_path: Path) -> None:
    train(config(dataset, "model.mean=[0.1,0.2,0.3]", "train.epochs=1"), tmp_path / "first")
    train(config(dataset, f"model.weights={tmp_path / 'first'}", "train.epochs=1"), tmp_path / "second")
    assert read_run(tmp_path / "second")[1].mean == (0.1, 0.2, 0.3)


def test_a_run_of_another_network_is_refused_by_name(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    other = config(dataset, "model={backbone: resnet10t}", f"model.weights={run}")
    with pytest.raises(
        ConfigError, match="backbone is test_resnet in the run .* but resnet10t in the config: set model.backbone"
    ):
        train(other, tmp_path / "run")


def test_a_run_that_takes_sizes_gives_its_backbone_to_one_that_does_not(dataset: Dataset, tmp_path: Path) -> None:
    sized = config(dataset, "model={backbone: test_resnet, size: true}", "train.epochs=1")
    train(sized, tmp_path / "sized")
    train(config(dataset, f"model.weights={tmp_path / 'sized'}", "train.epochs=1"), tmp_path / "plain")
    assert not any(name.startswith("size_head") for name in weights(tmp_path / "plain"))


def test_a_frozen_backbone_keeps_its_weights_until_it_is_its_turn(dataset: Dataset, run: Path, tmp_path: Path) -> None:
    frozen = ("train.freeze_epochs=1", "train.epochs=2", "train.ema_decay=0", "train.patience=1")
    seen: list[dict[str, torch.Tensor]] = []

    def keep(event: str | Step) -> None:
        if isinstance(event, Step) and event.validation is not None:
            seen.append(weights(tmp_path / "run", "last"))

    train(config(dataset, *frozen, f"model.weights={run}", "train.lr=1e-2"), tmp_path / "run", keep)
    first, before = seen[0], weights(run)
    learnt = {name for name in first if not torch.equal(first[name], before[name])}
    assert {name for name in learnt if "running" not in name and "tracked" not in name} == {
        "network.fc.weight",
        "network.fc.bias",
    }
    if len(seen) > 1:
        assert not torch.equal(seen[1]["network.conv1.0.weight"], before["network.conv1.0.weight"])


def test_freezing_all_epochs_is_refused() -> None:
    with pytest.raises(ConfigError, match="freeze_epochs must be less than epochs, which is 2"):
        load_config(TINY_CONFIG, TrainConfig, ["train.epochs=2", "train.freeze_epochs=2"])


def test_more_mixing_than_images_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="mixup and cutmix are shares of the images: lower them so that their sum is at most 1"
    ):
        load_config(TINY_CONFIG, TrainConfig, ["train.mixup=0.7", "train.cutmix=0.5"])


# ---- all of it at once, and the same again

ALL = (
    *("train.mixup=0.3", "train.cutmix=0.3", "train.layer_decay=0.8", "train.freeze_epochs=1", "train.soup=2"),
    *("train.long_tail=sqrt_sampling", "train.epochs=3", "augment.clip=0.5", "augment.bubbles=0.5"),
    *("augment.background=0.5", "augment.illumination=0.5", "model={backbone: test_resnet, size: true}"),
)


def test_the_same_seed_gives_the_same_weights_with_everything_switched_on(dataset: Dataset, tmp_path: Path) -> None:
    for name in ("first", "second"):
        train(config(dataset, *ALL), tmp_path / name)
    first, second = (weights(tmp_path / name) for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_was_broken_off_ends_the_same_with_everything_switched_on(dataset: Dataset, tmp_path: Path) -> None:
    def stop(event: str | Step) -> None:
        if isinstance(event, Step) and event.epoch == 2 and event.batch == 3 and event.validation is None:
            raise KeyboardInterrupt

    often = (*ALL, "train.checkpoint_minutes=0")
    train(config(dataset, *often), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, *often), tmp_path / "broken", stop)
    train(config(dataset, *often), tmp_path / "broken")
    first, second = (weights(tmp_path / name) for name in ("whole", "broken"))
    assert all(torch.equal(first[name], second[name]) for name in first)


# ---- the contact sheet


def test_the_contact_sheet_shows_originals_and_draws(dataset: Dataset, tmp_path: Path) -> None:
    rows = show_augmentations(config(dataset), tmp_path / "sheet.png").rows
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    height, width = sheet.shape[:2]
    cell = width // (DRAWS + 1)
    assert height == rows * cell
    again = tmp_path / "again.png"
    show_augmentations(config(dataset), again)
    assert again.read_bytes() == (tmp_path / "sheet.png").read_bytes()
    first, *draws = np.split(sheet[:cell], DRAWS + 1, axis=1)
    assert sum(not np.array_equal(first, one) for one in draws) > DRAWS / 2


def test_the_contact_sheet_shows_what_is_mixed_and_the_command_says_where(dataset: Dataset, tmp_path: Path) -> None:
    settings = [f"dataset={dataset.root}", *TINY, "augment={flips: none, rotate: 0, strength: 0}", "train.cutmix=0.2"]
    for kinds in (["train.mixup=0.3"], []):
        file = tmp_path / f"{len(kinds)}.png"
        words = [word for one in [*settings, *kinds] for word in ("--set", one)]
        done = CliRunner().invoke(app, ["train", str(TINY_CONFIG), *words, "--show-augmentations", str(file)])
        assert done.exit_code == 0, done.output
        mixup, cutmix = (
            "11 to 13: the image is mixed with that of another row (train.mixup, 30%",
            "(train.cutmix, 20% of images)",
        )
        assert (f"columns {mixup}" in done.output) == bool(kinds)
        assert (
            f"columns {'14 to 16' if kinds else '11 to 13'}: the image is mixed with that of another row {cutmix}"
            in done.output
        )
        cells = np.split(cv2.imread(str(file)).astype(int), DRAWS + 1 + 3 * (1 + len(kinds)), axis=1)
        changed = [(cell != cells[0]).any(axis=2).mean() for cell in cells]
        assert max(changed[: DRAWS + 1]) == 0
        assert min(changed[DRAWS + 1 :]) > 0.02
        assert np.mean(changed[-3:]) < 0.5  # a rectangle of less than half of each


def test_the_command_draws_it_and_trains_nothing(dataset: Dataset, tmp_path: Path) -> None:
    arguments = ["train", str(TINY_CONFIG), "--set", f"dataset={dataset.root}", "--show-augmentations"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "sheet.png")])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    with pytest.raises(InputError, match="writes a PNG"):
        show_augmentations(config(dataset), tmp_path / "sheet.jpg")
    with pytest.raises(InputError, match="exists already"):
        show_augmentations(config(dataset), tmp_path / "sheet.png")


def test_a_run_needs_a_place(dataset: Dataset) -> None:
    done = CliRunner().invoke(app, ["train", str(TINY_CONFIG), "--set", f"dataset={dataset.root}"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "no run folder is given: name one with --out RUN"
