"""Images for a server that shares no folder: they go through its API, and come back byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.errors import StudioError
from pelagia.system.files import sha256_of_file
from pelagia.taxonomy import Taxonomy
from pelagia_labeling import doctor
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks import upload as upload_module
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.sheet_crops import CROPS, SHOWN, sheet_result

pytestmark = pytest.mark.studio
MakeImages = Callable[..., Path]


@pytest.fixture
def remote(connection: Connection) -> Connection:
    """The connection of a machine that shares no folder with the server."""
    return replace(connection, document_root=None)


def test_uploaded_images_are_shown_and_come_back_with_columns_and_taxonomy(
    remote: Connection,
    project: str,
    taxonomy: Taxonomy,
    make_images: MakeImages,
    tasks_of: Callable[[str], dict[str, Task]],
    tmp_path: Path,
) -> None:
    crops = make_images("a.png", "ü b.jpg", "c.tif", "d.png")
    sixteen = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    cv2.imwrite(str(crops / "e.png"), sixteen)
    rows = "".join(
        f"{name},S{index % 3}\n" for index, name in enumerate(["a.png", "ü b.jpg", "c.tif", "d.png", "e.png"])
    )
    (crops / "list.csv").write_text(f"path,station\n{rows}", encoding="utf-8")
    with pytest.raises(StudioError, match="upload the images with --upload"):
        push(remote, crops / "list.csv", project, taxonomy)
    report = push(remote, crops / "list.csv", project, taxonomy, upload=True)
    assert (report.added, report.present, report.bad) == (5, 0, ())
    again = push(remote, crops / "list.csv", project, taxonomy, upload=True)
    assert (again.added, again.present) == (0, 5)

    tasks = tasks_of(project)
    for task in tasks.values():
        shown = remote.get(str(task.data["image"]), what="opening the page")
        assert cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_UNCHANGED).dtype == np.uint8
        assert not str(task.data["image"]).endswith((".tif", ".bmp"))
    assert tasks["c.tif"].data["station"] == "S2"
    assert all(check.ok for check in doctor.examine(remote.url, remote.address.token, project=project)[4:])

    for task, name in zip(tasks.values(), ["copepod", "medusa", "copepod", "detritus", "medusa"], strict=True):
        submit(remote, task.id, name)
    dataset = pull(remote, project, tmp_path / "dataset").dataset
    assert {record.source: record.sha256 for record in dataset.records} == {
        name: sha256_of_file(crops / name) for name in tasks
    }
    assert sorted(Path(record.path).suffix for record in dataset.records) == [".jpg", ".png", ".png", ".png", ".tif"]
    assert dataset.meta.taxonomy.taxa == taxonomy.taxa


def test_sheets_of_uploaded_crops_are_shown_and_come_back(
    remote: Connection, project: str, taxonomy: Taxonomy, make_images: MakeImages, tmp_path: Path
) -> None:
    crops = make_images("a.png", "b.jpg", "c.tif")
    options = SheetOptions(36)
    with pytest.raises(StudioError, match="upload the images with --upload"):
        push_sheets(remote, crops, project[:40], taxonomy, options)
    assert push_sheets(remote, crops, project, taxonomy, options, upload=True).added == 3
    again = push_sheets(remote, crops, project, taxonomy, options, upload=True)
    assert (again.added, again.present, again.interface) == (0, 3, "")
    [sheet] = list_tasks(remote, require_project(remote, project), sheets=True)
    for crop in sheet.data[CROPS]:
        shown = remote.get(crop["image"], what="opening the page")
        assert crop["image"] in crop[SHOWN]
        assert cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR) is not None
    names = ["copepod", "medusa", "detritus"]
    remote.client.annotations.create(id=sheet.id, result=sheet_result(names), lead_time=20)
    dataset = pull(remote, project, tmp_path / "dataset").dataset
    assert {record.source: record.sha256 for record in dataset.records} == {
        name: sha256_of_file(crops / name) for name in ("a.png", "b.jpg", "c.tif")
    }
    assert dataset.meta.taxonomy.taxa == taxonomy.taxa


def test_a_push_that_died_after_its_uploads_uploads_nothing_twice(
    remote: Connection,
    project: str,
    taxonomy: Taxonomy,
    make_images: MakeImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops = make_images(7)
    monkeypatch.setattr(upload_module, "FILES_A_REQUEST", 3)
    with monkeypatch.context() as patch:
        patch.setattr("pelagia_labeling.tasks.push._import_tasks", killed)
        with pytest.raises(KeyboardInterrupt):
            push(remote, crops, project, taxonomy, upload=True)
    number = require_project(remote, project).id
    uploads = f"/api/projects/{number}/file-uploads"
    before = remote.get_json(uploads, {"all": "true"}, what="listing")
    assert len(before) == 8  # and the taxonomy
    assert push(remote, crops, project, taxonomy, upload=True).added == 7
    assert remote.get_json(uploads, {"all": "true"}, what="listing") == before
    assert require_project(remote, project).tasks == 7


def killed(*_: object) -> int:
    raise KeyboardInterrupt


def test_an_image_that_the_server_refuses_for_its_size_is_listed_and_the_others_arrive(
    remote: Connection,
    project: str,
    taxonomy: Taxonomy,
    make_images: MakeImages,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server stands behind a proxy that takes requests of 3,000 bytes, as nginx refuses more than its limit."""
    crops = make_images(6)
    big = cv2.imencode(".png", np.random.default_rng(5).integers(0, 255, (60, 60, 3), dtype=np.uint8))[1]
    (crops / "big.png").write_bytes(big.tobytes())
    real = Connection.post_files

    def behind_a_proxy(
        self: Connection, path: str, files: list[tuple[str, tuple[str, bytes]]], *rest: object, what: str
    ) -> object:
        if sum(len(data) for _, (_, data) in files) > 3000:
            raise StudioError("413 Request Entity Too Large", status=413)
        return real(self, path, files, *rest, what=what)  # type: ignore[arg-type]

    monkeypatch.setattr(Connection, "post_files", behind_a_proxy)
    report = push(remote, crops, project, taxonomy, upload=True)
    assert report.added == 6
    assert report.bad == (("big.png", "too_large: the server refuses a file of this size"),)


