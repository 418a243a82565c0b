"""A run: what it leaves, and what it refuses."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.errors import ConfigError, DatasetError, InputError, TrainingError
from pelagia_labeling.importers.dataset import import_dataset
from pelagia_training.config import TrainConfig
from pelagia_training.fit.context import Step
from pelagia_training.runs.folder import CONFIG_FILE, read_run
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=2", "train.batch_size=16", "model={backbone: test_resnet}")


def config(dataset: Path, *overrides: str) -> TrainConfig:
    return load_config(CONFIG, TrainConfig, [f"dataset={dataset}", *TINY, *overrides])


def test_a_run_holds_its_config_its_log_and_its_weights(run: Path, dataset: Dataset) -> None:
    settings, state = read_run(run)
    assert settings.train.epochs == 2
    assert state.status == "finished"
    assert state.fingerprint == dataset.meta.fingerprint
    assert 0 <= state.metrics["macro_f1"] <= 1
    assert np.sum(state.validation_confusion) == len(dataset.split("val"))
    with (run / "metrics.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert any((run / "tensorboard").glob("events.*"))
    for name in ("best.safetensors", "last.safetensors"):
        assert all(torch.isfinite(value).all() for value in safetensors.torch.load_file(run / name).values())


def test_a_run_made_before_jpegs_were_reduced_is_exported_as_it_was_trained(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    config = (run / CONFIG_FILE).read_text()
    assert config.count("  jpeg_scale: reduced\n") == 1
    (tmp_path / "run" / CONFIG_FILE).write_text(config.replace("  jpeg_scale: reduced\n", ""))
    assert read_run(run)[0].preprocess.jpeg_scale == "reduced"
    assert read_run(tmp_path / "run")[0].preprocess.jpeg_scale == "full"


def test_the_same_seed_gives_the_same_weights(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    train(config(dataset.root), tmp_path / "again")
    assert (tmp_path / "again" / "last.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()


def test_worker_processes_change_nothing(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    train(config(dataset.root, "data.workers=2"), tmp_path / "workers")
    assert (tmp_path / "workers" / "last.safetensors").read_bytes() == (run / "last.safetensors").read_bytes()


def test_it_learns(dataset: Dataset, tmp_path: Path) -> None:
    losses = []
    train(
        config(dataset.root, "train.epochs=8", "train.ema_decay=0"),
        tmp_path / "run",
        lambda event: losses.append(event.loss) if isinstance(event, Step) and event.validation else None,
    )
    assert losses[-1] < losses[0] - 0.1


def test_it_stops_when_validation_no_longer_improves(dataset: Dataset, tmp_path: Path) -> None:
    events: list[str | Step] = []
    train(
        config(dataset.root, "train.epochs=30", "train.patience=1", "train.lr=1e-12", "train.warmup_epochs=0"),
        tmp_path / "run",
        events.append,
    )
    assert any(
        isinstance(event, str)
        and event.startswith("stopping early: for 1 epochs, the validation macro-F1 was not better than ")
        for event in events
    )


def test_a_folder_that_is_no_run_is_not_touched(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already: choose another name, or remove it first"):
        train(config(dataset.root), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_loss_that_is_no_number_ends_the_run_with_advice(dataset: Dataset, tmp_path: Path) -> None:
    fault = r"the loss is not a finite number \(epoch 1, batch \d+\); .*--set train.lr="
    with pytest.raises(TrainingError, match=fault):
        train(config(dataset.root, "train.lr=1e30", "train.warmup_epochs=0", "train.clip_grad=1e30"), tmp_path / "run")


def test_a_class_with_one_image_is_refused_with_the_setting_that_leaves_it_out(
    dataset: Dataset, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for name in ("copepod", "medusa"):
        (source / name).mkdir(parents=True)
        for record in [record for record in dataset.records if record.class_name == name][:12]:
            shutil.copy(dataset.file(record), source / name)
    (source / "rare").mkdir()
    shutil.copy(
        dataset.file(next(record for record in dataset.records if record.class_name == "detritus")), source / "rare"
    )
    import_dataset(source, tmp_path / "dataset")
    with pytest.raises(
        DatasetError, match=r"fewer than 2 training images of 'rare' \(1\): .*--set 'data.exclude=\[rare\]'"
    ):
        train(config(tmp_path / "dataset"), tmp_path / "run")
    assert train(config(tmp_path / "dataset", "data.exclude=[rare]"), tmp_path / "run").taxonomy.names == (
        "copepod",
        "medusa",
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trian.epochs=3", f"{CONFIG}: unknown key 'trian' (did you mean 'train'?)"),
        ("train.epoch=3", f"{CONFIG}: unknown key 'train.epoch' (did you mean 'epochs'?)"),
        ("train.lr=-1", f"{CONFIG}: train.lr: input should be greater than 0 (found -1)"),
        ("data.workers=-1", f"{CONFIG}: data.workers: input should be greater than or equal to 0 (found -1)"),
        ("seed=5000000000", f"{CONFIG}: seed: input should be less than 4294967296 (found 5000000000)"),
        ("model.std=[0,1,1]", f"{CONFIG}: model.std.0: input should be greater than 0 (found 0)"),
        (
            "train.first_size=128",
            f"{CONFIG}: train.first_size is 128, but the images have 64 pixels (preprocess.size): set "
            "train.first_size to a smaller number, or leave it out",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_the_place(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(CONFIG, TrainConfig, [override])
    assert str(caught.value) == message


def test_two_sources_of_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="pretrained and weights exclude each other"):
        load_config(CONFIG, TrainConfig, ["model.pretrained=true", "model.weights=x.pth"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("device=cuda", "device: 'cuda' cannot be used here: "),
        (
            "model={backbone: vit_tiny_patch16_224, options: {img_size: 64}}",
            "preprocess.size: vit_tiny_patch16_224 does not take images of 32 x",
        ),
        (
            "model={backbone: test_resnet, options: {in_chans: 1}}",
            "model.options: in_chans is 1, but Pelagia gives every network the three channels of RGB",
        ),
        ("model={backbone: test_resnet, options: {act_layer: no}}", "model: timm cannot build test_resnet with "),
        ("model={backbone: resnet18.foo}", "resnet18.foo"),
        (
            "model={backbone: vit_tiny_patch16_224};train.first_size=16",
            "train.first_size: vit_tiny_patch16_224 does not take images of 16 x 16 pixels, which those of the",
        ),
    ],
)
def test_what_torch_or_timm_cannot_do_is_one_line_and_leaves_no_run(
    dataset: Dataset, tmp_path: Path, override: str, message: str
) -> None:
    if override == "device=cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(ConfigError) as caught:
        train(config(dataset.root, *override.split(";")), tmp_path / "run")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_excluding_every_class_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match="the number of classes to train on is 0, but a classifier needs at least two: shorten data.exclude",
    ):
        train(config(dataset.root, f"data.exclude=[{','.join(dataset.class_names)}]"), tmp_path / "run")


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs/training").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_and_opens_with_its_command(path: Path) -> None:
    load_config(path, TrainConfig)
    first = path.read_text(encoding="utf-8").splitlines()[0]
    command = rf"# pelagia train configs/training/{path.name} --set dataset=DATASET (--set model.weights=FILE )?--out "
    assert re.match(command, first)


def test_a_config_without_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dataset is given: name a dataset folder with --set dataset=DATASET"):
        train(load_config(CONFIG, TrainConfig), tmp_path / "run")


def test_a_run_that_learnt_nothing_leaves_no_folder(dataset: Dataset, tmp_path: Path) -> None:
    def interrupt(event: str | Step) -> None:
        if isinstance(event, Step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(dataset.root), tmp_path / "run", interrupt)
    assert not (tmp_path / "run").exists()


def test_a_class_without_validation_images_is_named(dataset: Dataset, tmp_path: Path) -> None:
    source, said = tmp_path / "source", []
    for name, split in (("copepod", "all"), ("medusa", "all"), ("detritus", "train")):
        (source / name).mkdir(parents=True)
        for record in [one for one in dataset.split(split) if one.class_name == name]:
            shutil.copy(dataset.file(record), source / name / f"{record.split}_{Path(record.path).name}")
    with (tmp_path / "manifest.csv").open("w") as file:
        file.write("path,class,part\n")
        for image in sorted(source.rglob("*.*")):
            part = "one" if image.parent.name == "detritus" else image.name
            file.write(f"{image.relative_to(source)},{image.parent.name},{part}\n")
    import_dataset(source, tmp_path / "dataset", manifest=tmp_path / "manifest.csv", group_column="part")
    train(config(tmp_path / "dataset", "train.epochs=1"), tmp_path / "run", said.append)
    assert (
        "warning: the val split has no image of detritus, so these classes cannot be validated: label more, or set "
        "data.exclude"
    ) in said


def test_more_images_a_batch_than_there_are_is_said(dataset: Dataset, tmp_path: Path) -> None:
    said: list[object] = []
    train(config(dataset.root, "train.batch_size=1000", "train.epochs=1"), tmp_path / "run", said.append)
    count = len(dataset.split("train"))
    warning = f"warning: there are only {count} training images, fewer than train.batch_size: one batch per epoch; "
    assert any(str(event).startswith(warning) for event in said)


def test_a_run_that_may_stop_while_its_images_are_small_is_told(dataset: Dataset, tmp_path: Path) -> None:
    said: list[object] = []

    def stop(event: object) -> None:
        said.append(event)
        if isinstance(event, Step):
            raise KeyboardInterrupt

    small = ("preprocess.size=48", "train.first_size=32", "train.epochs=20", "train.patience=5")
    with pytest.raises(KeyboardInterrupt):
        train(config(dataset.root, *small), tmp_path / "run", stop)
    assert (
        "warning: the training images have 48 pixels from epoch 9 on, and train.patience is 5: the run may stop "
        "before; set train.patience=20"
    ) in said


def test_weights_that_do_not_fit_are_told_before_anything_is_decoded(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    bad = config(dataset.root, f"model.weights={tmp_path / 'bad.pth'}", f"data.cache={tmp_path / 'cache'}")
    with pytest.raises(InputError, match="holds no weights"):
        train(bad, tmp_path / "run")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_met_while_streaming_is_one_line(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    broken = Dataset.read(shutil.copytree(dataset.root, tmp_path / "dataset"))
    record = broken.split("train")[7]
    broken.file(record).write_bytes(b"not an image")
    with pytest.raises(DatasetError) as caught:
        train(config(broken.root, "data.stream=true", f"data.workers={workers}"), tmp_path / "run")
    changed = f"{record.path}: the image's bytes have changed since the dataset was made"
    assert str(caught.value) == f"{changed}; run `pelagia dataset check {broken.root}`"
    assert not (tmp_path / "run").exists()


def test_a_warm_up_that_is_all_of_the_training_is_said(dataset: Dataset, tmp_path: Path) -> None:
    said: list[object] = []
    other: list[object] = []
    train(config(dataset.root, "train.epochs=1", "train.warmup_epochs=1"), tmp_path / "run", said.append)
    assert any(
        str(one).startswith(
            "warning: the warm-up of 1 epochs is at least as long as the training of 1: the learning rate"
        )
        for one in said
    )
    train(config(dataset.root, "train.epochs=1", "train.warmup_epochs=0.5"), tmp_path / "other", other.append)
    assert not any("warm-up" in str(one) for one in other)
