"""A real Chromium, one for the whole session; without one the tests that need it say so and are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The machine's own, the one that PELAGIA_CHROMIUM names, or Playwright's. Where CI is set, it must be there."""
    installed = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    executable = os.environ.get("PELAGIA_CHROMIUM") or next(installed, None)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as driver:
        if executable is None and not Path(driver.chromium.executable_path).exists() and not os.environ.get("CI"):
            pytest.skip("no Chromium: install one, or name it in PELAGIA_CHROMIUM")
        browser = driver.chromium.launch(executable_path=executable, args=arguments)
        yield browser
        browser.close()
