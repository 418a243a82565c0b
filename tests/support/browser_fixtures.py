"""A real Chromium, started once for all tests; where none is installed, the tests that need it are skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright


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
