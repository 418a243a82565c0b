"""`pelagia train --folds`: grouped k-fold cross-validation, so that every image is judged by a model that never saw it.

    fold-1/ ... fold-K/   runs, each with one part of the groups held out
    out_of_fold/          a survey: each image's probabilities, by the model of the fold that held it out
    folds.json            figures of each fold, their mean and spread, and those of all images together
    report.html           all images together

Invariant: the parts follow from the dataset and ``data.resplit.seed`` alone, so the same command goes on where it was
stopped: a fold that is finished is not trained again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import ConfigError, DatasetError, InputError, first_few
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey
from pelagia.system.files import sha256_of, sha256_of_file, write_text
from pelagia_training.config import Resplit, TrainConfig
from pelagia_training.data.crops import open_crops
from pelagia_training.devices import is_first
from pelagia_training.evaluation.evaluate import Evaluation, evaluation_of
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.evaluation.folder import as_json
from pelagia_training.evaluation.report import REPORT_FILE, write_report
from pelagia_training.fit.context import Report
from pelagia_training.fit.prepare import read_splits
from pelagia_training.runs.folder import BEST_FILE, STATE_FILE, differences, read_run
from pelagia_training.train import train

SURVEY_FOLDER, FIGURES_FILE = "out_of_fold", "folds.json"
SPLIT = "out of fold"


@dataclass(frozen=True)
class CrossValidation:
    """What K runs gave on what each did not see, and all of it together."""

    folds: tuple[Evaluation, ...]
    together: Evaluation

    def spread(self, name: str) -> tuple[float, float]:
        """Mean over the folds of a headline figure, and its standard deviation."""
        values = [fold.headline[name] for fold in self.folds]
        return mean(values), stdev(values)


def cross_validate(
    config: TrainConfig, folds: int, out: Path, report: Report = lambda event: None, *, resume: bool = True
) -> CrossValidation:
    """Trains ``folds`` runs and leaves the folder ``out``.

    Raises:
        ConfigError, InputError, DatasetError, TrainingError: as `train`, and where ``out`` holds something else.
    """
    if config.dataset is None:
        raise ConfigError("dataset", ["say which dataset to train on: --set dataset=DATASET"])
    require_one_process(config)
    dataset = Dataset.read(config.dataset)
    _require_groups(dataset, config)
    planned = [_settings(config, folds, number) for number in range(1, folds + 1)]
    for number, settings in enumerate(planned, 1):
        if all(
            record.split != "test"
            for record in read_splits(settings.dataset, settings.data.exclude, settings.data.resplit).dataset.records
        ):
            raise DatasetError(f"fold {number} of {folds} would hold no image: there are too few groups; ask for fewer")
    runs = [out / f"fold-{number}" for number in range(1, folds + 1)]
    finished = [is_finished(run, settings) for run, settings in zip(runs, planned, strict=True)]
    if not all(finished):
        _decode(dataset, config, report)
    evaluations = []
    for number, (run, settings) in enumerate(zip(runs, planned, strict=True), 1):
        if finished[number - 1]:
            report(f"fold {number} of {folds} is finished: not trained again")
        else:
            report(f"fold {number} of {folds}")
            train(settings, run, report, resume=resume)
        evaluations.append(evaluate_run(run, "test"))
    together = _together(evaluations, dataset)
    found = CrossValidation(tuple(evaluations), together)
    _write_survey(found, dataset, out)
    write_text(out / FIGURES_FILE, json.dumps(_figures(found), indent=2) + "\n")
    write_report(out / REPORT_FILE, together, dataset)
    return found


def _decode(dataset: Dataset, config: TrainConfig, report: Report) -> None:
    """Puts all images into the cache, where the folds find them: a bad one is told before the first fold is trained."""
    records = [record for record in dataset.records if record.class_name not in config.data.exclude]
    data = config.data
    open_crops(dataset, [records], config.preprocess, folder=data.cache, stream=data.stream, report=report)


def _settings(config: TrainConfig, folds: int, number: int) -> TrainConfig:
    wish = config.data.resplit or Resplit()
    how = Resplit(by=wish.by, folds=folds, fold=number, seed=wish.seed)
    return config.model_copy(update={"data": config.data.model_copy(update={"resplit": how})})


def require_one_process(config: TrainConfig) -> None:
    """Raises ConfigError where several processes would each do what follows a training."""
    if config.devices * config.nodes > 1 or not is_first() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("devices", ["this trains several runs, one after the other, in one process: set devices=1"])


def is_finished(run: Path, config: TrainConfig) -> bool:
    """Whether ``run`` is a finished run of exactly this config.

    Raises:
        InputError: it is one of another config.
    """
    if not (run / STATE_FILE).is_file() or not (run / BEST_FILE).is_file():
        return False
    made_with, state = read_run(run)
    if differing := differences(made_with, config):
        raise InputError(
            f"{run} was trained with another config:{''.join(differing)}\nname a new --out, or give it the old values"
        )
    return state.status == "finished"


def dataset_folder(out: Path) -> Path:
    """Where the dataset of a cross-validation lay.

    Raises:
        InputError: ``out`` is none.
    """
    if not (out / "fold-1").is_dir():
        raise InputError(f"{out} is no cross-validation: make one with `pelagia train CONFIG --folds 5 --out {out}`")
    return read_run(out / "fold-1")[1].dataset


def _require_groups(dataset: Dataset, config: TrainConfig) -> None:
    groups: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        groups[record.class_name].add(record.group)
    thin = [name for name, found in groups.items() if len(found) < 2 and name not in config.data.exclude]
    if thin:
        names = first_few(f"'{name}'" for name in thin)
        raise DatasetError(
            f"all images of {names} are of one group: with it held out there is nothing to learn from; leave "
            f"such classes out with --set data.exclude=[{','.join(thin)}]"
        )


def _together(evaluations: list[Evaluation], dataset: Dataset) -> Evaluation:
    records = [record for one in evaluations for record in one.records]
    probabilities = np.concatenate([one.probabilities for one in evaluations])
    model = (f"{len(evaluations)} folds", "")
    return evaluation_of(records, probabilities, evaluations[0].classes, dataset, SPLIT, model=model)


def _write_survey(found: CrossValidation, dataset: Dataset, out: Path) -> None:
    """The out-of-fold probabilities as a survey, whose model is all of the folds' weights."""
    runs = [out / f"fold-{number}" for number in range(1, len(found.folds) + 1)]
    weights = sha256_of("".join(sha256_of_file(run / BEST_FILE) for run in runs).encode())
    settings = {"folds": len(runs), "dataset": dataset.meta.fingerprint}
    if (out / SURVEY_FOLDER / JOURNAL_FILE).is_file():
        with Survey.open(out / SURVEY_FOLDER) as survey:
            if survey.meta["model_sha256"] == weights and len(survey) == found.together.images:
                return
        shutil.rmtree(out / SURVEY_FOLDER)  # of folds that were trained anew since; it is made of them
    opened = Survey.open_for_writing(
        out / SURVEY_FOLDER, model_sha256=weights, classes=found.together.classes, settings=settings
    )
    with opened as survey:
        for number, fold in enumerate(found.folds, 1):
            survey.add(
                Prediction(
                    record.path,
                    str(dataset.file(record).absolute()),
                    record.sha256,
                    probabilities=row,
                    columns=_columns(record, number),
                )
                for record, row in zip(fold.records, fold.probabilities, strict=True)
            )


def _columns(record: Record, fold: int) -> dict[str, str]:
    return {"label": record.class_name, "group": record.group, "fold": str(fold)}


def _figures(found: CrossValidation) -> dict[str, object]:
    names = found.together.headline
    return {
        "folds": [{**fold.headline, "images": fold.images, "groups": fold.groups} for fold in found.folds],
        "mean": {name: found.spread(name)[0] for name in names},
        "standard_deviation": {name: found.spread(name)[1] for name in names},
        "together": as_json(found.together),
    }
