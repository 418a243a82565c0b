"""`pelagia train --folds`: grouped k-fold cross-validation.

Every image is classified by a model that was not trained on the image.

    fold-1/ ... fold-K/   runs; each run holds out another part of the groups
    out_of_fold/          a survey: each image's probabilities, from the model of the fold that held out the image
    folds.json            metrics of each fold, their mean and standard deviation, and metrics of all images together
    report.html           the report of all images together

Invariant: the folds depend only on the dataset and ``data.resplit.seed``, so the same command resumes an interrupted
cross-validation: a finished fold is not trained again.
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
from pelagia.shell import command_line
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey
from pelagia.system.files import write_text
from pelagia.system.paths import StrPath
from pelagia_training.config import Resplit, TrainConfig
from pelagia_training.data.crops import open_crops
from pelagia_training.data.splits import read_splits, without_classes
from pelagia_training.devices import is_first
from pelagia_training.evaluation.evaluate import Evaluation, evaluation_of
from pelagia_training.evaluation.evaluate_torch import evaluate_run
from pelagia_training.evaluation.folder import as_json
from pelagia_training.evaluation.report import REPORT_FILE, write_report
from pelagia_training.fit.context import Report
from pelagia_training.runs.check import is_finished
from pelagia_training.runs.folder import read_run
from pelagia_training.runs.out_of_fold import FOLDS_FILE, OUT_OF_FOLD, SURVEY_FOLDER, digest_of_folds
from pelagia_training.train import train


@dataclass(frozen=True)
class CrossValidation:
    """The evaluations of K runs.

    Attributes:
        folds: the evaluation of each run on the images that it held out.
        together: the evaluation of all held-out images together.
    """

    folds: tuple[Evaluation, ...]
    together: Evaluation

    def spread(self, name: str) -> tuple[float, float]:
        """The mean and the standard deviation, over the folds, of a metric of `Evaluation.headline`."""
        values = [fold.headline[name] for fold in self.folds]
        return mean(values), stdev(values)


def cross_validate(
    config: TrainConfig, folds: int, out: StrPath, report: Report = lambda event: None, *, resume: bool = True
) -> CrossValidation:
    """Trains ``folds`` runs and writes the folder ``out``.

    Args:
        config: the config of every run, except for the split.
        folds: number of folds; one run is trained per fold.
        out: folder of the cross-validation, new or interrupted.
        report: called with progress and with lines of text for people.
        resume: whether an interrupted fold continues from its checkpoint.

    Raises:
        ConfigError, InputError, DatasetError, TrainingError: as `train`; also if ``out`` was made with another config.
    """
    if config.dataset is None:
        raise ConfigError("dataset", ["say which dataset to train on: --set dataset=DATASET"])
    require_one_process(config)
    dataset = Dataset.read(config.dataset)
    _require_groups(dataset, config)
    planned = _plan(config, folds)
    out = Path(out)
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
    result = CrossValidation(tuple(evaluations), _together(evaluations, dataset))
    _write(result, dataset, out)
    return result


def _plan(config: TrainConfig, folds: int) -> list[TrainConfig]:
    """The config of each fold. Raises DatasetError if a fold would hold out no image."""
    planned = [_settings(config, folds, number) for number in range(1, folds + 1)]
    for number, settings in enumerate(planned, 1):
        if all(
            record.split != "test"
            for record in read_splits(settings.dataset, settings.data.exclude, settings.data.resplit).dataset.records
        ):
            raise DatasetError(
                f"fold {number} of {folds} would hold out no image: the dataset has too few groups; choose fewer folds"
            )
    return planned


def _write(result: CrossValidation, dataset: Dataset, out: Path) -> None:
    _write_survey(result, dataset, out)
    write_text(out / FOLDS_FILE, json.dumps(_as_json(result), indent=2) + "\n")
    write_report(out / REPORT_FILE, result.together, dataset)


def _decode(dataset: Dataset, config: TrainConfig, report: Report) -> None:
    """Decodes all images into the cache that all folds use; a bad image is reported before the first fold starts."""
    records = [record for record in dataset.records if record.class_name not in config.data.exclude]
    data = config.data
    open_crops(dataset, [records], config.preprocess, folder=data.cache, stream=data.stream, report=report)


def _settings(config: TrainConfig, folds: int, number: int) -> TrainConfig:
    given = config.data.resplit or Resplit()
    resplit = Resplit(by=given.by, folds=folds, fold=number, seed=given.seed)
    return config.model_copy(update={"data": config.data.model_copy(update={"resplit": resplit})})


def require_one_process(config: TrainConfig) -> None:
    """Raises ConfigError if the config or the environment asks for several processes."""
    if config.devices * config.nodes > 1 or not is_first() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "devices", ["this command trains several runs one after the other, in one process: set devices=1"]
        )


def dataset_folder(out: Path) -> Path:
    """The folder of the dataset on which a cross-validation was made.

    Raises:
        InputError: ``out`` is not a cross-validation.
    """
    if not (out / "fold-1").is_dir():
        make = command_line("pelagia", "train", "CONFIG", "--folds", 5, "--out", out)
        raise InputError(f"{out} is not a cross-validation: make one with `{make}`")
    return read_run(out / "fold-1")[1].dataset


def _require_groups(dataset: Dataset, config: TrainConfig) -> None:
    """Raises DatasetError if all images of a class are of one group."""
    groups: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        groups[record.class_name].add(record.group)
    one_group = [name for name, of_class in groups.items() if len(of_class) < 2 and name not in config.data.exclude]
    if one_group:
        names = first_few(f"'{name}'" for name in one_group)
        raise DatasetError(
            f"all images of {names} are of one group: the fold that holds out this group has no training image of the "
            f"class; leave such classes out with {without_classes(one_group)}"
        )


def _together(evaluations: list[Evaluation], dataset: Dataset) -> Evaluation:
    records = [record for evaluation in evaluations for record in evaluation.records]
    probabilities = np.concatenate([evaluation.probabilities for evaluation in evaluations])
    model = (f"{len(evaluations)} folds", "")
    return evaluation_of(records, probabilities, evaluations[0].classes, dataset, OUT_OF_FOLD, model=model)


def _write_survey(result: CrossValidation, dataset: Dataset, out: Path) -> None:
    """Writes the out-of-fold probabilities as a survey; its model's SHA-256 is the SHA-256 of all folds' weights."""
    runs = [out / f"fold-{number}" for number in range(1, len(result.folds) + 1)]
    weights = digest_of_folds(runs)
    settings = {"folds": len(runs), "dataset": dataset.meta.fingerprint}
    if (out / SURVEY_FOLDER / JOURNAL_FILE).is_file():
        with Survey.open(out / SURVEY_FOLDER) as survey:
            if survey.meta["model_sha256"] == weights and len(survey) == result.together.images:
                return
        shutil.rmtree(out / SURVEY_FOLDER)  # a fold was trained again later, so the stored probabilities are outdated
    opened = Survey.open_for_writing(
        out / SURVEY_FOLDER, model_sha256=weights, classes=result.together.classes, settings=settings
    )
    with opened as survey:
        for number, fold in enumerate(result.folds, 1):
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


def group_names(fold: Evaluation) -> list[str]:
    """The groups that a fold held out, sorted."""
    return sorted({record.group for record in fold.records})


def _as_json(result: CrossValidation) -> dict[str, object]:
    names = result.together.headline
    return {
        "folds": [
            {**fold.headline, "images": fold.images, "groups": fold.groups, "group_names": group_names(fold)}
            for fold in result.folds
        ],
        "mean": {name: result.spread(name)[0] for name in names},
        "standard_deviation": {name: result.spread(name)[1] for name in names},
        "together": as_json(result.together),
    }
