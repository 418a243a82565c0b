"""Reading the tasks of a project page by page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks import project as module
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.interface import class_result
from pelagia_labeling.tasks.project import ANNOTATIONS, VERSIONS, list_tasks, require_project
from pelagia_labeling.tasks.push import push

pytestmark = pytest.mark.studio


def test_tasks_that_are_deleted_meanwhile_hide_no_other_task(
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(connection, make_images(20), project, taxonomy)
    found = require_project(connection, project)
    monkeypatch.setattr(module, "PAGE_SIZE", 6)
    seen: list[tuple[int, int]] = []
    reading = list_tasks(connection, found, progress=lambda done, total: seen.append((done, total)))
    numbers = [next(reading).id for _ in range(6)]
    for number in numbers[:4]:
        connection.client.tasks.delete(id=number)
    numbers += [task.id for task in reading]
    assert len(set(numbers)) == len(numbers) == 20
    assert seen == [(6, 20), (12, 20), (18, 20), (20, 20)]


def test_a_list_has_the_parts_that_were_asked_for(
    connection: Connection, make_images: Callable[..., Path], taxonomy: Taxonomy, project: str
) -> None:
    push(connection, make_images("a.png"), project, taxonomy)
    found = require_project(connection, project)
    [task] = list_tasks(connection, found)
    submit(connection, task.id, "medusa", seconds=2.5)
    for version in ("survey ab", "survey cd"):
        prediction = {"task": task.id, "result": class_result("copepod"), "score": 0.5, "model_version": version}
        connection.client.projects.import_predictions(id=found.id, request=[prediction])

    [plain] = list_tasks(connection, found)
    assert (plain.data["path"], plain.annotations, plain.predictions, plain.versions) == ("a.png", [], [], None)
    [with_versions] = list_tasks(connection, found, parts=VERSIONS)
    assert with_versions.versions == {"survey ab", "survey cd"}
    [labeled] = list_tasks(connection, found, parts=ANNOTATIONS)
    [annotation] = labeled.annotations
    assert annotation["result"] == class_result("medusa")
    assert (annotation["lead_time"], annotation["was_cancelled"]) == (2.5, False)
    assert {"completed_by", "updated_by", "created_at", "updated_at", "parent_prediction"} < set(annotation)
    [whole] = list_tasks(connection, found, whole=True)
    assert whole.annotations == labeled.annotations
    assert [entry["model_version"] for entry in whole.predictions] == ["survey ab", "survey cd"]
    assert whole.predictions[0]["result"] == class_result("copepod")
