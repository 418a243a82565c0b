"""Names of hundreds of characters on the page of a survey."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from counting import LITER, images, write_survey
from pelagia.survey.additions import Confirmed, add_confirmed
from pelagia.survey.journal import Survey
from pelagia_inference.report.report import write_report


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_long_name_of_a_class_or_sample_leaves_the_numbers_in_view(
    chromium: Browser, tmp_path: Path, width: int
) -> None:
    rows = images("a", {"calanus": 2}, {**LITER, "sample": "y" * 300})
    rows += images("b", {"calanus": 2}, {**LITER, "sample": "B"})
    with Survey.open(write_survey(tmp_path / "s", rows), to_add=True) as survey:
        add_confirmed(survey, [Confirmed("a_calanus_0.png", "x" * 300)])
        write_report(survey, tmp_path / "page.html")
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for label in ("Counts by class", "Counts by sample"):
        table = page.locator(f"[aria-label^='{label}']").first
        box, cell = table.bounding_box(), table.locator("tbody td").first.bounding_box()
        assert box, label
        assert cell, label
        assert cell["x"] < box["x"] + box["width"] / 2, label
    page.close()
