"""`pelagia label status`: counts of the labels, agreement so far, and whether more labels are worth the time.

Invariant: an image enters the learning curve only if it has a label and an embedding; the others are counted and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pelagia.dataset.schema import Dataset, LabelAgreement
from pelagia.embeddings import Embeddings, read_embeddings
from pelagia.errors import InputError
from pelagia.system.console import ProgressCallback
from pelagia_labeling.labels.pull import accounts, choose_group_column, project_taxonomy, require_classes
from pelagia_labeling.labels.ratings import TimedVote, label_agreement
from pelagia_labeling.progress.counts import Counts, LabeledImage, count, read_task
from pelagia_labeling.progress.forecast import Forecast, forecast
from pelagia_labeling.progress.probe import Labels, learning_curve
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import ANNOTATIONS, Project, list_tasks, require_project


@dataclass(frozen=True)
class Status:
    """The state of a project.

    Attributes:
        project: title of the project.
        counts: its labels.
        agreement: how far people agree; None if no image was labeled by two people.
        forecast: the learning curve and its continuation; None if no embeddings are given.
        without_embedding: number of labels that are not in the curve, because their image has no embedding.
        curve_of: where the labels of the curve come from: ``project`` or the name of the dataset.
        no_curve: why there is no learning curve; empty if there is one.
    """

    project: str
    counts: Counts
    agreement: LabelAgreement | None = None
    forecast: Forecast | None = None
    without_embedding: int = 0
    curve_of: str = "project"
    no_curve: str = ""

    def as_json(self) -> dict[str, Any]:
        """The state as values that JSON can hold, without the list of images."""
        counts = asdict(self.counts)
        del counts["images"]
        for person, plain in zip(self.counts.people, counts["people"], strict=True):
            plain["per_hour"] = person.per_hour
        counts["per_day"] = self.counts.per_day
        curve = asdict(self.forecast) | {"summary": self.forecast.summary} if self.forecast else None
        return {
            "project": self.project,
            **counts,
            "agreement": self.agreement.model_dump() if self.agreement else None,
            "learning_curve": curve,
            "curve_of": self.curve_of,
            "without_embedding": self.without_embedding,
            "no_learning_curve_because": self.no_curve,
        }


def status_of(
    connection: Connection,
    project: str,
    *,
    embeddings: Path | None = None,
    dataset: Path | None = None,
    group_column: str | None = None,
    by_time: bool = False,
    new_groups: bool = False,
    more: int = 500,
    progress: ProgressCallback = lambda done, total: None,
    fitting: Callable[[int, int], None] = lambda done, total: None,
) -> Status:
    """The state of a project.

    Args:
        connection: the connection to the server.
        project: title of the project.
        embeddings: a file of embeddings, or a survey folder that holds one.
        dataset: a dataset whose labels the learning curve uses; None: the labels of the project.
        group_column: column of the groups; None: it is found.
        by_time: whether the curve takes the labels in the order in which they were made, instead of at random.
        new_groups: whether the next labels are of groups that have none yet; the curve then grows by whole groups.
        more: number of additional labels of the forecast.
        progress: called with (tasks read, total tasks).
        fitting: called with (classifiers trained, all classifiers).

    Raises:
        InputError, DatasetError: the embeddings or the dataset cannot be read.
        StudioError: there is no such project, or the server fails.
    """
    vectors = read_embeddings(embeddings) if embeddings is not None else None
    opened = Dataset.read(dataset) if dataset is not None else None
    if by_time and new_groups:
        raise InputError("--by-time and --new-groups give the labels two orders: choose one of them")
    if vectors is None and opened is not None:
        raise InputError("--dataset is used for the learning curve: give also --embeddings FILE")
    found = require_project(connection, project)
    counts, agreement = _read(connection, found, group_column, progress)
    if vectors is None:
        return Status(found.title, counts, agreement, no_curve="no embeddings are given: add --embeddings FILE")
    images = counts.images if opened is None else images_of(opened)
    source = "project" if opened is None else opened.meta.name
    used, missing = labels_with_embeddings(images, vectors, by_time, new_groups)
    try:
        continued = forecast(learning_curve(used, progress=fitting), more)
    except InputError as error:
        return Status(found.title, counts, agreement, None, missing, source, str(error))
    return Status(found.title, counts, agreement, continued, missing, source)


def _read(
    connection: Connection, project: Project, group_column: str | None, progress: ProgressCallback
) -> tuple[Counts, LabelAgreement | None]:
    """The labels of a project, and how far people agree."""
    classes, names = require_classes(project), accounts(connection)
    read = [
        read_task(task, names)
        for task in list_tasks(connection, project, parts=ANNOTATIONS, named=True, progress=progress)
    ]
    tasks = [one.task for one in read]
    column = choose_group_column(group_column, tasks)
    voted = [(one.task, [TimedVote(*vote) for vote in one.consensus.votes]) for one in read]
    agreement = label_agreement(voted, column, project_taxonomy(connection, project, classes, tasks))
    return count(read, column), agreement


def images_of(dataset: Dataset) -> tuple[LabeledImage, ...]:
    """All images of a dataset, whatever their split."""
    return tuple(LabeledImage(one.sha256, one.class_name, one.group, "") for one in dataset.records)


def labels_with_embeddings(
    images: tuple[LabeledImage, ...], embeddings: Embeddings, by_time: bool = False, new_groups: bool = False
) -> tuple[Labels, int]:
    """The labeled images that have an embedding, and the number of those that have none."""
    rows = embeddings.index()
    used = [image for image in images if image.sha256 in rows]
    order: list[int] = []
    if by_time:
        if not all(image.labeled_at for image in used):
            raise InputError("a dataset does not say when its images were labeled: leave out --by-time or --dataset")
        order = sorted(range(len(used)), key=lambda index: used[index].labeled_at)
    labels = Labels(
        embeddings.vectors[[rows[image.sha256] for image in used]].astype(np.float32),
        [image.class_name for image in used],
        [image.group for image in used],
        order,
        new_groups,
    )
    return labels, len(images) - len(used)
