from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.doctor import Check, examine
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from studio_fixtures import free_port

pytestmark = pytest.mark.studio

MakeImages = Callable[..., Path]


def failed(checks: list[Check]) -> Check:
    """The only check that failed."""
    [check] = [check for check in checks if check.ok is False]
    return check


def test_a_healthy_project_passes_every_check(
    studio: Studio, connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    push(connection, make_images("a.png"), project, taxonomy)
    checks = examine(home=studio.home, project=project)
    assert [check.ok for check in checks] == [True] * 8
    assert "legacy token" in checks[0].found
    assert "as pushed" in checks[-1].found
    assert studio.token not in str(checks)


def test_a_project_of_sheets_passes_every_check(
    studio: Studio, connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    push_sheets(connection, make_images("a.png", "b.png", "c.png"), project, taxonomy, SheetOptions(2, None, False))
    checks = examine(home=studio.home, project=project)
    assert [check.ok for check in checks] == [True] * 8
    assert "as pushed" in checks[-1].found


def test_images_of_a_folder_of_another_project_pass_every_check(
    studio: Studio, connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    push(connection, make_images("a.png"), project, taxonomy)
    first = require_project(connection, project)
    [task] = list_tasks(connection, first)
    other = connection.client.projects.create(title=f"{project} d", label_config=first.config)
    connection.client.projects.import_tasks(id=other.id, request=[{"data": dict(task.data)}])
    checks = examine(home=studio.home, project=f"{project} d")
    assert [check.ok for check in checks] == [True] * 8


def test_without_a_server_one_check_is_wrong_and_the_later_ones_are_skipped(studio: Studio) -> None:
    checks = examine(f"http://127.0.0.1:{free_port()}", "token", home=studio.home)
    assert [check.ok for check in checks] == [True, False, None, None, None]
    assert failed(checks).remedy.startswith("start one with `pelagia studio start`")
    assert checks[-1].found == "because of 'server answers'"


def test_a_wrong_token_is_found_after_the_server(studio: Studio) -> None:
    checks = examine(studio.url, "not-the-token", home=studio.home)
    assert failed(checks).name == "token accepted"
    assert failed(checks).remedy.startswith("copy the current one")


def test_a_missing_storage_is_named_with_its_remedy(
    studio: Studio, connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    images = make_images("a.png")
    report = push(connection, images, project, taxonomy)
    [storage] = connection.client.import_storage.local.list(project=report.project_id)
    connection.client.import_storage.local.delete(id=storage.id)
    checks = examine(home=studio.home, project=project)
    assert [check.name.rpartition(": ")[2] for check in checks if check.ok is False] == [
        "local storage",
        "image served",
    ]
    push(connection, images, project, taxonomy)  # the remedy that was named
    assert all(check.ok for check in examine(home=studio.home, project=project))


def test_changed_and_missing_files_are_found(
    studio: Studio,
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Callable[[str], dict[str, Task]],
) -> None:
    images = make_images("a.png")
    push(connection, images, project, taxonomy)
    file = studio.document_root / tasks_of(project)["a.png"].data["file"]
    file.write_bytes(b"edited")
    assert "differs from the image that was pushed" in failed(examine(home=studio.home, project=project)).found
    shutil.rmtree(file.parent)
    assert "does not find" in failed(examine(home=studio.home, project=project)).found
    push(connection, images, project, taxonomy)
    assert all(check.ok for check in examine(home=studio.home, project=project))


def test_another_document_root_here_is_found(
    studio: Studio,
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push(connection, make_images("a.png"), project, taxonomy)
    assert require_project(connection, project).tasks == 1
    monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    check = failed(examine(home=studio.home, project=project))
    assert f"set LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT to {studio.document_root}" in f"{check.remedy}"
