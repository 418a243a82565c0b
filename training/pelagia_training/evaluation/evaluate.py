"""`pelagia evaluate`: figures of a model on a dataset's split, through the runner, so that they are the field's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, first_few
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage
from pelagia.survey.journal import Prediction
from pelagia_inference.survey.pipeline import predict
from pelagia_training.data.batches import targets_of
from pelagia_training.data.resplit import as_trained
from pelagia_training.evaluation.assess import Assessment, assess, scores_of
from pelagia_training.figures.bootstrap import Intervals, intervals_of
from pelagia_training.figures.metrics import Matrix, Metrics, Reliability, confusion_matrix, metrics_of, reliability_of


@dataclass(frozen=True)
class Evaluation:
    """What a model did on a split: its answers, and the figures that follow from them.

    Attributes:
        model: its name; ``model_sha256`` is empty where it is no file yet.
        unknown: class -> images that were left out, because the model does not know the class.
        records: the images that were compared.
        targets: int64, N, the index of each one's label in ``classes``.
        probabilities: float32, N x classes.
        confusion: int64, classes x classes, rows labelled as, columns predicted as.
        assessment: what follows from the model's own rule; None of a run that is no model yet.
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
    reliability: Reliability
    intervals: Intervals
    assessment: Assessment | None = None

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
        """The figures that have an interval in ``intervals.headline``, by the same names."""
        return {**self.metrics.headline, "ece": self.reliability.error}


def evaluate(
    model: ModelFile,
    dataset: Dataset,
    split: str = "test",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Classifies a split and compares with its labels. Classes that the model does not know are left out and counted.

    On the dataset of its training, a model of a fold is measured on the fold's splits.

    Raises:
        DatasetError: no image of the split can be compared.
    """
    classes = model.metadata.classes
    dataset = as_trained(dataset, model.metadata)
    unknown = Counter(record.class_name for record in dataset.split(split) if record.class_name not in classes)
    records = [record for record in dataset.split(split) if record.class_name in classes]
    others = [record for record in dataset.split(split) if record.class_name not in classes]
    answers: list[Prediction] = []
    for predictions in predict(_images(dataset, [*records, *others]), model):
        answers += predictions
        progress(len(answers), len(records) + len(others))
    usable = [(record, one) for record, one in zip(records, answers, strict=False) if one.ok]
    failed = len(records) - len(usable)
    if not usable:
        raise DatasetError(
            f"nothing to compare in the split '{split}' of {dataset.root}: {failed} images failed, "
            f"{unknown.total()} are of classes that the model does not know ({first_few(unknown) or 'none'})"
        )
    compared = [record for record, _ in usable]
    probabilities = np.stack([one.probabilities for _, one in usable if one.probabilities is not None])
    scores = scores_of([one for _, one in usable]), scores_of(answers[len(records) :])
    return evaluation_of(
        compared,
        probabilities,
        classes,
        dataset,
        split,
        model=(model.path.name, model.sha256),
        failed=failed,
        unknown=dict(unknown),
        assessment=assess(model.metadata, probabilities, targets_of(compared, classes), *scores),
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
    """Every figure of answers that are there already.

    Args:
        records: one or more images, all of ``classes``.
        probabilities: float32, one row a record.
        split: what ``records`` are called.
        model: name and SHA-256.
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
        reliability=reliability_of(probabilities, targets),
        intervals=intervals_of(probabilities, targets, [record.group for record in records]),
        assessment=assessment,
    )


def _images(dataset: Dataset, records: Sequence[Record]) -> Iterator[SourceImage]:
    return (SourceImage(record.path, dataset.file(record), record.extra) for record in records)
