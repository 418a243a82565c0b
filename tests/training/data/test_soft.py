from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pelagia.config import load_config
from pelagia.dataset.schema import Dataset
from pelagia.dataset.soft_labels import SOFT_LABEL, soft_label_text
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.data.soft import training_labels
from pelagia_training.fit.targets import TargetBuilder
from pelagia_training.runs.logs import read_curves
from pelagia_training.train import train

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIG = REPOSITORY / "configs/training/tiny_cpu.yaml"
TINY = ("preprocess.size=32", "train.epochs=1", "train.batch_size=16", "model={backbone: test_resnet}")


@pytest.fixture(scope="module")
def soft_dataset(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The simulated dataset; each image is of its class with 0.6 and of the next class with 0.4."""
    names = dataset.class_names

    def candidate(index: int) -> Candidate:
        record = dataset.records[index]
        other = names[(names.index(record.class_name) + 1) % len(names)]
        extra = {SOFT_LABEL: soft_label_text({record.class_name: 0.6, other: 0.4})}
        return Candidate(
            dataset.file(record), record.class_name, record.source, record.group, split=record.split, extra=extra
        )

    out = tmp_path_factory.mktemp("soft") / "dataset"
    candidates = [candidate(index) for index in range(len(dataset.records))]
    return write_dataset(out, candidates, source={}, taxonomy=dataset.meta.taxonomy, split=dataset.meta.split)


def config(dataset: Dataset, *overrides: str) -> TrainConfig:
    return load_config(CONFIG, TrainConfig, [f"dataset={dataset.root}", *TINY, *overrides])


def test_soft_labels_become_the_targets_of_a_batch(soft_dataset: Dataset) -> None:
    classes = soft_dataset.class_names
    records = soft_dataset.split("train")[:4]
    labels = torch.from_numpy(training_labels(records, classes, soft=True))
    build = TargetBuilder(classes=len(classes), smoothing=0.1)
    *_, targets = build([torch.zeros((4, 8, 8, 3), dtype=torch.uint8)], labels, (0, 0))
    assert targets.sum(1).tolist() == pytest.approx([1] * 4)
    index = classes.index(records[0].class_name)
    assert targets[0, index].item() == pytest.approx(0.6 * 0.9 + 0.1 / len(classes), abs=1e-6)
    assert training_labels(records, classes, soft=False).dtype.kind == "i"


def test_a_run_learns_them_only_if_the_key_is_set(soft_dataset: Dataset, dataset: Dataset, tmp_path: Path) -> None:
    said: list[object] = []
    train(config(soft_dataset, "train.soft_labels=true"), tmp_path / "soft", said.append)
    train(config(soft_dataset), tmp_path / "hard", said.append)
    count = len(soft_dataset.split("train"))
    assert f"{count} of {count} training images have a soft label" in said
    assert any(str(one).endswith("set train.soft_labels=true to use it") for one in said)
    losses = [read_curves(tmp_path / name)["train_loss"] for name in ("soft", "hard")]
    assert losses[0] != losses[1]
    with pytest.raises(ConfigError, match="no training image of the dataset has a soft label"):
        train(config(dataset, "train.soft_labels=true"), tmp_path / "none")


def test_a_class_that_is_excluded_takes_its_probability_with_it(soft_dataset: Dataset) -> None:
    first, *others = soft_dataset.class_names
    records = [replace(record) for record in soft_dataset.records if record.class_name != first]
    labels = training_labels(records, others, soft=True)
    assert labels.sum(axis=1).tolist() == pytest.approx([1] * len(records))
