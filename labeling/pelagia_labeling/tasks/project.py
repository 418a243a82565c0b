"""Projects and tasks on the server.

Invariant: tasks are read page by page from the task list and never from the export endpoint, which times out on large
projects. Each page starts after the last task of the page before, so tasks that are deleted or added meanwhile make no
other task appear twice or not at all. A task that push made holds the SHA-256 of its image in its data; push and pull
recognize the task by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pelagia.errors import StudioError, did_you_mean
from pelagia.system.console import ProgressCallback
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.interface import FROM_CLASS, class_names
from pelagia_labeling.tasks.sheet_crops import RefusedSheet, crops_of, is_sheet, is_sheet_interface, refused_sheets

PAGE_SIZE = 1000
REPEAT_OF = "repeat_of"
"""Key in the data of a planted repeat: the SHA-256 of its image. A repeat has no ``sha256``: push did not make it."""

Part = Literal["annotations", "predictions", "versions"]
"""What `list_tasks` reads beside the data of a task: annotations, predictions, or the names of the models only."""

ANNOTATIONS: tuple[Part, ...] = ("annotations",)
PREDICTIONS: tuple[Part, ...] = ("predictions",)
VERSIONS: tuple[Part, ...] = ("versions",)

_ANNOTATION_FIELDS = (
    "result",
    "completed_by",
    "updated_by",
    "was_cancelled",
    "ground_truth",
    "lead_time",
    "created_at",
    "updated_at",
    "parent_prediction",
    "parent_annotation",
)
_PREDICTION_FIELDS = ("result", "score", "model_version")
_VERSIONS_FIELD = "predictions_model_versions"
_CUT_VERSIONS = 500
"""The server cuts its list of model versions after this number of characters."""


@dataclass(frozen=True)
class Project:
    """A project.

    Attributes:
        config: the project's labeling configuration (XML).
        tasks: number of tasks.
        annotations: number of annotations, including skipped annotations.
        model_version: name of the model whose predictions annotators see.
    """

    id: int
    title: str
    config: str
    tasks: int
    annotations: int
    model_version: str = ""

    def url(self, connection: Connection) -> str:
        """The address of the project's page."""
        return f"{connection.url}/projects/{self.id}/data"


