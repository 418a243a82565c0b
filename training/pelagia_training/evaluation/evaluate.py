"""`pelagia evaluate`: computes the metrics of a model on a dataset's split.

Invariant: the images go through the runner that `pelagia classify` uses, so the metrics also apply to
`pelagia classify`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, LabelAgreement, Record
from pelagia.errors import DatasetError, InputError, did_you_mean, first_few
from pelagia.model.held_out import out_of_fold_of
from pelagia.model.metadata import ModelFile, ModelMetadata
from pelagia.sources import SourceImage
from pelagia.survey.journal import Prediction
from pelagia_inference.survey.pipeline import predict
from pelagia_training.data.batches import targets_of
from pelagia_training.data.resplit import as_trained, learned_everything
from pelagia_training.evaluation.assess import Assessment, assess, scores_of
from pelagia_training.figures.bootstrap import Intervals, intervals_of
from pelagia_training.figures.metrics import (
    Matrix,
    Metrics,
    ReliabilityDiagram,
    confusion_matrix,
    metrics_of,
    reliability_diagram,
)


@dataclass(frozen=True)
class Evaluation:
    """A model's predictions on a split, and the metrics computed from them.

    Attributes:
        model: the model's file name, or the name of the run.
        model_sha256: SHA-256 of the model file; empty for a run that is not exported yet.
        dataset: the dataset's name.
        fingerprint: the dataset's fingerprint.
        split: name of the split.
        failed: number of images that could not be read.
        unknown: class -> number of images left out because the model does not know the class.
        classes: the model's classes.
        records: the N images whose predictions were compared with the labels.
        targets: int64, N, the index of each image's label in ``classes``.
        probabilities: float32, N x classes, the predicted probabilities.
        confusion: int64, classes x classes, the confusion matrix; rows are labels, columns are predictions.
        metrics: the metrics computed from ``confusion``.
        reliability: the reliability diagram computed from ``probabilities``.
        intervals: the confidence intervals of the metrics, computed by resampling groups.
        assessment: results of the model's own decision rule; None for a run that is not exported yet.
        label_agreement: how far the people agree who labeled the dataset; None if it does not say.
        warning: why the metrics may be too high; empty if nothing is known against them.
    """

    model: str
    model_sha256: str
    dataset: str
    fingerprint: str
    split: str
    failed: int
    unknown: dict[str, int]
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    targets: Matrix
    probabilities: NDArray[np.float32]
    confusion: Matrix
    metrics: Metrics
    reliability: ReliabilityDiagram
    intervals: Intervals
    assessment: Assessment | None = None
    label_agreement: LabelAgreement | None = None
    warning: str = ""

    @property
    def images(self) -> int:
        return len(self.records)

    @property
    def groups(self) -> int:
        return self.intervals.groups

    @property
    def predicted(self) -> Matrix:
        """The index of each image's most probable class: int64, N."""
        predicted: Matrix = self.probabilities.argmax(axis=1)
        return predicted

    @property
    def headline(self) -> dict[str, float]:
        """The metrics that have an interval in ``intervals.headline``, under the same names."""
        return {**self.metrics.headline, "ece": self.reliability.error}


def evaluate(
    model: ModelFile,
    dataset: Dataset,
    split: str = "test",
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    test_groups: Sequence[str] = (),
) -> Evaluation:
    """Classifies a split (train, val, test or all) and compares the predictions with the labels.

    Images of classes that the model does not know are left out of the metrics and counted. If the model was trained on
    a cross-validation fold of this dataset, that fold's splits are used.

    Args:
        model: the model.
        dataset: the dataset.
        split: name of the split.
        progress: called with (images done, total images).
        test_groups: only the images of these groups are compared; empty: those of all groups.

    Raises:
        InputError: there is no such split or group.
        DatasetError: no image of the split can be compared, or the model was trained on all images of the dataset.
    """
    classes = model.metadata.classes
    dataset = as_trained(dataset, model.metadata)
    _require_held_out(model, dataset, split)
    chosen = of_groups(dataset.split(split), test_groups, f"the split '{split}'")
    records = [record for record in chosen if record.class_name in classes]
    others = [record for record in chosen if record.class_name not in classes]
    unknown = Counter(record.class_name for record in others)
    predictions = _classify(model, dataset, [*records, *others], progress)
    answered = [pair for pair in zip(records, predictions, strict=False) if pair[1].ok]
    failed = len(records) - len(answered)
    if not answered:
        others_said = "" if records else _none_known(unknown, model.metadata, scores_of(predictions))
        raise DatasetError(
            f"nothing to compare in the split '{split}' of {dataset.root}: {others_said or _all_failed(failed)}"
        )
    compared = [record for record, _ in answered]
    probabilities = np.stack([answer.probabilities for _, answer in answered if answer.probabilities is not None])
    scores = scores_of([answer for _, answer in answered]), scores_of(predictions[len(records) :])
    assessment = assess(model.metadata, probabilities, targets_of(compared, classes), *scores)
    name = (model.path.name, model.sha256)
    result = evaluation_of(
        *(compared, probabilities, classes, dataset, split),
        model=name,
        failed=failed,
        unknown=dict(unknown),
        assessment=assessment,
    )
    return replace(result, warning=_about_learned_images(model.metadata, dataset))


