"""What a person does with sheets and with the tabs of predicted classes, in a real browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pelagia.synthetic.survey import simulate_survey
from pelagia.taxonomy import Taxonomy, load_taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.sheets.cohorts import update_tabs
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import list_tasks, require_project
from pelagia_labeling.tasks.push import push

pytestmark = [pytest.mark.studio, pytest.mark.browser]


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    """The classes of the synthetic organisms."""
    simulate_survey(tmp_path / "drawn", images=36)
    return load_taxonomy(tmp_path / "drawn" / "taxonomy.yaml")


def chosen(page: Page) -> list[str]:
    """The class that each crop of the sheet shows."""
    return [text.strip() for text in page.locator(".pelagia-crop button").all_inner_texts()]


def choose(page: Page, crop: int, title: str) -> None:
    page.locator(".pelagia-crop button").nth(crop).click()
    page.get_by_role("option", name=title, exact=True).click()
    expect(page.get_by_role("option")).to_have_count(0)  # the list has closed


def sees(page: Page, name: str) -> None:
    if folder := os.environ.get("PELAGIA_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{name}.png"))


def test_three_odd_crops_of_a_sheet_are_changed_by_clicks_and_exactly_these_labels_arrive(
    page: Page,
    connection: Connection,
    survey_of: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
) -> None:
    images = tmp_path / "drawn" / "manifest.csv"
    report = push_sheets(connection, images, project, taxonomy, SheetOptions(36), predictions=survey_of(images))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(report.url)
    page.get_by_role("button", name="Label All Tasks").click()
    expect(page.locator(".pelagia-crop")).to_have_count(36)
    page.wait_for_function(
        "[...document.images].filter(one => one.src.includes('local-files') && one.naturalWidth).length === 36"
    )
    before = chosen(page)
    assert len(set(before)) == 1
    assert page.locator(".pelagia-crop").last.bounding_box()["y"] < 700  # all 36 are seen without scrolling

    page.get_by_text("Change the crops").click()
    page.keyboard.type("copepod1234567890qwertzx")
    assert chosen(page) == before

    titles = {entry.name: entry.title or entry.name for entry in taxonomy.classes}
    odd = {4: "medusa", 17: "detritus", 35: "bubble"}
    for crop, name in odd.items():
        choose(page, crop, titles[name])
    choose(page, 20, before[20])  # a second choice of the same class empties the crop
    assert chosen(page)[20] == ""
    page.click("button[name=submit]")
    expect(page.get_by_text("A crop has no class")).to_be_visible()
    sees(page, "sheet-with-an-empty-crop")
    page.locator("button", has_text="OK").last.click()
    choose(page, 20, before[20])
    sees(page, "sheet")
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        page.click("button[name=submit]")

    shown = [str(task.data["path"]) for task in list_tasks(connection, require_project(connection, project))]
    pulled = pull(connection, project, tmp_path / "dataset")
    assert (pulled.refused, pulled.left_out) == ((), {})
    labels = {record.source: (record.class_name, record.annotators) for record in pulled.dataset.records}
    assert labels == {path: (odd.get(place, "copepod"), connection.user) for place, path in enumerate(shown)}


def test_the_crops_of_a_tab_are_accepted_but_for_the_odd_ones_and_arrive_with_the_person(
    page: Page,
    connection: Connection,
    survey_of: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
) -> None:
    images = tmp_path / "drawn" / "manifest.csv"
    survey = survey_of(images)
    report = push(connection, images, project, taxonomy, predictions=survey)
    assert update_tabs(connection, report.project_id, taxonomy) == {"copepod": 36}
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(report.url)
    page.get_by_text("copepod? 36").first.click()
    cells = page.locator(".lsf-grid-view__cell-header")
    expect(cells.first).to_be_visible()
    numbers = [int(text) for text in cells.all_inner_texts()[:10]]
    by_score = sorted(
        list_tasks(connection, require_project(connection, project), whole=True),
        key=lambda task: task.predictions[0]["score"],
    )
    assert numbers == [task.id for task in by_score[:10]]  # the least sure are first

    page.locator(".lsf-radio-group-dm__button").first.click()  # the list, where one box selects all
    expect(cells).to_have_count(0)
    page.locator("input[type=checkbox]").first.click(force=True)
    page.get_by_text("36 Tasks", exact=True).first.wait_for()
    page.locator(".lsf-radio-group-dm__button").last.click()  # the grid
    expect(cells.first).to_be_visible()
    for crop in (0, 3):
        page.locator("input[type=checkbox]").nth(crop).click(force=True)
    sees(page, "tab")
    page.get_by_text("34 Tasks", exact=True).first.click()
    page.get_by_text("Create Annotations From Predictions").click()
    with page.expect_response(
        lambda answer: "predictions_to_annotations" in answer.url and answer.request.method == "POST"
    ):
        page.locator("button", has_text="OK").last.click()

    assert update_tabs(connection, report.project_id, taxonomy) == {"copepod": 2}
    titles = [str(view.data["title"]) for view in connection.client.views.list(project=report.project_id)]
    assert "copepod? 2" in titles
    assert "copepod? 36" not in titles
    pulled = pull(connection, project, tmp_path / "dataset")
    odd = {by_score[0].data["path"], by_score[3].data["path"]}
    assert {record.source for record in pulled.dataset.records} == {task.data["path"] for task in by_score} - odd
    assert {record.annotators for record in pulled.dataset.records} == {connection.user}
    assert pulled.left_out == {"unlabelled": 2}
