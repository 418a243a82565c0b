"""`pelagia leak`: what a random split would have made of the same run, beside what it is.

The run's own config is trained once more on a random split of the same images, of the same sizes, and each run is
measured on its own test split. The difference is what images of one station on both sides are worth: the share of a
figure that a field team will not see. One more training is the price; a probe on frozen features would be cheaper, but
it would show the leak of the probe and not that of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError
from pelagia_training.config import Resplit
from pelagia_training.evaluation.evaluate import Evaluation
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.fit.context import Report
from pelagia_training.runs.folder import read_run
from pelagia_training.studies.folds import is_finished, require_one_process
from pelagia_training.train import train


@dataclass(frozen=True)
class Leak:
    """The same config by group and at random, each on its own test split."""

    by_group: Evaluation
    at_random: Evaluation


def measure_leak(run: Path, out: Path, report: Report = lambda event: None) -> Leak:
    """Trains the config of ``run`` on a random split into ``out``, unless that is done, and compares.

    Raises:
        InputError: ``run`` is unfinished, or was itself trained on another split than its dataset's.
        DatasetError, TrainingError: as `train`.
    """
    config, state = read_run(run)
    if state.status != "finished":
        raise InputError(f"the run {run} is not finished: train it to its end first")
    if config.data.resplit is not None:
        raise InputError(f"the run {run} was trained on another split than its dataset's: name one that was not")
    require_one_process(config)
    by_group = evaluate_run(run, "test")
    if Dataset.read(state.dataset).meta.split.group_column is None or by_group.groups == by_group.images:
        raise InputError(
            f"the dataset of {run} has no groups: its own split is a random one; import it again with --group-column"
        )
    data = config.data.model_copy(update={"resplit": Resplit(by="image")})
    settings = config.model_copy(update={"data": data, "dataset": state.dataset})
    if not is_finished(out, settings):
        train(settings, out, report)
    return Leak(by_group, evaluate_run(out, "test"))
