"""The plan: epochs from minutes, the config of each run, and which options may change."""

from __future__ import annotations

from typing import Any

import pytest

from model_fixtures import REPOSITORY, TINY
from pelagia.config import altered, load_config
from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.fit.context import Step
from pelagia_training.frontier.networks import read_networks
from pelagia_training.frontier.plan import Plan, PlannedRun, changed_options, config_of, epochs_for, require_plannable
from pelagia_training.frontier.training import _Watch

CONFIG = load_config(
    REPOSITORY / "configs/training/tiny_cpu.yaml", TrainConfig, [*TINY, "train.epochs=20", "train.freeze_epochs=5"]
)


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "fingerprint": "a" * 64,
        "machine": "here",
        "minutes": 10,
        "most_epochs": 20,
        "config": CONFIG,
        "networks": read_networks(["resnet18", "test_resnet"], CONFIG.model),
        "sizes": (32, 48),
    }
    return Plan(**values | changes)


@pytest.mark.parametrize(("seconds", "epochs"), [(60, 10), (1, 20), (500, 2), (41, 15)])
def test_the_epochs_fill_the_minutes_within_their_limits(seconds: float, epochs: int) -> None:
    assert epochs_for(10, seconds, 20) == epochs


def test_every_network_is_planned_at_every_size() -> None:
    names = [name for name, _, _ in plan().wanted]
    assert names == ["resnet18-32", "resnet18-48", "test_resnet-32", "test_resnet-48"]
    known = PlannedRun(name="resnet18-48", network="resnet18", size=48, epoch_seconds=1, epochs=2)
    assert [name for name, _, _ in plan(runs=(known,)).missing] == ["resnet18-32", "test_resnet-32", "test_resnet-48"]


def test_warm_up_and_frozen_epochs_are_shortened_with_the_training() -> None:
    made = config_of(plan(), plan().networks[1], 48, 2)
    assert (made.preprocess.size, made.model.backbone, made.train.epochs) == (48, "test_resnet", 2)
    assert (made.train.warmup_epochs, made.train.freeze_epochs) == (0.3, 0)
    whole = config_of(plan(), plan().networks[1], 48, 20)
    assert (whole.train.warmup_epochs, whole.train.freeze_epochs) == (3, 5)


@pytest.mark.parametrize(("size", "first"), [(48, 32), (32, 21), (17, 16), (16, 16)])
def test_growing_images_begin_at_the_same_share_of_each_size(size: int, first: int) -> None:
    config = altered(CONFIG, {"preprocess.size": 48, "train.first_size": 32}, "test")
    assert config_of(plan(config=config), plan().networks[1], size, 2).train.first_size == first


def test_networks_and_sizes_may_be_added() -> None:
    more = plan(networks=read_networks(["test_resnet", "resnet18", "resnet34"], CONFIG.model), sizes=(32, 48, 64))
    assert changed_options(plan(), more) == []


def test_each_changed_option_is_named() -> None:
    changed = plan(
        minutes=20,
        most_epochs=30,
        fingerprint="b" * 64,
        sizes=(48,),
        config=CONFIG.model_copy(update={"seed": 7}),
        networks=read_networks(["test_resnet"], CONFIG.model.model_copy(update={"drop_rate": 0.5})),
    )
    planned = [
        PlannedRun(name=name, network=network.name, size=size, epoch_seconds=1, epochs=2)
        for name, network, size in plan().wanted
    ]
    assert changed_options(plan(runs=planned), changed) == [
        "seed: was 0, is now 7",
        "--minutes: was 10, is now 20",
        "--most-epochs: was 20, is now 30",
        "the dataset: was aaaaaaaaaaaa, is now bbbbbbbbbbbb",
        "--sizes: 32 was named and is not named now",
        "--networks: 'resnet18' was named and is not named now",
        "--networks: drop_rate of 'test_resnet' was 0.0, is now 0.5",
    ]


def test_what_was_not_measured_yet_may_be_taken_away() -> None:
    known = PlannedRun(name="resnet18-48", network="resnet18", size=48, epoch_seconds=1, epochs=2)
    fewer = plan(networks=read_networks(["resnet18"], CONFIG.model), sizes=(48,))
    assert changed_options(plan(runs=[known]), fewer) == []


def test_a_head_alone_cannot_be_trained_for_a_time() -> None:
    head = CONFIG.train.model_copy(update={"head_only": True})
    with pytest.raises(ConfigError, match=r"train\.head_only: it fits the last layer in seconds"):
        require_plannable(CONFIG.model_copy(update={"train": head}))


def test_the_time_of_an_epoch_is_that_of_its_batches_and_of_its_validation() -> None:
    watch = _Watch(batches=100)
    watch.seen = [(0.0, 1), (5.0, 2), (7.0, 3), (9.0, 4), (11.0, 5)]  # the first steps are slower: 2 s each later
    assert watch.epoch_seconds(validated=48, batch_size=16) == pytest.approx(2 * 100 + 2 * 3 / 3)
    watch.ends = [0.0, 4.0, 8.0]
    assert watch.epoch_seconds(validated=48, batch_size=16) == 4.0


def test_lines_of_text_are_not_taken_for_steps() -> None:
    watch = _Watch()
    watch("a line")
    watch(Step(epoch=1, epochs=2, batch=1, batches=5, loss=1.0))
    watch(Step(epoch=1, epochs=2, batch=5, batches=5, loss=1.0, ended=True))
    assert ([done for _, done in watch.seen], len(watch.ends), watch.batches) == ([1], 1, 5)
