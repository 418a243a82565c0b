"""The crops of a project as the sheet page sees them: what is suggested, by what, and what was said of each already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pelagia.errors import StudioError
from pelagia.images.pixel_size import pixel_size_um
from pelagia.system.console import ProgressCallback
from pelagia.taxonomy import LabelClass
from pelagia_desk.pictures import Source
from pelagia_labeling.labels.pull import GROUP_COLUMNS
from pelagia_labeling.labels.votes import votes_of
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.interface import parse_interface, read_result
from pelagia_labeling.tasks.project import Project, Task, list_tasks
from pelagia_labeling.tasks.sheet_crops import is_sheet_interface


@dataclass(slots=True)
class Crop:
    """One crop.

    Attributes:
        row: number of the crop; its vector has the same row.
        source: where its image is.
        path: path in the source that was pushed.
        station: the station, or another column by which images belong together; empty if there is none.
        um: micrometers a pixel; 0 if unknown.
        guess: the class of the pre-label; empty without one.
        score: probability of the guess, 0..1; None if unknown.
        prediction: number of the pre-label.
        label: (kind, class) that stands; None if the crop is still to do.
        rejected: suggestions that the person said are wrong.
        home: the class or cluster under which it is shown first; empty for "nothing suggested".
        suggestion: the class or cluster under which it is shown now: ``home``, or another after a rejection.
        fault: why the image cannot be shown; empty if it can, or if nobody tried yet.
    """

    row: int
    source: Source
    path: str
    station: str
    um: float
    guess: str = ""
    score: float | None = None
    prediction: int | None = None
    label: tuple[str, str] | None = None
    rejected: set[str] = field(default_factory=set)
    home: str = ""
    suggestion: str = ""
    fault: str = ""

    @property
    def to_do(self) -> bool:
        """Whether the crop has no label and can be shown."""
        return self.label is None and not self.fault

    @property
    def task(self) -> int:
        """Number of the task in Label Studio."""
        return self.source.task


@dataclass(frozen=True)
class Loaded:
    """The crops of a project.

    Attributes:
        crops: in the order of their tasks.
        classes: the classes to choose from.
        station_column: the column that ``station`` comes from; empty if there is none.
        left_out: why tasks are not shown -> their number.
    """

    crops: list[Crop]
    classes: tuple[LabelClass, ...]
    station_column: str
    left_out: Mapping[str, int]


def load_crops(
    connection: Connection, project: Project, progress: ProgressCallback = lambda done, total: None
) -> Loaded:
    """Reads the tasks of a project.

    Raises:
        StudioError: the project's interface has no classes, the project has sheets of Label Studio, or the server
            fails.
    """
    if is_sheet_interface(project.config):
        raise StudioError(
            f"the project '{project.title}' was pushed with --sheets, and its sheets are labeled in Label Studio, at "
            f"{project.url(connection)}: for the sheet page, name a project that was pushed without --sheets"
        )
    classes = parse_interface(project.config)
    if not classes:
        raise StudioError(
            f"the project '{project.title}' has no choices named 'class' on an image named 'image': name a project "
            "that `pelagia label push` made"
        )
    tasks = list(list_tasks(connection, project, whole=True, progress=progress))
    column = _station_column(tasks)
    names = {entry.name for entry in classes}
    left_out: Counter[str] = Counter()
    crops: list[Crop] = []
    for task in tasks:
        image = task.data.get("image")
        if not isinstance(image, str) or not (task.data.get("file") or image.startswith("/")):
            left_out["without an image of its own"] += 1
            continue
        crops.append(_crop(len(crops), task, column, project.model_version, names))
    return Loaded(crops, classes, column, dict(left_out))


def _station_column(tasks: list[Task]) -> str:
    columns = ("station", *GROUP_COLUMNS)
    return next((name for name in columns if any(task.data.get(name) for task in tasks)), "")


def _crop(row: int, task: Task, column: str, model_version: str, names: set[str]) -> Crop:
    data = {key: "" if value is None else str(value) for key, value in task.data.items()}
    source = Source(task.id, task.sha256, data.get("file", ""), data.get("image", ""))
    crop = Crop(row, source, data.get("path") or data["image"], data.get(column, ""), pixel_size_um(data))
    crop.label = label_on(task)
    prediction = _latest(task.predictions, model_version)
    guess = read_result(prediction.get("result"))[0] if prediction else ""
    if prediction and guess in names:
        score = prediction.get("score")
        crop.guess, crop.prediction = guess, int(prediction["id"])
        crop.score = float(score) if isinstance(score, int | float) else None
    crop.home = crop.suggestion = crop.guess
    return crop


def label_on(task: Task) -> tuple[str, str] | None:
    """(kind, class) of the label that a task has; None if it has none."""
    votes = [vote for vote in votes_of(task.annotations, {}) if vote.kind in ("named", "unsure", "skipped")]
    return (votes[-1].kind, votes[-1].class_name) if votes else None


def _latest(predictions: list[dict[str, Any]], model_version: str) -> dict[str, Any] | None:
    """The pre-label that Label Studio shows: the last of the project's model, otherwise the last of any."""
    shown = [one for one in predictions if one.get("model_version") == model_version] or predictions
    return max(shown, key=lambda one: int(one["id"]), default=None)


SORTS: dict[str, tuple[str, Callable[[Crop], Any]]] = {
    "score": ("least sure first", lambda crop: (crop.score is None, crop.score or 0.0, crop.task)),
    "sure": ("most sure first", lambda crop: (-(crop.score or 0.0), crop.task)),
    "station": ("station", lambda crop: (crop.station, crop.task)),
}
"""Name of an order -> its title, and the key by which crops are sorted. The orders by similarity and size need more."""
