"""A project on the server: found by its exact title, read in pages.

Invariant: tasks are read page by page through the task list and never through the export endpoint, which times out on
big projects. A task of ours carries its image's SHA-256; that is how it is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pelagia.errors import StudioError, did_you_mean
from pelagia_labeling.studio.connection import Connection

PAGE = 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Project:
    """What we need to know of a project. ``annotations`` includes skipped ones."""

    id: int
    title: str
    config: str
    tasks: int
    annotations: int
    model_version: str = ""

    def url(self, connection: Connection) -> str:
        return f"{connection.url}/projects/{self.id}/data"


@dataclass(frozen=True)
class Task:
    """A task. ``annotations`` and ``predictions`` are the server's own dictionaries; empty unless asked for."""

    id: int
    data: Mapping[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return str(self.data.get("sha256", ""))


def list_projects(connection: Connection) -> list[Project]:
    """All projects that the account sees."""
    found: list[Project] = []
    page = 1
    while True:
        answer = connection.get_json("/api/projects/", {"page": page, "page_size": 100}, what="listing the projects")
        found += [_project(entry) for entry in answer["results"]]
        if not answer.get("next"):
            return found
        page += 1


def find_project(connection: Connection, title: str) -> Project | None:
    """The project of exactly this title; None where there is none.

    Raises:
        StudioError: several have it.
    """
    same = [project for project in list_projects(connection) if project.title == title]
    if len(same) > 1:
        numbers = ", ".join(str(project.id) for project in same)
        raise StudioError(
            f"{len(same)} projects at {connection.url} are called '{title}' (numbers {numbers}): rename all but one"
        )
    return same[0] if same else None


def require_project(connection: Connection, title: str) -> Project:
    """The project of exactly this title.

    Raises:
        StudioError: none or several have it.
    """
    found = find_project(connection, title)
    if found is None:
        titles = [project.title for project in list_projects(connection)]
        listed = f"; there are: {', '.join(titles[:10])}" if titles else ", and no other"
        raise StudioError(f"there is no project '{title}' at {connection.url}{did_you_mean(title, titles)}{listed}")
    return found


def get_project(connection: Connection, project_id: int) -> Project:
    """The project of this number, as it is now."""
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
    progress: Progress = lambda done, total: None,
) -> Iterator[Task]:
    """All tasks of a project, by number.

    Args:
        whole: with their annotations and predictions.
    """
    page, done, total = 1, 0, 1
    while done < total:
        params: dict[str, str | int] = {"project": project.id, "page": page, "page_size": PAGE, "resolve_uri": "false"}
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