def _require_held_out(model: ModelFile, dataset: Dataset, split: str) -> None:
    """Raises DatasetError if ``split`` is to measure the model, which was trained on all images of ``dataset``."""
    if split in ("val", "test") and learned_everything(dataset, model.metadata):
        raise DatasetError(
            f"the model {model.path} was trained on all images of {dataset.root}, so no image is left to measure it. "
            "Its figures were measured out of fold, by networks of the same recipe: `pelagia model show` prints them; "
            "to measure the model itself, give a dataset of other groups"
        )


def _about_learned_images(model: ModelMetadata, dataset: Dataset) -> str:
    """Why a dataset that was made from the model's dataset may hold images that the model was trained on."""
    measured = out_of_fold_of(model.dataset)
    if measured and model.dataset["fingerprint"] in {parent.fingerprint for parent in dataset.meta.parents}:
        return (
            f"the model was trained on all {measured.images} images of '{model.dataset['name']}', from which this "
            "dataset was made: unless the split holds only images of new groups, the metrics are too high; choose such "
            "groups with --test-groups"
        )
    return ""


def of_groups(records: Sequence[Record], groups: Sequence[str], where: str) -> tuple[Record, ...]:
    """The records of these groups; all records if ``groups`` is empty. Raises InputError if a group is not there."""
    known = {record.group for record in records}
    if missing := [group for group in groups if group not in known]:
        hint = did_you_mean(missing[0], known)
        raise InputError(f"{where} has no group '{missing[0]}'{hint}: its groups are {first_few(sorted(known), 20)}")
    return tuple(record for record in records if not groups or record.group in groups)


def _all_failed(failed: int) -> str:
    return f"all {failed} images failed to be read; `pelagia dataset check` lists them"


def _none_known(unknown: Counter[str], model: ModelMetadata, scores: NDArray[np.float32] | None) -> str:
    """Why a split with classes that are all unknown to the model has no metrics, and what the model did with it."""
    images, classes = unknown.total(), first_few(f"'{name}'" for name in unknown)
    spelled = {name.casefold().replace(" ", "_"): name for name in model.classes}
    alike = [(name, spelled.get(name.casefold().replace(" ", "_"))) for name in unknown]
    same = [f"'{name}' is '{other}' in the model" for name, other in alike if other]
    remedy = (
        f"the names are spelled differently ({first_few(same)}): rename them" if same else "use a dataset with them"
    )
    flagged = ""
    if scores is not None and model.unknown is not None:
        flagged = f" The model calls {float((scores > model.unknown.threshold).mean()):.1%} of them unknown."
    return (
        f"all {images} images are of classes that the model does not know, {classes}; it knows "
        f"{first_few(model.classes)}: {remedy}.{flagged}"
    )


def evaluation_of(
    records: Sequence[Record],
    probabilities: NDArray[np.float32],
    classes: tuple[str, ...],
    dataset: Dataset,
    split: str,
    *,
    model: tuple[str, str],
    failed: int = 0,
    unknown: dict[str, int] | None = None,
    assessment: Assessment | None = None,
) -> Evaluation:
    """Computes all metrics from existing predictions.

    Args:
        records: one or more images; all their labels are in ``classes``.
        probabilities: float32, N x classes, one row per record.
        classes: the model's classes.
        dataset: the dataset that holds the images.
        split: name of the split that ``records`` form.
        model: name and SHA-256 of the model.
        failed: number of images that could not be read.
        unknown: class -> number of images left out because the model does not know the class.
        assessment: results of the model's own decision rule; None for a run that is not exported yet.
    """
    targets = targets_of(records, classes)
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), len(classes))
    return Evaluation(
        model=model[0],
        model_sha256=model[1],
        dataset=dataset.meta.name,
        fingerprint=dataset.meta.fingerprint,
        split=split,
        failed=failed,
        unknown=unknown or {},
        classes=classes,
        records=tuple(records),
        targets=targets,
        probabilities=probabilities,
        confusion=confusion,
        metrics=metrics_of(confusion),
        reliability=reliability_diagram(probabilities, targets),
        intervals=intervals_of(probabilities, targets, [record.group for record in records]),
        assessment=assessment,
        label_agreement=dataset.meta.label_agreement,
    )


def _classify(
    model: ModelFile, dataset: Dataset, records: Sequence[Record], progress: Callable[[int, int], None]
) -> list[Prediction]:
    """The runner's prediction for each record, in the same order."""
    images = (SourceImage(record.path, dataset.file(record), record.extra) for record in records)
    predictions: list[Prediction] = []
    for batch in predict(images, model):
        predictions += batch
        progress(len(predictions), len(records))
    return predictions
