"""Which images of a project have a task: the answers of the server's database and of its API are the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.backup import copy_database, database_of
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks import existing
from pelagia_labeling.tasks.existing import read_tasks
from pelagia_labeling.tasks.interface import class_result
from pelagia_labeling.tasks.prelabels import Prelabel, Prelabels
from pelagia_labeling.tasks.project import Task, require_project
from pelagia_labeling.tasks.push import push

pytestmark = pytest.mark.studio

Tasks = Callable[[str], dict[str, Task]]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets an entry each time when tasks are listed through the API."""
    calls: list[int] = []
    real = existing.list_tasks

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(existing, "list_tasks", counted)
    return calls


def test_the_database_gives_what_the_api_gives(
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    listed: list[int],
) -> None:
    push(connection, make_images("a.png", "b.png", "c.png"), project, taxonomy)
    found, tasks = require_project(connection, project), tasks_of(project)
    prelabels = Prelabels("survey ab", {tasks[name].sha256: Prelabel("copepod", 0.5) for name in ("a.png", "b.png")})
    had = {"task": tasks["a.png"].id, "result": class_result("copepod"), "score": 0.5, "model_version": "survey ab"}
    other = had | {"task": tasks["b.png"].id, "model_version": "survey cd"}
    connection.send("POST", f"/api/projects/{found.id}/import/predictions", [had, other], what="test")
    by_hand = [{"data": {"image": "/a.png"}}, {"data": {"image": "/b.png", "sha256": None}}]
    connection.send("POST", f"/api/projects/{found.id}/import", by_hand, what="test")

    for wanted in (None, prelabels):
        answer = read_tasks(connection, found, wanted)
        assert not listed
        assert answer == existing._from_api(connection, found, wanted)
        listed.clear()
    assert (len(answer.known), answer.others) == (3, 2)
    assert answer.without_prelabel == [(tasks["b.png"].id, tasks["b.png"].sha256)]


@pytest.mark.parametrize(
    "change", ["DELETE FROM task", "DROP TABLE task", """UPDATE task SET data = '{"crops": []}'"""]
)
def test_a_database_that_is_not_as_expected_is_not_believed(
    connection: Connection,
    studio: Studio,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    listed: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    push(connection, make_images("a.png", "b.png"), project, taxonomy)
    copy = tmp_path / "copy.sqlite3"
    copy_database(database_of(studio.home), copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(change)
    monkeypatch.setattr(existing, "database_of", lambda home: copy)
    listed.clear()
    assert len(read_tasks(connection, require_project(connection, project), None).known) == 2
    assert listed == [1]


def test_a_task_that_was_deleted_is_pushed_again(
    connection: Connection, make_images: Callable[..., Path], taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images("a.png", "b.png")
    push(connection, images, project, taxonomy)
    connection.send("DELETE", f"/api/tasks/{tasks_of(project)['a.png'].id}/", what="test")
    report = push(connection, images, project, taxonomy)
    assert (report.added, report.present) == (1, 1)
    assert set(tasks_of(project)) == {"a.png", "b.png"}
