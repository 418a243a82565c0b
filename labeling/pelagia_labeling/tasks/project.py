"""Projects and tasks on the server.

Invariant: tasks are read page by page from the task list and never from the export endpoint, which times out on large
projects. A task that push made holds the SHA-256 of its image in its data; push and pull recognize the task by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pelagia.errors import StudioError, did_you_mean
from pelagia.system.console import ProgressCallback
from pelagia_labeling.studio.connection import Connection

PAGE_SIZE = 1000


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
            ``whole``.
        predictions: the same for the predictions.
    """

    id: int
    data: Mapping[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the image; empty if push did not make the task."""
        return str(self.data.get("sha256", ""))


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
    progress: ProgressCallback = lambda done, total: None,
) -> Iterator[Task]:
    """All tasks of a project, ordered by number.

    Args:
        connection: the connection to the server.
        project: the project to read.
        whole: whether to read also the annotations and predictions of the tasks.
        progress: called with (tasks read, total tasks) after each page.
    """
    page, done, total = 1, 0, 1
    while done < total:
        params: dict[str, str | int] = {
            "project": project.id,
            "page": page,
            "page_size": PAGE_SIZE,
            "resolve_uri": "false",
        }
        params["fields"] = "all" if whole else "task_only"
        answer = connection.get_json("/api/tasks/", params, what=f"reading the tasks of '{project.title}'")
        total = int(answer["total"])
        if not answer["tasks"]:
            return
        for entry in answer["tasks"]:
            yield Task(int(entry["id"]), entry["data"], entry.get("annotations") or [], entry.get("predictions") or [])
        done += len(answer["tasks"])
        page += 1
        progress(min(done, total), total)
