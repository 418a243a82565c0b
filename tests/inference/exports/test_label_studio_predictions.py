"""Tasks with predictions: their form, and a real Label Studio that imports them."""

import json

import pytest

from pelagia_inference.exports.export import ExportOptions, export_survey
from pelagia_labeling.studio.connection import connect
from pelagia_labeling.tasks.interface import parse_interface
from survey_fixtures import CLASSES, NAMES


def test_tasks_have_the_accepted_class_and_the_columns(sea, tmp_path):
    done = export_survey(sea, tmp_path / "out", "label-studio")
    tasks = {task["data"]["path"]: task for task in json.loads((tmp_path / "out" / "tasks.json").read_text("utf-8"))}
    assert set(tasks) == set(NAMES)
    first = tasks[NAMES[0]]
    assert first["predictions"][0]["result"][0]["value"] == {"choices": [CLASSES[0]]}
    assert first["data"]["image"] == "/data/local-files/?d=%3D1%2B1.png"
    assert first["data"]["station"] == "=St 0"
    assert tasks[NAMES[3]]["predictions"][0]["result"] == []
    assert tasks[NAMES[5]]["meta"] == {"confirmed": CLASSES[0]}
    assert tasks[NAMES[5]]["predictions"][0]["result"][0]["value"] == {"choices": [CLASSES[2]]}
    assert "2 tasks show a score and no class: none was accepted" in done.notes


def test_images_can_be_on_a_server(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "label-studio", ExportOptions(media_url="https://example.org/sea"))
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text("utf-8"))
    images = [one["data"]["image"] for one in tasks]
    assert "https://example.org/sea/%3Cscript%3Ealert%281%29%3C/script%3E.png" in images


def test_the_page_is_one_that_pull_can_read(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "label-studio")
    classes = parse_interface((tmp_path / "out" / "interface.xml").read_text("utf-8"))
    assert classes is not None
    assert [one.name for one in classes] == list(CLASSES)


@pytest.mark.studio
def test_label_studio_imports_the_tasks_with_their_predictions(studio, sea, tmp_path):
    export_survey(sea, tmp_path / "out", "label-studio", ExportOptions(media_url="https://example.org/sea"))
    connection = connect()
    page = (tmp_path / "out" / "interface.xml").read_text("utf-8")
    made = connection.send("POST", "/api/projects/", {"title": "exported", "label_config": page}, what="a project")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text("utf-8"))
    answer = connection.send("POST", f"/api/projects/{made['id']}/import", tasks, what="the tasks")
    assert (answer["task_count"], answer["prediction_count"]) == (len(NAMES), len(NAMES))
