"""The plan of a frontier: which networks are trained at which sizes, and for how many epochs each.

Invariant: the number of epochs follows from one measurement of the training speed, which is kept. So a resumed command
trains the same runs, whatever else the machine does now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pelagia.config import Strict, altered
from pelagia.errors import ConfigError
from pelagia_training.config import TrainConfig
from pelagia_training.data.splits import Splits
from pelagia_training.frontier.networks import Network
from pelagia_training.runs.folder import differences, flat

LEAST_EPOCHS = 2


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        config: the config of every run, but for network, size and epochs.
        minutes: the training time of each network.
        most_epochs: the largest number of epochs of a run.
        include: finished runs that were trained elsewhere.
        ensembles: the largest number of networks in an ensemble; 1: no ensembles.
        rates: images/s for which a point is recommended.
        seconds: how long each network is measured, in each round.
    """

    config: TrainConfig
    networks: tuple[Network, ...]
    sizes: tuple[int, ...]
    orientations: tuple[int, ...]
    minutes: float
    most_epochs: int
    include: tuple[Path, ...] = ()
    ensembles: int = 2
    rates: tuple[float, ...] = (500, 200, 50)
    seconds: float = 1.0


class PlannedRun(Strict):
    """One run of the plan: a network at an input size.

    Attributes:
        name: the name of its folder in `runs`.
        epoch_seconds: the measured time of an epoch, with its validation.
        epochs: how many epochs it is trained for.
    """

    name: str
    network: str
    size: int
    epoch_seconds: float
    epochs: int

    @property
    def minutes(self) -> float:
        """The expected time of the training."""
        return self.epochs * self.epoch_seconds / 60


class Plan(Strict):
    """The content of `plan.json`: what was asked for, the measured speeds, and which runs failed.

    Attributes:
        fingerprint: that of the dataset.
        machine: where the speeds were measured.
        minutes: the training time of each network.
        most_epochs: the largest number of epochs of a run.
        failed: name of a run -> why it could not be trained.
    """

    schema_version: Literal[1] = 1
    fingerprint: str
    machine: str
    minutes: float
    most_epochs: int
    config: TrainConfig
    networks: tuple[Network, ...]
    sizes: tuple[int, ...]
    runs: tuple[PlannedRun, ...] = ()
    failed: dict[str, str] = {}

    @property
    def wanted(self) -> list[tuple[str, Network, int]]:
        """Each run that belongs to the plan: its name, its network and its size."""
        return [(f"{network.name}-{size}", network, size) for network in self.networks for size in self.sizes]

    @property
    def missing(self) -> list[tuple[str, Network, int]]:
        """The runs whose training speed was not measured yet."""
        known = {run.name for run in self.runs}
        return [one for one in self.wanted if one[0] not in known]

    def network(self, name: str) -> Network:
        """The network with this name."""
        return next(network for network in self.networks if network.name == name)


def planned(order: Order, splits: Splits, machine: str) -> Plan:
    """The plan of an order, before anything is measured."""
    return Plan(
        fingerprint=splits.dataset.meta.fingerprint,
        machine=machine,
        minutes=order.minutes,
        most_epochs=order.most_epochs,
        config=order.config,
        networks=order.networks,
        sizes=order.sizes,
    )


def require_plannable(config: TrainConfig) -> None:
    """Raises ConfigError if a config cannot be trained for a given time."""
    if config.train.head_only:
        raise ConfigError(
            "train.head_only",
            ["it fits the last layer in seconds, so no training time can be given: set train.head_only=false"],
        )


def epochs_for(minutes: float, epoch_seconds: float, most: int) -> int:
    """The number of epochs that take about ``minutes``: at least two, at most ``most``."""
    return max(LEAST_EPOCHS, min(most, round(60 * minutes / epoch_seconds)))


def config_of(plan: Plan, network: Network, size: int, epochs: int) -> TrainConfig:
    """The config of a run.

    A warm-up and frozen epochs are shortened with the training, and `train.first_size` is the same share of ``size`` as
    in the config of the plan.

    Raises:
        ConfigError: the values cannot be combined.
    """
    given = plan.config.train
    share = min(1.0, epochs / given.epochs)
    first = given.first_size and min(size, max(16, round(given.first_size * size / plan.config.preprocess.size)))
    changes = {
        "preprocess.size": size,
        "model": network.model.model_dump(mode="json"),
        "train.epochs": epochs,
        "train.first_size": first,
        "train.warmup_epochs": round(given.warmup_epochs * share, 3),
        "train.freeze_epochs": min(int(given.freeze_epochs * share), epochs - 1),
    }
    return altered(plan.config, changes, f"{network.name} with {size} x {size} pixels")


def changed_options(was: Plan, now: Plan) -> list[str]:
    """What differs between two plans of one folder, one line each; empty if ``now`` resumes or extends ``was``.

    Networks and sizes may be added, because each run has the same training time; those that were not measured yet may
    change.
    """
    found = [line.strip().removeprefix("- ") for line in differences(was.config, now.config)]
    pairs = (("--minutes", was.minutes, now.minutes), ("--most-epochs", was.most_epochs, now.most_epochs))
    found += [f"{option}: was {old:g}, is now {new:g}" for option, old, new in pairs if old != new]
    if was.fingerprint != now.fingerprint:
        found.append(f"the dataset: was {was.fingerprint[:12]}, is now {now.fingerprint[:12]}")
    planned = {run.size for run in was.runs}
    found += [f"--sizes: {size} was named and is not named now" for size in sorted(planned - {*now.sizes})]
    measured = {run.network for run in was.runs}
    return found + _changed_networks([one for one in was.networks if one.name in measured], now.networks)


def _changed_networks(was: Sequence[Network], now: Sequence[Network]) -> list[str]:
    named = {network.name: network for network in now}
    found = []
    for old in was:
        new = named.get(old.name)
        if new is None:
            found.append(f"--networks: '{old.name}' was named and is not named now")
            continue
        keys, others = flat(old.model.model_dump(mode="json")), flat(new.model.model_dump(mode="json"))
        found += [
            f"--networks: {key} of '{old.name}' was {keys.get(key)}, is now {others.get(key)}"
            for key in sorted(keys.keys() | others.keys())
            if keys.get(key) != others.get(key)
        ]
    return found
