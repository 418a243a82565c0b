"""`pelagia retrain`: trains a challenger on a new dataset, and compares it with the champion, the model in use.

    challenger/             the run of the challenger, with its model.onnx
    evaluation_champion/    the report of the champion on the held-out images
    evaluation_challenger/  the same for the challenger
    current.onnx            a copy of the model to use
    retrain.json            the comparison
    report.html             the comparison for people

Invariant: both models are measured on the same images, which neither has seen, and only on classes that both know. The
challenger is kept only if the whole interval of the difference is above 0. The champion's file is never written. The
same command resumes an interrupted training, and does not train again what is finished.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, PelagiaError
from pelagia.model.metadata import ModelFile
from pelagia.pages.page import Cell, Table, count_cell
from pelagia.system.files import new_file, write_text
from pelagia_training.config import TrainConfig
from pelagia_training.evaluation.evaluate import Evaluation, evaluate
from pelagia_training.evaluation.folder import write_evaluation
from pelagia_training.evaluation.report import REPORT_FILE, render
from pelagia_training.export.finish import deliver
from pelagia_training.figures.bootstrap import DRAWS, FEW_GROUPS, LEVEL
from pelagia_training.figures.metrics import confusion_matrix, metric_arrays
from pelagia_training.figures.paired import Difference, paired_differences
from pelagia_training.fit.context import Report
from pelagia_training.runs.check import is_finished
from pelagia_training.runs.folder import MODEL_FILE
from pelagia_training.studies.champion import CURRENT_FILE, RESULT_FILE, RUN_FOLDER, HeldOut
from pelagia_training.studies.folds import require_one_process
from pelagia_training.train import train


@dataclass(frozen=True)
class Challenge:
    """The comparison of two models.

    Attributes:
        champion: evaluation of the model in use on all held-out images of its classes.
        challenger: the same for the new model.
        classes: the classes that both know and that have held-out images.
        images: number of images that were compared, of these classes.
        groups: number of their groups.
        differences: metric -> its difference, challenger minus champion, on these images.
        f1: class -> F1 of the champion and of the challenger on these images.
        left_out: class -> number of held-out images that were not compared, because not both models know it.
        seen: number of test images that the champion has seen, and that were not compared.
        warnings: why the comparison may mislead, one sentence each.
    """

    champion: Evaluation
    challenger: Evaluation
    classes: tuple[str, ...]
    images: int
    groups: int
    differences: dict[str, Difference]
    f1: dict[str, tuple[float, float]]
    left_out: dict[str, int]
    seen: int
    warnings: tuple[str, ...]

    @property
    def main(self) -> Difference:
        """The difference that decides: that of the macro-F1."""
        return self.differences["macro_f1"]

    @property
    def summary(self) -> str:
        """What was found and which model to use, in words."""
        found, interval = self.main, self.main.interval
        values = f"macro-F1 {found.first:.4f} (champion) and {found.second:.4f} (challenger)"
        if interval is None:
            return f"{values}: all images are of one group, so chance cannot be ruled out: keep the champion"
        between = f"difference {found.value:+.4f}, {interval.low:+.4f} to {interval.high:+.4f}"
        if found.is_better:
            return f"{values}, {between}: the challenger is better: use it"
        if found.is_worse:
            return f"{values}, {between}: the challenger is worse: keep the champion"
        return f"{values}, {between}: the difference may be chance: keep the champion"


def challenge(
    champion: ModelFile,
    champion_run: Path | None,
    held_out: HeldOut,
    config: TrainConfig,
    out: Path,
    report: Report = lambda event: None,
) -> Challenge:
    """Trains the challenger unless it is finished, compares both models, and writes the folder ``out``.

    Args:
        champion: the model in use.
        champion_run: its run folder, if it is known; a later retraining finds it through ``out``.
        held_out: the images to compare on.
        config: the config of the challenger; its dataset is the new one.
        out: folder of the retraining, new or interrupted.
        report: called with progress and with lines of text for people.

    Raises:
        ConfigError, InputError, DatasetError, TrainingError, ParityError: as `train` and `deliver`.
    """
    require_one_process(config)
    run = out / RUN_FOLDER
    if is_finished(run, config):
        report(f"the challenger in {run} is finished: not trained again")
    else:
        (run / MODEL_FILE).unlink(missing_ok=True)
        train(config, run, report, dry_export=True)
    challenger = _exported(run, report)
    report("comparing both models on the held-out images")
    result = compare(evaluate(champion, held_out.dataset), evaluate(challenger, held_out.dataset), held_out)
    winner, winner_run = (challenger, run) if result.main.is_better else (champion, champion_run)
    document = as_json(result, champion, challenger) | {
        "current_sha256": winner.sha256,
        "current_run": None if winner_run is None else str(winner_run.absolute()),
    }
    _write(result, winner, document, held_out.dataset, out)
    return result


def _write(result: Challenge, winner: ModelFile, document: dict[str, Any], dataset: Dataset, out: Path) -> None:
    """Writes all files of the comparison, `RESULT_FILE` last."""
    _write_evaluation(result.champion, dataset, out / "evaluation_champion")
    _write_evaluation(result.challenger, dataset, out / "evaluation_challenger")
    with new_file(out / CURRENT_FILE) as file:
        file.write(winner.data)
    write_text(out / REPORT_FILE, _page(result))
    write_text(out / RESULT_FILE, json.dumps(document, indent=2) + "\n")


def _exported(run: Path, report: Report) -> ModelFile:
    """The model of a finished run, which is exported unless a whole model is there."""
    try:
        return ModelFile.read(run / MODEL_FILE)
    except PelagiaError:
        return deliver(run, report)


def _write_evaluation(evaluation: Evaluation, dataset: Dataset, out: Path) -> None:
    """Writes an evaluation, unless an earlier call of the same command has written it."""
    try:
        before = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    same = (before.get("model_sha256"), before.get("fingerprint")) == (evaluation.model_sha256, evaluation.fingerprint)
    if not same:
        shutil.rmtree(out, ignore_errors=True)
        write_evaluation(evaluation, dataset, out)


def compare(champion: Evaluation, challenger: Evaluation, held_out: HeldOut) -> Challenge:
    """Compares two models on the images that both were evaluated on.

    An image of a class that one of them does not know is left out. A prediction of a class that the other model does
    not know counts as wrong, as it would be in a survey.

    Raises:
        DatasetError: there is no such image.
    """
    rows = [{record.path: index for index, record in enumerate(one.records)} for one in (champion, challenger)]
    both = [record for record in champion.records if record.path in rows[1]]
    if not both:
        raise DatasetError("the two models share no class that has held-out images, so they cannot be compared")
    names = tuple(dict.fromkeys((*champion.classes, *challenger.classes)))
    place = {name: index for index, name in enumerate(names)}
    predicted = []
    for one, row_of in zip((champion, challenger), rows, strict=True):
        own = np.array([place[name] for name in one.classes])
        predicted.append(own[one.predicted[[row_of[record.path] for record in both]]])
    targets = np.array([place[record.class_name] for record in both])
    groups = [record.group for record in both]
    differences = paired_differences(targets, (predicted[0], predicted[1]), groups, len(names))
    f1 = [metric_arrays(confusion_matrix(targets, one, len(names)))["f1"] for one in predicted]
    classes = tuple(name for name in names if (targets == place[name]).any())
    compared = {record.path for record in both}
    left_out = Counter(record.class_name for record in held_out.dataset.records if record.path not in compared)
    return Challenge(
        champion=champion,
        challenger=challenger,
        classes=classes,
        images=len(both),
        groups=len(set(groups)),
        differences=differences,
        f1={name: (float(f1[0][place[name]]), float(f1[1][place[name]])) for name in classes},
        left_out={name: count for name, count in left_out.items() if name not in classes},
        seen=held_out.seen,
        warnings=(*held_out.warnings, *_warnings(both, champion, challenger)),
    )


def _warnings(both: list[Record], champion: Evaluation, challenger: Evaluation) -> list[str]:
    groups = len({record.group for record in both})
    found = []
    if groups < FEW_GROUPS:
        found.append(f"there are only {groups} held-out groups, so the interval is too narrow: do not rely on it")
    for name, one in (("champion", champion), ("challenger", challenger)):
        if one.failed:
            found.append(f"the {name} could not read {one.failed} images; they were not compared")
    return found


def as_json(result: Challenge, champion: ModelFile, challenger: ModelFile) -> dict[str, Any]:
    """The comparison as values that JSON can hold."""
    models = {
        name: {"file": str(model.path), "sha256": model.sha256, "classes": list(model.metadata.classes)}
        for name, model in (("champion", champion), ("challenger", challenger))
    }
    differences = {
        name: {
            "champion": one.first,
            "challenger": one.second,
            "difference": one.value,
            "interval": None if one.interval is None else [one.interval.low, one.interval.high],
        }
        for name, one in result.differences.items()
    }
    return {
        **models,
        "use": "challenger" if result.main.is_better else "champion",
        "summary": result.summary,
        "images": result.images,
        "groups": result.groups,
        "differences": differences,
        "interval_method": {"level": LEVEL, "draws": DRAWS, "resampled": "groups", "paired": True},
        "f1": {name: {"champion": pair[0], "challenger": pair[1]} for name, pair in result.f1.items()},
        "left_out": result.left_out,
        "seen_by_champion": result.seen,
        "warnings": list(result.warnings),
    }


def notes_of(result: Challenge) -> list[str]:
    """What was left out of the comparison, and its warnings, one sentence each."""
    notes = [
        f"Left out: {count} images of \u201c{name}\u201d, because not both models know this class."
        for name, count in result.left_out.items()
    ]
    if result.seen:
        notes.append(
            f"Left out: {result.seen} test images that the champion was trained on, or whose group it has seen."
        )
    return [*notes, *(f"{one[0].upper()}{one[1:]}." for one in result.warnings)]


_NAMES = {"macro_f1": "Macro-F1", "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}


def _page(result: Challenge) -> str:
    rows = [
        [
            Cell(name),
            *(Cell(f"{value:.3f}", value) for value in pair),
            Cell(f"{pair[1] - pair[0]:+.3f}", pair[1] - pair[0]),
            count_cell(int(result.champion.metrics.support[result.champion.classes.index(name)])),
        ]
        for name, pair in result.f1.items()
    ]
    tiles = []
    for name, one in result.differences.items():
        between = (
            "no interval: one group" if one.interval is None else f"{one.interval.low:+.3f} to {one.interval.high:+.3f}"
        )
        text = f"champion {one.first:.3f}, challenger {one.second:.3f}"
        tiles.append({"name": _NAMES[name], "text": f"{one.value:+.3f}", "range": between, "models": text})
    return render(
        "challenge.html",
        title=f"Champion {result.champion.model} and challenger on {result.champion.dataset}",
        summary=result.summary,
        tiles=tiles,
        text=f"{result.images} images of {result.groups} groups that neither model has seen, of {len(result.classes)} "
        "classes that both models know. Each tile shows the challenger minus the champion, and below it the 95% "
        "interval of this difference, computed by resampling the groups for both models at once (paired bootstrap).",
        notes=notes_of(result),
        classes=Table(("Class", "F1 of champion", "F1 of challenger", "Difference", "Images"), rows),
        reports=(
            ("Report of the champion", "evaluation_champion"),
            ("Report of the challenger", "evaluation_challenger"),
        ),
    )
