from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

from pelagia.model.decision import Verdict
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import list_tasks, require_project
from pelagia_labeling.tasks.push import push

pytestmark = [pytest.mark.studio, pytest.mark.browser]


def chosen(page: Page) -> list[str]:
    """What is ticked, in the words that people read."""
    ticked = "[...document.querySelectorAll('input:checked')].map(box => (box.closest('label') || box).innerText || '')"
    return [str(text).split("[")[0].strip() for text in page.evaluate(ticked)]


def await_choice(page: Page, wanted: str) -> None:
    page.wait_for_function(
        "wanted => [...document.querySelectorAll('input:checked')]"
        ".some(box => (box.closest('label') || box).innerText.startsWith(wanted))",
        arg=wanted,
    )


SHOWN = "([...document.images].find(image => image.naturalWidth === 16) || {}).src"


def submit_and_await_the_next(page: Page, act: Callable[[], object]) -> None:
    """Submits, and waits until another image is shown: the choices of the last image stay on the page for a moment."""
    before = page.evaluate(SHOWN)
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        act()
    page.wait_for_function(f"before => {{ const now = {SHOWN}; return now && now !== before }}", arg=before)


def test_a_person_labels_with_hotkeys_and_the_labels_arrive_in_the_dataset(
    page: Page,
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
) -> None:
    images = make_images("first crop & co.png", "second.tif", "third.png")
    survey = tmp_path / "survey"
    with Survey.open_for_writing(survey, model_sha256="ab" * 32, classes=taxonomy.names, settings={}) as rows:
        guess = np.array([0.1, 0.8, 0.1], np.float32)
        rows.add(
            Prediction(image.path, str(image.file), sha256_of(image.read()), probabilities=guess)
            for image in list_images([images])
        )
    report = push(connection, images, project, taxonomy, predictions=survey)

    page.goto(report.url)
    page.get_by_role("button", name="Label All Tasks").click()
    # The model's guess is shown as a pre-label, under its title.
    await_choice(page, "Medusa")
    page.wait_for_function(
        "[...document.images].some(image => image.naturalWidth === 16 && image.getBoundingClientRect().height === 80)"
    )  # a crop of 16 x 20 pixels has loaded, and is shown at four times its size
    assert page.get_by_text("16 x 20 px \u00b7 model: medusa 0.80").is_visible()
    page.wait_for_timeout(500)
    page.keyboard.press("c")
    await_choice(page, "Copepod & nauplius")
    assert chosen(page) == ["Copepod & nauplius"]
    if shot := os.environ.get("PELAGIA_SCREENSHOT"):
        page.screenshot(path=shot)
    submit_and_await_the_next(page, lambda: page.keyboard.press("Control+Enter"))

    # The next task is shown: accept the pre-label, after the time that a person needs to look.
    await_choice(page, "Medusa")
    page.wait_for_timeout(500)
    submit_and_await_the_next(page, lambda: page.click("button[name=submit]"))

    # The third: not sure.
    await_choice(page, "Medusa")
    page.wait_for_timeout(500)
    page.keyboard.press("u")
    await_choice(page, "Unsure")
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        page.keyboard.press("Control+Enter")

    pulled = pull(connection, project, tmp_path / "dataset")
    labels = {record.source: (record.class_name, record.annotators) for record in pulled.dataset.records}
    assert labels == {
        "first crop & co.png": ("copepod", connection.user),
        "second.tif": ("medusa", connection.user),
    }
    assert pulled.left_out == {"unsure": 1}


def test_among_a_hundred_classes_the_pre_label_is_seen_and_others_are_found_by_typing(
    page: Page, connection: Connection, make_images: Callable[..., Path], project: str, tmp_path: Path
) -> None:
    taxonomy = Taxonomy(name="t", classes=tuple(LabelClass(name=f"class_{index:03d}") for index in range(120)))
    images = make_images("sure.png", "unsure.png")
    survey = tmp_path / "survey"
    opened = Survey.open_for_writing(survey, model_sha256="ab" * 32, classes=taxonomy.names, settings={}, decides=True)
    with opened as rows:
        guess = np.full(120, 0.1 / 119, np.float32)
        guess[100] = 0.9
        rows.add(
            Prediction(
                image.path,
                str(image.file),
                sha256_of(image.read()),
                probabilities=guess,
                verdict=Verdict("accepted", "class_100") if image.path == "sure.png" else Verdict("abstained"),
            )
            for image in list_images([images])
        )
    report = push(connection, images, project, taxonomy, predictions=survey)
    page.goto(report.url)
    page.get_by_role("button", name="Label All Tasks").click()

    await_choice(page, "class_100")
    box = page.locator("label", has_text="class_100").bounding_box()
    assert box is not None
    assert box["y"] < 400
    assert page.locator("label", has_text="Unsure").is_visible()
    page.keyboard.type("1q")  # keys that Label Studio gives to classes without one
    assert chosen(page) == ["class_100"]
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.placeholder")
    page.keyboard.type("ss_07")
    page.wait_for_function(
        "document.querySelectorAll('.pelagia-classes label').length - "
        "document.querySelectorAll('.lsf-choice_hidden label').length === 10"
    )
    page.keyboard.press("Enter")
    await_choice(page, "class_070")
    assert chosen(page) == ["class_070"]
    if shot := os.environ.get("PELAGIA_SCREENSHOT"):
        page.screenshot(path=f"{shot}.many.png")
    submit_and_await_the_next(page, lambda: page.click("button[name=submit]"))

    page.get_by_text("model: not sure (class_100 0.90)").wait_for()
    assert chosen(page) == []
    assert pull(connection, project, tmp_path / "dataset").dataset.records[0].class_name == "class_070"
    tasks = list_tasks(connection, require_project(connection, project), whole=True)
    assert {task.data["path"]: [entry["score"] for entry in task.predictions] for task in tasks} == {
        "sure.png": [0.9],
        "unsure.png": [0.9],
    }
