"""The figures of agreement as a page and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from browser_fixtures import SCHEMES, Scheme, faults_of
from pelagia_labeling.agreement.measure import Agreement, measure
from pelagia_labeling.agreement.report import as_json, html
from pelagia_labeling.agreement.table import Rating, tabulate

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def agreement() -> Agreement:
    """Two people who agree, disagree, and look twice at an image; names and a class are hostile."""
    said = {"a": ("medusa", EVIL), "b": ("medusa", "medusa"), "c": ("copepod", "medusa"), "d": ("copepod", "copepod")}
    people = (EVIL, "ben")
    ratings = [Rating(item, who, name) for item, names in said.items() for who, name in zip(people, names, strict=True)]
    return measure(tabulate([*ratings, Rating("a", "ben", "medusa", made_at="2024-05-08T10:00:00Z")]))


def test_the_page_escapes_names_and_loads_nothing(agreement: Agreement) -> None:
    page = html(agreement, EVIL)
    assert page.count("<script") == 1  # that of all pages
    assert page.count("&lt;script&gt;") > 5
    assert "http" not in page.replace("http-equiv", "")
    assert "\u202e" not in html(agreement, "\u202egro.sraey")


def test_the_figures_are_json(agreement: Agreement) -> None:
    found = json.loads(json.dumps(as_json(agreement), allow_nan=False))
    assert (found["images"], found["shared"], found["repeats"][0]["repeats"]) == (4, 4, 1)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_no_fault_on_the_page(
    chromium: Browser, agreement: Agreement, tmp_path: Path, scheme: Scheme
) -> None:
    (tmp_path / "page.html").write_text(html(agreement, "Agreement"), encoding="utf-8")
    assert faults_of(chromium, tmp_path / "page.html", scheme) == []
