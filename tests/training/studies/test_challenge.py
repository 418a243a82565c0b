"""Champion and challenger: a better model replaces the one in use, another does not."""

import csv
import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cli_fixtures import Pelagia
from model_fixtures import REPOSITORY, TINY
from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError, InputError
from pelagia.model.metadata import ModelFile
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_labeling.importers.published_split import PublishedSplit
from pelagia_training.config import TrainConfig
from pelagia_training.export.finish import deliver
from pelagia_training.figures.paired import paired_differences
from pelagia_training.retrain_commands import _about_exclusions, _settings
from pelagia_training.runs.folder import read_run
from pelagia_training.studies.challenge import challenge
from pelagia_training.studies.champion import (
    config_of_challenger,
    find_dataset,
    find_run,
    hold_out,
    lost_exclusions,
)
from pelagia_training.train import train

COLORS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}


def make(folder: Path, classes: Sequence[str], groups: dict[str, str]) -> Dataset:
    """A dataset of noisy images of one color; ``groups``: group -> its split. An image depends on its name."""
    folder.mkdir()
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "class", "station", "part"))
        for group, split in groups.items():
            for index in range(8):
                name = classes[index % len(classes)]
                noise = np.random.default_rng([*group.encode(), index]).normal(0, 60, (32, 32, 3))
                pixels = np.clip(np.array(COLORS[name]) + noise, 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{group}_{index}.png"), pixels[..., ::-1])
                table.writerow((f"{group}_{index}.png", name, group, split))
    return import_dataset(
        *(folder, folder.parent / f"{folder.name}_dataset"),
        manifest=folder / "list.csv",
        group_column="station",
        published=PublishedSplit(column="part"),
        join_near_duplicates=False,
    )


def groups(split: str, first: int, last: int) -> dict[str, str]:
    return {f"S{number:02}": split for number in range(first, last)}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("old")
    return make(
        folder / "old", ("red", "green"), groups("train", 0, 12) | groups("val", 12, 16) | groups("test", 16, 30)
    )


@pytest.fixture(scope="module")
def new(old: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The stations of ``old``, one of which is now in another split, and new ones with a third class."""
    folder = tmp_path_factory.mktemp("new")
    stations = groups("train", 1, 12) | groups("val", 12, 16) | groups("test", 16, 30) | {"S00": "test"}
    first = make(folder / "first", ("red", "green"), stations)
    more = make(folder / "more", ("blue",), groups("train", 40, 46) | groups("val", 46, 48) | groups("test", 48, 50))
    rows = [
        (str(dataset.file(record).absolute()), record.class_name, record.group, record.split)
        for dataset in (first, more)
        for record in dataset.records
    ]
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "class", "station", "part"), *rows])
    return import_dataset(
        *(folder, folder / "dataset"),
        manifest=folder / "all.csv",
        group_column="station",
        published=PublishedSplit(column="part"),
        join_near_duplicates=False,
    )


@pytest.fixture(scope="module")
def champion(old: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """A model that has learned nothing, in its run folder."""
    run = tmp_path_factory.mktemp("champion") / "run"
    settings = [f"dataset={old.root}", *TINY, "train.epochs=1", "train.lr=1e-9", "train.ema_decay=0"]
    train(load_config(REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, settings), run)
    return deliver(run)


BETTER = ("--set", "train.epochs=6", "--set", "train.lr=5e-3", "--set", "train.freeze_epochs=0")


@pytest.fixture(scope="module")
def better(
    champion: ModelFile, new: Dataset, pelagia: Pelagia, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of a retraining with a better challenger, and what it printed."""
    out = tmp_path_factory.mktemp("retrained") / "second"
    command = ("retrain", "--champion", champion.path, "--dataset", new.root, "--out", out)
    done = pelagia(*command, *BETTER)
    assert done.returncode == 0, done.stderr
    return out, done.stdout + done.stderr


def test_a_better_challenger_replaces_the_champion(better: tuple[Path, str], champion: ModelFile) -> None:
    out, shown = better
    found = json.loads((out / "retrain.json").read_text())
    assert found["use"] == "challenger"
    assert found["differences"]["macro_f1"]["interval"][0] > 0.1
    challenger = (out / "challenger" / "model.onnx").read_bytes()
    assert (out / "current.onnx").read_bytes() == challenger != champion.data
    assert ModelFile.read(champion.path).sha256 == champion.sha256
    assert "the challenger is better: use it" in shown
    for name in ("report.html", "evaluation_champion/report.html", "evaluation_challenger/report.html"):
        assert "<html" in (out / name).read_text()
    assert "challenger 1.000" in (out / "report.html").read_text()


def test_both_are_compared_on_images_and_classes_that_neither_has_an_advantage_on(better: tuple[Path, str]) -> None:
    found = json.loads((better[0] / "retrain.json").read_text())
    assert found["f1"].keys() == {"red", "green"}
    assert (found["images"], found["groups"]) == (14 * 8, 14)
    assert found["seen_by_champion"] == 8  # station S00 was in its train split
    assert found["left_out"] == {"blue": 16}
    assert "16 images of \u201cblue\u201d, because not both models know this class" in better[1]


def test_an_equal_challenger_does_not_replace_the_champion_and_a_repeated_command_does_not_train(
    better: tuple[Path, str], new: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion is now the winner of the first comparison; its run is found through its folder."""
    model = ModelFile.read(better[0] / "current.onnx")
    run = find_run(model)
    assert run == (better[0] / "challenger").absolute()
    held_out = hold_out(model, find_dataset(model, run, None, new), new)
    config = config_of_challenger(model, run, new)
    assert config.model.weights == run
    config = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 1, "lr": 1e-9})})
    stopped = []

    def stop(event: object) -> None:
        if not isinstance(event, str):
            stopped.append(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        challenge(model, run, held_out, config, tmp_path / "third", stop)
    assert stopped
    found = challenge(model, run, held_out, config, tmp_path / "third")
    assert not found.main.is_better
    assert "keep the champion" in found.summary
    assert (tmp_path / "third" / "current.onnx").read_bytes() == model.data
    assert found.left_out == {}
    monkeypatch.setattr("pelagia_training.studies.challenge.train", None)  # calling it would fail
    told: list[str] = []
    again = challenge(model, run, held_out, config, tmp_path / "third", told.append)  # type: ignore[arg-type]
    assert again.differences == found.differences
    assert "not trained again" in told[0]


def test_a_renamed_class_that_the_champion_was_trained_without_is_named(
    champion: ModelFile, old: Dataset, new: Dataset
) -> None:
    """Its images get the name of a class that the champion does not know, or of none."""
    training = {**champion.metadata.training, "data": {**champion.metadata.training["data"], "exclude": ["old blue"]}}
    metadata = champion.metadata.model_copy(update={"training": training})
    without_blue = replace(champion, metadata=metadata)
    blue = [record for record in new.records if record.class_name == "blue"]
    before = replace(old, records=(*old.records, *(replace(record, class_name="old blue") for record in blue)))
    assert lost_exclusions(without_blue, before, new) == {"old blue": ["blue"]}
    assert lost_exclusions(without_blue, old, new) == {"old blue": []}
    assert lost_exclusions(champion, before, new) == {}
    *_, class_now, advice = _about_exclusions(["mud"], {"old blue": ["blue"]})
    assert class_now.endswith(
        "without old blue, and the new dataset has no class of this name: its images are now blue"
    )
    assert "data.exclude=[mud, blue]" in advice


def test_the_learning_rate_is_halved_once_in_a_chain_of_retrainings(
    champion: ModelFile, better: tuple[Path, str], new: Dataset
) -> None:
    runs = [champion.path.parent, better[0] / "challenger"]
    rates = [read_run(run)[0].train.lr for run in runs]
    first, second = (config_of_challenger(champion, run, new).train.lr for run in runs)
    assert first == rates[0] / 2
    assert second == rates[1]


def test_the_challenger_is_trained_on_the_named_dataset_whatever_its_name(champion: ModelFile, old: Dataset) -> None:
    """YAML takes 2024 for a number and the rest of the second name for a comment."""
    for name in ("2024", "cruise #2"):
        named = replace(old, root=Path(name))
        config = REPOSITORY / "configs/training/tiny_cpu.yaml"
        assert _settings(champion, None, named, config, ["dataset=another"]).dataset == Path(name)
        assert _settings(champion, champion.path.parent, named, None, ["dataset=another"]).dataset == Path(name)


def test_a_challenger_of_an_older_dataset_is_not_taken_for_one_of_the_new_dataset(
    better: tuple[Path, str], champion: ModelFile, old: Dataset, pelagia: Pelagia
) -> None:
    """It may have learned what is held out now."""
    done = pelagia("retrain", "--champion", champion.path, "--dataset", old.root, "--out", better[0], *BETTER)
    assert done.returncode == InputError.exit_code
    assert "was started on another dataset" in done.stderr
    assert "choose another --out" in done.stderr


def test_a_model_whose_training_images_are_not_known_is_refused(
    champion: ModelFile, old: Dataset, new: Dataset, tmp_path: Path, pelagia: Pelagia
) -> None:
    alone = tmp_path / "model.onnx"
    alone.write_bytes(champion.data)
    command = ("retrain", "--champion", alone, "--dataset", new.root, "--out", tmp_path / "out")
    done = pelagia(*command)
    assert done.returncode == InputError.exit_code
    assert "it is not known which images" in done.stderr
    assert "--champion-dataset FOLDER" in done.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="is not the dataset"):
        find_dataset(ModelFile.read(alone), None, new.root, new)
    assert find_dataset(ModelFile.read(alone), None, old.root, new).root == old.root
    assert config_of_challenger(ModelFile.read(alone), None, new).model.weights is None


def test_a_group_that_the_champion_has_seen_is_not_held_out_under_another_name(
    champion: ModelFile, old: Dataset, new: Dataset
) -> None:
    """S00 was learned; in the new dataset it is joined with a station that was not, and one of its images is new."""
    joined = [replace(one, group="A") if one.group in ("S00", "S16") else one for one in new.records]
    first = [one.group for one in new.records].index("S00")
    joined[first] = replace(joined[first], sha256="0" * 64)
    held_out = hold_out(champion, old, replace(new, records=tuple(joined)))
    assert "A" not in {record.group for record in held_out.dataset.records}
    assert held_out.seen == 16


def test_a_dataset_without_unseen_test_images_is_refused(champion: ModelFile, old: Dataset, tmp_path: Path) -> None:
    seen = make(
        tmp_path / "seen", ("red", "green"), groups("test", 0, 12) | groups("train", 16, 20) | groups("val", 20, 22)
    )
    with pytest.raises(DatasetError, match="nothing is left to compare on"):
        hold_out(champion, old, seen)


def test_the_paired_interval_is_narrower_than_the_difference_of_single_ones() -> None:
    """Half of the groups are hard for both models; one model is right on two more images of each group."""
    hard = np.repeat(np.arange(40) % 2, 20)
    targets = np.tile(np.arange(20) % 2, 40)
    first = np.where((np.tile(np.arange(20), 40) < 10) & (hard == 1), 1 - targets, targets)
    second = np.where(np.isin(np.tile(np.arange(20), 40), (0, 1)), targets, first)
    found = paired_differences(targets, (first, second), [str(one) for one in np.repeat(np.arange(40), 20)], 2)
    accuracy = found["accuracy"]
    assert accuracy.value == pytest.approx(0.05)
    assert accuracy.is_better
    assert accuracy.interval is not None
    assert accuracy.interval.high - accuracy.interval.low < 0.04  # a single model's interval is about 0.16 wide
    assert not paired_differences(targets, (first, first), ["a"] * 800, 2)["accuracy"].is_better


def test_the_paired_interval_of_many_groups_needs_little_memory() -> None:
    """Without a group column, each image is a group of its own."""
    targets = np.arange(20_000) % 2
    tracemalloc.start()
    paired_differences(targets, (targets, 1 - targets), [str(one) for one in range(len(targets))], 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # the draws of all groups at once would be 320 MB
