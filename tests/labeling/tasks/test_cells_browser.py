"""A person counts cells on the labeling page of a real Label Studio."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.push import push

pytestmark = [pytest.mark.studio, pytest.mark.browser]

FIELD = "input[type=number]"


def submit(page: Page, *, by_key: bool = False) -> None:
    """Submits, and waits until the next image has an empty field."""
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        page.keyboard.press("Control+Enter") if by_key else page.click("button[name=submit]")
    page.wait_for_timeout(1500)


def test_a_key_counts_cell_by_cell_and_an_empty_field_is_no_count(
    page: Page,
    connection: Connection,
    make_images: Callable[..., Path],
    taxonomy: Taxonomy,
    project: str,
    tmp_path: Path,
) -> None:
    images = make_images("by_key.png", "empty.png", "removed.png", "typed.png")
    report = push(connection, images, project, taxonomy, count_cells=True)
    page.goto(report.url)
    page.get_by_role("button", name="Label All Tasks").click()
    page.wait_for_selector(FIELD)
    page.wait_for_timeout(500)
    page.keyboard.press("c")
    for _ in range(3):
        page.keyboard.press(".")
    assert page.input_value(FIELD) == "3"
    if shot := os.environ.get("PELAGIA_SCREENSHOT"):
        page.screenshot(path=shot)
    submit(page, by_key=True)

    page.keyboard.press("c")
    submit(page, by_key=True)

    page.keyboard.press("c")
    page.fill(FIELD, "8")
    page.fill(FIELD, "")
    submit(page)

    page.keyboard.press("c")
    page.fill(FIELD, "-3")
    page.click("button[name=submit]")
    page.get_by_text('Number "-3" is not valid').wait_for()
    page.get_by_role("button", name="OK").click()
    page.fill(FIELD, "17")
    submit(page)

    pulled = pull(connection, project, tmp_path / "dataset")
    cells = {record.source: record.extra.get("cells_counted", "") for record in pulled.dataset.records}
    assert cells == {"by_key.png": "3", "empty.png": "", "removed.png": "", "typed.png": "17"}
    assert (pulled.cells.labeled, pulled.cells.counted) == (4, 2)
    assert pulled.cells.refused == (("removed.png", connection.user, 0.0),)  # Label Studio stores 0
