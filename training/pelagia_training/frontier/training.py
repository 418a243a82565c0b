"""How long an epoch of a network takes on this machine, and the training of the planned runs.

The speed is that of the real training: a run into a folder that is thrown away, stopped after some seconds. Loading the
network and decoding the images are not counted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.config import altered
from pelagia.errors import ConfigError, DiskFullError, InputError, TrainingError
from pelagia_training.config import NetworkConfig, TrainConfig
from pelagia_training.data.splits import Splits
from pelagia_training.fit.context import Report, Step
from pelagia_training.fit.prepare import first_network
from pelagia_training.frontier.folder import RUNS_FOLDER, TRIAL_FOLDER, write_plan
from pelagia_training.frontier.plan import Plan, PlannedRun, config_of, epochs_for
from pelagia_training.network.backbone import build_network
from pelagia_training.runs.check import is_finished
from pelagia_training.train import train

SECONDS = 5.0
"""How long the training of a network is watched to measure its speed."""
_LEAST_STEPS = 3
_WARM_UP = 2
"""The first steps are slower and are not counted."""
_FORWARD_SHARE = 1 / 3
"""The time to validate an image, as a share of the time to train on it: the forward pass without the backward pass."""


def require_networks(plan: Plan, splits: Splits) -> None:
    """Raises one ConfigError if a backbone is not known, does not take a size, or its first weights cannot be used."""
    faults = []
    for name, network, size in plan.wanted:
        model = network.model
        if model.weights is not None and not model.weights.exists():
            faults.append(f"{network.name}: there is no weights file {model.weights}: correct its path in the list")
            continue
        try:
            _require_buildable(model, size, plan, splits)
        except ConfigError as error:
            faults += [f"{name}: {error.where}: {fault}" for fault in error.faults]
        except InputError as error:
            faults.append(f"{network.name}: {error}")
    if faults:
        raise ConfigError("--networks, --sizes", dict.fromkeys(faults))


def _require_buildable(model: NetworkConfig, size: int, plan: Plan, splits: Splits) -> None:
    """Raises ConfigError or InputError if the network or its first weights cannot be used. Nothing is downloaded."""
    if model.weights is not None:
        first_network(model, splits, size, plan.config.data.resplit, lambda text: None, with_weights=True)
        return
    build_network(
        model.backbone,
        len(splits.classes),
        pretrained=False,
        drop_rate=model.drop_rate,
        options=model.options,
        size=size,
    )


def complete_plan(
    out: Path, plan: Plan, splits: Splits, note: Callable[[str], None], progress: Callable[..., None]
) -> Plan:
    """The plan with the measured speed and the epochs of each run; it is written after each measurement."""
    missing = plan.missing
    checked = {plan.network(run.network).name for run in plan.runs}
    for number, (name, network, size) in enumerate(missing):
        progress(number, len(missing), name)
        config = config_of(plan, network, size, plan.config.train.epochs)
        seconds = epoch_seconds(config, splits, out / TRIAL_FOLDER, dry_export=network.name not in checked)
        checked.add(network.name)
        epochs = epochs_for(plan.minutes, seconds, plan.most_epochs)
        planned = PlannedRun(name=name, network=network.name, size=size, epoch_seconds=round(seconds, 4), epochs=epochs)
        note(f"{name}: an epoch takes {seconds:.1f} s, so {epochs} epochs take {planned.minutes:.1f} minutes")
        plan = plan.model_copy(update={"runs": (*plan.runs, planned)})
        write_plan(out, plan)
    return plan


def train_runs(out: Path, plan: Plan, report: Report) -> Plan:
    """Trains each planned run that is not finished. Returns the plan with the runs that failed."""
    for number, run in enumerate(plan.runs, 1):
        config = config_of(plan, plan.network(run.network), run.size, run.epochs)
        folder, place = out / RUNS_FOLDER / run.name, f"run {number} of {len(plan.runs)}, {run.name}"
        if run.name in plan.failed:
            report(f"{place}: left out, because its training failed: {plan.failed[run.name]}")
        elif is_finished(folder, config):
            report(f"{place}: finished, not trained again")
        else:
            report(f"{place}: {run.epochs} epochs, about {run.minutes:.1f} minutes")
            plan = _train_one(out, plan, run, config, report)
    return plan


def _train_one(out: Path, plan: Plan, run: PlannedRun, config: TrainConfig, report: Report) -> Plan:
    try:
        train(config, out / RUNS_FOLDER / run.name, report)
    except DiskFullError:
        raise
    except TrainingError as error:  # the loss of one network may diverge; the others can still be compared
        report(f"warning: {run.name} is left out: {error}")
        plan = plan.model_copy(update={"failed": plan.failed | {run.name: str(error)}})
        write_plan(out, plan)
    return plan


# ---- the speed of training


def epoch_seconds(config: TrainConfig, splits: Splits, folder: Path, *, dry_export: bool = False) -> float:
    """The measured time of an epoch, with its validation.

    Args:
        folder: where a run is begun; it is removed.
        dry_export: whether to check first that the network can be exported.

    Raises:
        ConfigError, InputError, DatasetError, TrainingError: as `train`.
    """
    endless = {
        "train.epochs": 10**6,
        "train.patience": 10**6,
        "train.first_size": None,  # the epochs of full size are the longest
        "train.freeze_epochs": 0,
        "train.soup": 0,
        "train.checkpoint_minutes": 10**6,
        "loggers": (),
    }
    watch = _Watch()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        train(altered(config, endless, "the measurement of the speed"), folder, watch, dry_export=dry_export)
    except _EnoughError:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return watch.epoch_seconds(len(splits.val), config.train.batch_size)


class _EnoughError(Exception):
    """Ends a run whose speed was measured."""


@dataclass
class _Watch:
    """Notes when the batches and the epochs of a run end, and stops the run after `SECONDS`."""

    batches: int = 0
    seen: list[tuple[float, int]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def __call__(self, event: str | Step) -> None:
        if not isinstance(event, Step):
            return
        now, self.batches = time.perf_counter(), event.batches
        if event.ended:
            self.ends.append(now)
            return
        self.seen.append((now, (event.epoch - 1) * event.batches + event.batch))
        counted = len(self.seen) - _WARM_UP
        if counted >= _LEAST_STEPS and now - self.seen[0][0] >= SECONDS:
            raise _EnoughError

    def epoch_seconds(self, validated: int, batch_size: int) -> float:
        """The time of an epoch: between the ends of two epochs if two were seen, else from the time of a batch."""
        if len(self.ends) > 1:
            return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        (begin, first), (end, last) = self.seen[_WARM_UP - 1], self.seen[-1]
        batch = (end - begin) / max(1, last - first)
        return batch * (self.batches + _FORWARD_SHARE * validated / batch_size)