@dataclass(frozen=True)
class Task:
    """A task: one image to label.

    Attributes:
        data: the data of the task, as the server's API returns it.
        annotations: the annotations, as the server's API returns them; empty unless `list_tasks` was called with
            ``whole`` or the part "annotations".
        predictions: the same for the predictions.
        versions: names of the models whose predictions the task has, if `list_tasks` read the part "versions". None if
            it did not, or if the server's list was too long.
        crop: place of the image on its sheet, from 0; None if the task is not of a sheet.
        refused: the submissions of its sheet that do not count.
    """

    id: int
    data: Mapping[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    versions: frozenset[str] | None = None
    crop: int | None = None
    refused: tuple[RefusedSheet, ...] = ()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the image; empty if push did not make the task."""
        return str(self.data.get("sha256") or "")

    @property
    def place(self) -> str:
        """Where the image is: the number of the task, and on a sheet also the place of the crop."""
        return str(self.id) if self.crop is None else f"{self.id}-{self.crop}"

    @property
    def repeat_of(self) -> str:
        """The SHA-256 of the image if the task is a planted repeat (`pelagia label repeats`); otherwise empty."""
        return str(self.data.get(REPEAT_OF, ""))


def list_projects(connection: Connection) -> list[Project]:
    """All projects that the account may see."""
    found: list[Project] = []
    page = 1
    while True:
        answer = connection.get_json("/api/projects/", {"page": page, "page_size": 100}, what="listing the projects")
        found += [_project(entry) for entry in answer["results"]]
        if not answer.get("next"):
            return found
        page += 1


def find_project(connection: Connection, title: str) -> Project | None:
    """The project with exactly this title; None if no project has it.

    Raises:
        StudioError: several projects have this title.
    """
    same = [project for project in list_projects(connection) if project.title == title]
    if len(same) > 1:
        numbers = ", ".join(str(project.id) for project in same)
        raise StudioError(
            f"{len(same)} projects at {connection.url} have the title '{title}' (numbers {numbers}): rename all but one"
        )
    return same[0] if same else None


def require_project(connection: Connection, title: str) -> Project:
    """The project with exactly this title.

    Raises:
        StudioError: no project or several projects have this title.
    """
    found = find_project(connection, title)
    if found is None:
        titles = [project.title for project in list_projects(connection)]
        listed = f"; it has: {', '.join(titles[:10])}" if titles else "; it has no project yet"
        raise StudioError(f"there is no project '{title}' at {connection.url}{did_you_mean(title, titles)}{listed}")
    return found


def alike_title(connection: Connection, title: str) -> str:
    """The title of another project with the same letters and digits, which may have been meant; or an empty text."""
    others = [project.title for project in list_projects(connection) if project.title != title]
    return next((other for other in others if _letters(other) == _letters(title)), "")


def _letters(title: str) -> str:
    return re.sub(r"[\W_]", "", title).casefold()


def get_project(connection: Connection, project_id: int) -> Project:
    """The present state of the project with this number."""
    return _project(connection.get_json(f"/api/projects/{project_id}/", what="reading the project"))


def _project(entry: Mapping[str, Any]) -> Project:
    return Project(
        id=int(entry["id"]),
        title=str(entry.get("title") or ""),
        config=str(entry.get("label_config") or ""),
        tasks=int(entry.get("task_number") or 0),
        annotations=int(entry.get("total_annotations_number") or 0) + int(entry.get("skipped_annotations_number") or 0),
        model_version=str(entry.get("model_version") or ""),
    )


def list_tasks(
    connection: Connection,
    project: Project,
    *,
    whole: bool = False,
    parts: Collection[Part] = (),
    sheets: bool = False,
    named: bool = False,
    changed_since: str | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Iterator[Task]:
    """All tasks of a project, ordered by number. A sheet is given as its crops, which all have its number.

    Args:
        connection: the connection to the server.
        project: the project to read.
        whole: whether to read also the annotations and predictions of the tasks.
        parts: the parts to read; "versions" is fast, "predictions" and "annotations" take about as long each.
        sheets: whether to give a sheet as the task that it is.
        named: whether labels have the present names of renamed classes, not their stored names (`tasks.renamed`).
        changed_since: gives only tasks that changed after this time, such as "2026-01-31T08:00:00.0Z"; with an empty
            text, only tasks with annotations.
        progress: called with (tasks read, total tasks) after each page.

    Raises:
        StudioError: the server fails, or leaves out a part that was asked for.
    """
    whole = whole or ("annotations" in parts and is_sheet_interface(project.config))  # to see which labels were changed
    wanted = frozenset((*ANNOTATIONS, *PREDICTIONS) if whole else parts)
    names = class_names(project.config) if named else {}
    done = total = 0
    for entries, left in _pages(connection, project, wanted, changed_since):
        with connection.doing(_reading(project)):
            tasks = [_task(entry, wanted) for entry in entries]
            _rename(tasks, names)
        for task in tasks:
            yield from (task,) if sheets or not is_sheet(task.data) else _crops(task)
        total = max(total, done + left)
        done += len(tasks)
        progress(done, total)


def _reading(project: Project) -> str:
    return f"reading the tasks of '{project.title}'"


def _pages(
    connection: Connection, project: Project, parts: Collection[Part], changed_since: str | None = None
) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """The tasks of each page as the server sends them, and the number of tasks of this and all later pages."""
    params: dict[str, str | int] = {
        "project": project.id,
        "page": 1,
        "page_size": PAGE_SIZE,
        "resolve_uri": "false",
        "fields": "all" if parts else "task_only",
        "include": ",".join(_fields(parts)),  # without it, the server computes and sends 30 fields: 5 times as long
    }
    last = 0
    while True:
        answer = connection.get_json(
            "/api/tasks/", params | {"query": _after(last, changed_since)}, what=_reading(project)
        )
        entries, left = answer["tasks"], int(answer["total"])
        if entries:
            yield entries, left
        if len(entries) >= left or not entries:
            return
        last = int(entries[-1]["id"])


def count_tasks(connection: Connection, project: Project) -> tuple[int, int]:
    """The number of tasks of a project, and the greatest number that a task of it has; (0, 0) if it has none."""
    params: dict[str, str | int] = {"project": project.id, "page_size": 1, "fields": "task_only", "include": "id"}
    query = {"query": json.dumps({"ordering": ["-tasks:id"]})}
    answer = connection.get_json("/api/tasks/", params | query, what=_reading(project))
    with connection.doing(_reading(project)):
        return int(answer["total"]), max((int(entry["id"]) for entry in answer["tasks"]), default=0)


def _fields(parts: Collection[Part]) -> list[str]:
    """The names of the fields to ask for. The server applies the same list to a task and to its annotations."""
    fields = ["id", "data"]
    if "annotations" in parts:
        fields += ["annotations", *_ANNOTATION_FIELDS]
    if "predictions" in parts:
        fields += ["predictions", *(name for name in _PREDICTION_FIELDS if name not in fields)]
    if "versions" in parts:
        fields.append(_VERSIONS_FIELD)
    return fields


def _after(number: int, changed_since: str | None = None) -> str:
    """The server's query for the tasks with a greater number that changed since, see `list_tasks`."""
    conditions = [_greater("id", number, "Number")]
    if changed_since is not None:
        changed = ("updated_at", changed_since, "Datetime") if changed_since else ("total_annotations", 0, "Number")
        conditions.append(_greater(*changed))
    return json.dumps({"filters": {"conjunction": "and", "items": conditions}, "ordering": ["tasks:id"]})


def _greater(column: str, value: int | str, kind: str) -> dict[str, int | str]:
    return {"filter": f"filter:tasks:{column}", "operator": "greater", "value": value, "type": kind}


def _task(entry: Mapping[str, Any], parts: Collection[Part]) -> Task:
    """A task of the server's answer. Raises KeyError if the answer lacks a part that was asked for."""
    annotations = list(entry["annotations"]) if "annotations" in parts else []
    predictions = list(entry["predictions"]) if "predictions" in parts else []
    for result in (*annotations, *predictions):
        result["result"]  # an answer without results would look like a project without labels
    versions = _versions(str(entry[_VERSIONS_FIELD] or "")) if "versions" in parts else None
    return Task(int(entry["id"]), entry["data"], annotations, predictions, versions)


def _rename(tasks: Iterable[Task], names: Mapping[str, str]) -> None:
    """Puts the present names of classes into the labels of tasks; ``names``: stored name -> present name."""
    if not names:
        return
    for task in tasks:
        for one in (*task.annotations, *task.predictions):
            for region in one["result"] or ():
                if region.get("from_name") == FROM_CLASS:
                    value = region["value"]
                    value["choices"] = [names.get(choice, choice) for choice in value.get("choices") or ()]


def _crops(sheet: Task) -> Iterator[Task]:
    """The crops of a sheet, as tasks with the number of the sheet."""
    refused = tuple(refused_sheets(sheet.id, sheet.data, sheet.annotations))
    for index, crop in enumerate(crops_of(sheet.data, sheet.annotations, sheet.predictions)):
        yield replace(sheet, **vars(crop), crop=index, refused=refused)


def _versions(text: str) -> frozenset[str] | None:
    """The names in the server's list of model versions; None if the list was cut."""
    if len(text) >= _CUT_VERSIONS:
        return None
    return frozenset(name.strip() for name in text.split(",") if name.strip())
