"""`pelagia leak`: measures how much a random split overestimates a model.

The run's config is trained again on a random split of the same images, with splits of the same sizes, and each run is
evaluated on its own test split. The difference comes from data leakage: in a random split, images of one station are in
the training split and in the test split, which does not happen in the field. The command trains one more run. A linear
probe on frozen features would be cheaper, but it would measure the leakage of the probe and not of the network.
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
from pelagia_training.runs.check import is_finished
from pelagia_training.runs.folder import read_run
from pelagia_training.studies.folds import require_one_process
from pelagia_training.train import train


@dataclass(frozen=True)
class Leak:
    """Evaluations of two runs with the same config, each on its own test split.

    Attributes:
        by_group: the evaluation of the run that was trained on the dataset's split, by group.
        at_random: the evaluation of the run that was trained on a random split.
    """

    by_group: Evaluation
    at_random: Evaluation

    @property
    def summary(self) -> str:
        """What the two macro-F1 say, in words."""
        group, chance = self.by_group.headline["macro_f1"], self.at_random.headline["macro_f1"]
        report = f"report that of the split by group, {group:.4f}"
        if chance > group:
            found = f"the random split shows a macro-F1 that is higher by {chance - group:.4f}"
        else:
            found = f"the random split shows no higher macro-F1 (it is lower by {group - chance:.4f})"
        ends = [one.intervals.headline["macro_f1"] for one in (self.by_group, self.at_random)]
        if all(ends) and max(end.low for end in ends if end) <= min(end.high for end in ends if end):
            found += ", a difference within the 95% intervals, which may be chance"
        return f"{found}: {report}"


def measure_leak(run: Path, out: Path, report: Report = lambda event: None) -> Leak:
    """Trains the config of ``run`` on a random split, unless ``out`` is a finished run, and evaluates both runs.

    Args:
        run: a finished run on a dataset that is split by group.
        out: run folder for the training on the random split, new or interrupted.
        report: called with progress and with lines of text for people.

    Raises:
        InputError: ``run`` is unfinished, was not trained on its dataset's split, or its dataset has no groups.
        DatasetError, TrainingError: as `train`.
    """
    config, state = read_run(run)
    if state.status != "finished":
        raise InputError(f"the run {run} is not finished: finish it with the same `pelagia train` command first")
    if config.data.resplit is not None:
        raise InputError(
            f"the run {run} was trained on another split than its dataset's: give a run that was trained without "
            "data.resplit"
        )
    require_one_process(config)
    by_group = evaluate_run(run, "test")
    if Dataset.read(state.dataset).meta.split.group_column is None or by_group.groups == by_group.images:
        raise InputError(
            f"the dataset of {run} has no groups, so its split is random already: import it again with --group-column"
        )
    data = config.data.model_copy(update={"resplit": Resplit(by="image")})
    settings = config.model_copy(update={"data": data, "dataset": state.dataset})
    if not is_finished(out, settings):
        train(settings, out, report)
    return Leak(by_group, evaluate_run(out, "test"))
