"""A real Chromium, started once for all tests; where none is installed, the tests that need it are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The program that PELAGIA_CHROMIUM names, the installed one, or Playwright's. Fails without one if CI is set."""
    installed = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    executable = os.environ.get("PELAGIA_CHROMIUM") or next(installed, None)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        if executable is None and not Path(driver.chromium.executable_path).exists() and not os.environ.get("CI"):
            pytest.skip("Chromium is not installed: install it, or name its program in PELAGIA_CHROMIUM")
        browser = driver.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()


def faults_of(chromium: Browser, page: Path, scheme: Scheme, style: str = "") -> list[tuple[str, str]]:
    """What axe-core finds wrong with a page for people with a screen reader: the rule, and the first element.

    Args:
        style: CSS to add, so that axe sees what a browser shows only when it is scrolled to.
    """
    context = chromium.new_context(bypass_csp=True, color_scheme=scheme)  # axe is a script that the page would refuse
    opened = context.new_page()
    opened.goto(page.as_uri())
    if style:
        opened.add_style_tag(content=style)
    found = Axe().run(opened).response["violations"]
    context.close()
    return [(fault["id"], fault["nodes"][0]["html"]) for fault in found]