def test_an_image_that_was_removed_from_the_server_is_left_out_and_counted(
    remote: Connection,
    project: str,
    taxonomy: Taxonomy,
    make_images: MakeImages,
    tasks_of: Callable[[str], dict[str, Task]],
    tmp_path: Path,
) -> None:
    push(remote, make_images("a.png", "b.png"), project, taxonomy, upload=True)
    number = require_project(remote, project).id
    uploads = remote.get_json(f"/api/projects/{number}/file-uploads", {"all": "true"}, what="listing")
    gone = next(each for each in uploads if each["file"].endswith(".png"))
    remote.client.files.delete(id=gone["id"])
    for task in tasks_of(project).values():
        submit(remote, task.id, "copepod")
    report = pull(remote, project, tmp_path / "dataset")
    assert report.left_out["image_missing"] == 1
    assert len(report.dataset.records) == 1
    checks = doctor.examine(remote.url, remote.address.token, project=project)
    served = next(check for check in checks if check.name.endswith("image served"))
    assert served.ok is True or "was removed" in served.found + served.remedy


def test_images_for_a_page_that_shows_several_things_are_uploaded_as_well(
    remote: Connection,
    project: str,
    taxonomy: Taxonomy,
    make_images: MakeImages,
    tasks_of: Callable[[str], dict[str, Task]],
) -> None:
    """Label Studio refuses an image for a project whose page shows two things."""
    push(remote, make_images("a.png"), project, taxonomy, upload=True)
    found = require_project(remote, project)
    end = found.config.rindex("</View>")
    page = found.config[:end] + '<Text name="where" value="$path"/>' + found.config[end:]
    remote.client.projects.update(id=found.id, label_config=page)
    report = push(remote, make_images("b.png", folder="more"), project, taxonomy, upload=True)
    assert report.added == 1
    for task in tasks_of(project).values():
        assert remote.get(str(task.data["image"]), what="opening the page").startswith(b"\x89PNG")
