from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from pelagia.cli import app
from pelagia.config import dump_yaml
from pelagia.errors import InputError, StudioError
from pelagia.images.preprocess import decode
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import Studio, read_studio, start_studio
from pelagia_labeling.tasks import push as push_module
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.interface import build_interface, parse_interface
from pelagia_labeling.tasks.project import Task, find_project, get_project, list_tasks, require_project
from pelagia_labeling.tasks.push import push
from pelagia_labeling.tasks.storage import LOCAL_FILES, storage_paths

pytestmark = pytest.mark.studio

Tasks = Callable[[str], dict[str, Task]]
MakeImages = Callable[..., Path]


def survey_of(folder: Path, images: Path, class_names: tuple[str, ...], model: str = "ab" * 32) -> Path:
    """Predictions of all images: 0.7 for the second class."""
    probabilities = np.full(len(class_names), 0.3 / (len(class_names) - 1), np.float32)
    probabilities[1] = 0.7
    with Survey.open_for_writing(folder, model_sha256=model, classes=class_names, settings={}) as survey:
        survey.add(
            Prediction(image.path, str(image.file), sha256_of(image.read()), probabilities=probabilities)
            for image in list_images([images])
        )
    return folder


def test_a_second_push_adds_nothing(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    images = make_images(30)
    first = push(connection, images, project, taxonomy)
    second = push(connection, images, project, taxonomy)
    assert (first.added, first.present, first.created) == (30, 0, True)
    assert (second.added, second.present, second.created) == (0, 30, False)
    assert (first.project_id, first.url) == (second.project_id, second.url)
    assert get_project(connection, first.project_id).tasks == 30
    assert len(storage_paths(connection, require_project(connection, project))) == 1


def test_new_images_join_and_renamed_ones_are_recognized(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    images = make_images("a.png", "b.png")
    push(connection, images, project, taxonomy)
    (images / "a.png").rename(images / "renamed.png")
    make_images("c.png")
    report = push(connection, images, project, taxonomy)
    assert (report.added, report.present) == (1, 2)


def test_equal_images_are_one_task_and_bad_ones_are_listed(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    images = make_images("a.png", "b.jpg")
    (images / "copy of a.png").write_bytes((images / "a.png").read_bytes())
    (images / "cut.jpg").write_bytes((images / "b.jpg").read_bytes()[:-40])
    (images / "empty.png").touch()
    (images / "text.png").write_text("not an image", encoding="utf-8")
    report = push(connection, images, project, taxonomy)
    assert (report.added, report.duplicates) == (2, 1)
    assert [(path, why.partition(":")[0]) for path, why in report.bad] == [
        ("cut.jpg", "undecodable"),
        ("empty.png", "empty"),
        ("text.png", "undecodable"),
    ]


ODD_NAMES = (
    "plain.png",
    "Nördliche Ostsee/ä.JPG",
    "a b & c%20d #1 +?=;.png",
    "quote'\".jpeg",
    "$image.webp",
    "大きい.png",
    "scan.tif",
    "scan.bmp",
)


def test_images_of_any_name_and_kind_are_served_byte_for_byte(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images(*ODD_NAMES)
    deep = np.arange(20 * 16, dtype=np.uint16).reshape(20, 16) * 200
    (images / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    report = push(connection, images, project, taxonomy)
    assert (report.added, report.bad) == (9, ())
    tasks = tasks_of(project)
    assert sorted(tasks) == sorted([*ODD_NAMES, "deep.png"])
    for path, task in tasks.items():
        original = (images / path).read_bytes()
        assert connection.get(LOCAL_FILES, {"d": task.data["file"]}, what="the original") == original, path
        shown = connection.get(task.data["image"], what="what the browser gets")
        assert np.array_equal(decode(shown), decode(original)), path
        assert shown[:4] in (b"\x89PNG", b"RIFF") or shown[:2] == b"\xff\xd8", path


def test_the_columns_of_a_manifest_are_in_the_task(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images("a.png", "b.png")
    manifest = images / "manifest.csv"
    manifest.write_text("path,station,source\na.png,ST1,net\nb.png,ST2,pump\n", encoding="utf-8")
    push(connection, manifest, project, taxonomy)
    data = tasks_of(project)["b.png"].data
    assert (data["station"], data["survey_source"], data["source"]) == ("ST2", "pump", "manifest.csv")


def test_predictions_are_attached_once_and_fit_the_interface(
    connection: Connection,
    make_images: MakeImages,
    taxonomy: Taxonomy,
    project: str,
    tasks_of: Tasks,
    tmp_path: Path,
) -> None:
    images = make_images("a.png", "b.png")
    push(connection, images, project, taxonomy)  # the tasks are there before the predictions
    make_images("new.png")
    survey = survey_of(tmp_path / "survey", images, taxonomy.names)
    first = push(connection, images, project, taxonomy, predictions=survey)
    second = push(connection, images, project, taxonomy, predictions=survey)
    assert (first.added, first.predictions_added, second.predictions_added) == (1, 3, 0)
    tasks = tasks_of(project)
    assert [len(task.predictions) for task in tasks.values()] == [1, 1, 1]
    [prediction] = tasks["a.png"].predictions
    assert {**prediction, **tasks["new.png"].predictions[0]}["result"] == prediction["result"]
    assert prediction["result"] == [
        {"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": ["medusa"]}}
    ]
    assert round(prediction["score"], 4) == 0.7
    found = connection.client.projects.get(first.project_id)
    assert found.model_version == prediction["model_version"] == f"survey {'ab' * 6}"
    assert found.show_collab_predictions
    assert list(found.get_label_interface().validate_prediction(prediction, return_errors=True)) == []


def test_another_models_predictions_are_added_beside_the_first(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    images = make_images("a.png")
    for name, model in (("one", "ab" * 32), ("two", "cd" * 32)):
        survey = survey_of(tmp_path / name, images, taxonomy.names, model)
        push(connection, images, project, taxonomy, predictions=survey)
    versions = {entry["model_version"] for entry in tasks_of(project)["a.png"].predictions}
    assert versions == {f"one {'ab' * 6}", f"two {'cd' * 6}"}
    assert require_project(connection, project).model_version == f"two {'cd' * 6}"


def test_images_without_a_result_in_the_survey_are_pushed_and_said_to_have_no_prelabel(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks, tmp_path: Path
) -> None:
    survey = survey_of(tmp_path / "other", make_images("a.png"), taxonomy.names)
    images = make_images("b.png", "c.png")
    (images / "a.png").rename(tmp_path / "a.png")
    report = push(connection, images, project, taxonomy, predictions=survey)
    assert (report.added, report.predictions_added) == (2, 0)
    assert any("'other' has results for none of the 2 images, so 2 have no pre-label" in one for one in report.warnings)
    (tmp_path / "a.png").rename(images / "a.png")
    report = push(connection, images, project, taxonomy, predictions=survey)
    assert (report.added, report.predictions_added) == (1, 1)
    assert any("'other' has results for only 1 of the 3 images" in one for one in report.warnings)
    assert require_project(connection, project).model_version == f"other {'ab' * 6}"


def test_predictions_of_other_classes_are_refused_before_anything_is_done(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tmp_path: Path
) -> None:
    images = make_images("a.png")
    survey = survey_of(tmp_path / "survey", images, ("copepod", "kraken"))
    with pytest.raises(InputError, match="has classes that the taxonomy 'plankton' lacks: kraken"):
        push(connection, images, project, taxonomy, predictions=survey)
    with pytest.raises(StudioError, match="there is no project"):
        require_project(connection, project)


def test_classes_join_the_interface_and_cannot_leave_it_once_there_are_labels(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images("a.png")
    push(connection, images, project, taxonomy.restricted_to(["copepod", "detritus"]))
    push(connection, images, project, taxonomy.restricted_to(["copepod"]))  # no label yet: free to change
    submit(connection, tasks_of(project)["a.png"].id, "copepod")
    push(connection, images, project, taxonomy)
    with pytest.raises(StudioError, match="lacks classes that the project's interface has: medusa, detritus"):
        push(connection, images, project, taxonomy.restricted_to(["copepod"]))


def test_a_class_added_on_the_page_stays_and_push_says_how_it_changed_the_page(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images("a.png")
    first = push(connection, images, project, taxonomy.restricted_to(["copepod"]), annotators=2)
    assert connection.client.projects.get(first.project_id).maximum_annotations == 2
    submit(connection, tasks_of(project)["a.png"].id, "copepod")
    edited = require_project(connection, project).config.replace("</Choices>", '<Choice value="egg"/></Choices>', 1)
    connection.client.projects.update(id=first.project_id, label_config=edited)
    second = push(connection, images, project, taxonomy, annotators=3)
    assert second.interface == "classes added: medusa, detritus"
    classes = parse_interface(require_project(connection, project).config) or ()
    assert [entry.name for entry in classes] == [*taxonomy.names, "egg"]
    assert connection.client.projects.get(first.project_id).maximum_annotations == 3
    assert push(connection, images, project, taxonomy).interface == ""
    assert connection.client.projects.get(first.project_id).maximum_annotations == 3


def test_a_project_whose_tasks_have_no_caption_can_be_pushed_to(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    config = build_interface(taxonomy.restricted_to(["copepod"]), caption=False)
    made = connection.client.projects.create(title=project, label_config=config)
    connection.client.projects.import_tasks(id=made.id, request=[{"data": {"image": "/a.png"}}])
    report = push(connection, make_images("a.png"), project, taxonomy)
    assert (report.added, report.interface) == (1, "classes added: medusa, detritus")
    assert tasks_of_images(connection, project) == {"a.png": "16 x 20 px"}


def tasks_of_images(connection: Connection, project: str) -> dict[str, str]:
    tasks = list_tasks(connection, require_project(connection, project))
    return {task.data["path"]: task.data["image_caption"] for task in tasks if task.sha256}


def test_two_projects_with_the_same_title_are_an_error(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str
) -> None:
    images = make_images("a.png")
    push(connection, images, project, taxonomy)
    connection.client.projects.create(title=project, label_config="<View></View>")
    with pytest.raises(StudioError, match="2 projects at .* rename all but one"):
        push(connection, images, project, taxonomy)


@pytest.mark.usefixtures("studio")
def test_a_new_project_is_named_and_a_title_that_differs_in_capitals_and_spaces_only_is_warned_of(
    make_images: MakeImages, tmp_path: Path, taxonomy: Taxonomy, project: str
) -> None:
    classes = tmp_path / "taxonomy.yaml"
    classes.write_text(dump_yaml(taxonomy), encoding="utf-8")
    images = make_images("a.png")

    def said(title: str) -> str:
        shown = CliRunner().invoke(app, ["label", "push", str(images), "--project", title, "--taxonomy", str(classes)])
        assert shown.exit_code == 0, shown.output
        return shown.output

    assert said(project).startswith(f"made the project '{project}'\n1 images added")
    other = f"{project.upper()} -"
    assert f"made the project '{other}'\nwarning: there is a project '{project}' already" in said(other)
    assert said(other).startswith("0 images added")


@pytest.mark.usefixtures("studio")
def test_a_push_of_bad_images_only_is_an_error(tmp_path: Path, taxonomy: Taxonomy, project: str) -> None:
    classes = tmp_path / "taxonomy.yaml"
    classes.write_text(dump_yaml(taxonomy), encoding="utf-8")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"no image")
    words = ["label", "push", str(tmp_path / "bad"), "--project", project, "--taxonomy", str(classes)]
    shown = CliRunner().invoke(app, words)
    assert "left out: a.png: " in shown.output
    assert isinstance(shown.exception, InputError)
    assert "none of the images of" in str(shown.exception)


@pytest.mark.parametrize("name", ["", "  ", "ab", "x" * 51])
def test_a_name_that_label_studio_does_not_take_is_an_input_error(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, name: str
) -> None:
    with pytest.raises(InputError, match="a name has 3 to 50 characters"):
        push(connection, make_images("a.png"), name, taxonomy)


def test_a_server_elsewhere_needs_a_shared_folder(
    studio: Studio, make_images: MakeImages, taxonomy: Taxonomy, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELAGIA_STUDIO_HOME", str(studio.home / "none"))
    remote = connect(studio.url, studio.token)
    with pytest.raises(StudioError, match="with --upload, or set LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT here and on"):
        push(remote, make_images("a.png"), project, taxonomy)
    assert find_project(remote, project) is None
    monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", str(studio.document_root))
    assert push(connect(studio.url, studio.token), make_images("a.png"), project, taxonomy).added == 1


def test_tasks_that_were_imported_twice_lose_the_unlabelled_copy(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, tasks_of: Tasks
) -> None:
    images = make_images("a.png", "b.png")
    report = push(connection, images, project, taxonomy)
    copies = [{"data": dict(task.data)} for task in tasks_of(project).values()]
    connection.client.projects.import_tasks(id=report.project_id, request=copies)
    latest = tasks_of(project)["a.png"].id  # the later of the two tasks with this path
    submit(connection, latest, "medusa")
    assert get_project(connection, report.project_id).tasks == 4
    push(connection, images, project, taxonomy)
    left = tasks_of(project)
    assert get_project(connection, report.project_id).tasks == 2
    assert left["a.png"].id == latest


def test_images_that_two_pushes_add_at_once_are_counted_once(
    connection: Connection, make_images: MakeImages, taxonomy: Taxonomy, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_tasks = push_module._import_tasks

    def import_in_both(*given: Any) -> int:
        import_tasks(*given)  # the push of a colleague, who did not see these tasks either
        return import_tasks(*given)

    monkeypatch.setattr(push_module, "_import_tasks", import_in_both)
    report = push(connection, make_images("a.png", "b.png"), project, taxonomy)
    assert get_project(connection, report.project_id).tasks == 2
    assert (report.added, report.present) == (0, 2)  # the other push says that it added two
    assert any("2 images were also added by another push" in text for text in report.warnings)


PUSH_AND_REPORT = """
import sys
from pathlib import Path
import pelagia_labeling.tasks.push as module
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.studio.connection import connect
module.CHUNK = 60
taxonomy = Taxonomy(name="t", classes=(LabelClass(name="copepod"), LabelClass(name="medusa")))
module.push(connect(), Path(sys.argv[1]), sys.argv[2], taxonomy, progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.parametrize("delay", [0.0, 0.06])
def test_a_push_that_is_killed_midway_and_repeated_makes_no_duplicate(
    connection: Connection, make_images: MakeImages, project: str, delay: float
) -> None:
    images = make_images(400)
    command = [sys.executable, "-c", PUSH_AND_REPORT, str(images), project]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as pushing:
        assert pushing.stdout is not None
        for line in pushing.stdout:
            if int(line) >= 120:
                time.sleep(delay)  # into the next import, which the server then finishes without its caller
                break
        pushing.kill()
    taxonomy = Taxonomy(name="t", classes=(LabelClass(name="copepod"), LabelClass(name="medusa")))
    report = push(connection, images, project, taxonomy)
    assert 0 < report.added < 400
    assert report.added + report.present == 400
    hashes = [task.sha256 for task in list_tasks(connection, require_project(connection, project))]
    assert len(hashes) == len(set(hashes)) == 400


@pytest.mark.slow
def test_a_push_whose_server_is_killed_midway_says_so_and_can_be_repeated(
    connection: Connection, studio: Studio, make_images: MakeImages, project: str
) -> None:
    images = make_images(400)
    command = [sys.executable, "-c", PUSH_AND_REPORT, str(images), project]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as pushing:
        assert pushing.stdout is not None
        for line in pushing.stdout:
            if int(line) >= 120:
                break
        running = read_studio(studio.home)
        assert running is not None
        os.killpg(os.getpgid(running.pid), signal.SIGKILL)
        _, fault = pushing.communicate(timeout=60)
    start_studio(studio.home)  # on the same port, for the tests that follow
    assert "StudioError: " in fault.splitlines()[-1]
    assert "while importing 60 images" in fault or "no server answers" in fault
    taxonomy = Taxonomy(name="t", classes=(LabelClass(name="copepod"), LabelClass(name="medusa")))
    report = push(connection, images, project, taxonomy)
    assert 0 < report.added < 400
    hashes = [task.sha256 for task in list_tasks(connection, require_project(connection, project))]
    assert len(hashes) == len(set(hashes)) == 400
