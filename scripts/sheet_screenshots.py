"""Takes the screenshots of the sheet page, with a real Label Studio and a real Chromium.

.venv/bin/python scripts/sheet_screenshots.py [--out docs/images] [--size 1280x800]

Run it when the page has changed, look at each PNG, and commit them. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import load_taxonomy

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = "First look"


def main() -> None:
    """Makes a project with pre-labels of which some are wrong, and takes the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images", help="folder of the PNG files")
    parser.add_argument("--size", default="1280x800", help="size of the window")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="pelagia-screenshots-") as scratch:
        work = Path(scratch)
        for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"):
            os.environ.pop(name, None)  # never a server of an institute
        for name in ("PELAGIA_STUDIO_HOME", "PELAGIA_DESK_HOME", "PELAGIA_CACHE_HOME"):
            os.environ[name] = str(work / name.lower())
        pelagia(work, "simulate", "survey", "--images", "900")
        predict(work / "survey", work / "predictions")
        pelagia(work, "studio", "start")
        try:
            pelagia(work, "label", "push", "survey/manifest.csv", "--project", PROJECT,
                    "--taxonomy", "survey/taxonomy.yaml", "--predictions", "predictions")  # fmt: skip
            desk(work, options.out, width, height)
        finally:
            pelagia(work, "studio", "stop")


def pelagia(work: Path, *arguments: str) -> None:
    """Runs one command in the folder ``work``."""
    subprocess.run([sys.executable, "-m", "pelagia.cli", *arguments], cwd=work, check=True)


def predict(survey: Path, out: Path) -> None:
    """Predictions that name another class for one image of twelve."""
    classes = load_taxonomy(survey / "taxonomy.yaml").names
    with (survey / "truth.csv").open(encoding="utf-8") as file:
        truth = {row["path"]: row["class"] for row in csv.DictReader(file)}
    rng = np.random.default_rng(1)
    with Survey.open_for_writing(out, model_sha256="ab" * 32, classes=classes, settings={}) as rows:
        found = []
        for image in list_images([survey / "manifest.csv"]):
            wrong = rng.random() < 1 / 12
            guess = int(rng.integers(len(classes))) if wrong else classes.index(truth[image.path])
            sure = rng.beta(5, 3) if wrong else rng.beta(9, 1.5)
            probabilities = np.full(len(classes), (1 - sure) / len(classes), np.float32)
            probabilities[guess] = sure
            found.append(Prediction(image.path, str(image.file), sha256_of(image.read()), probabilities=probabilities))
        rows.add(found)


def desk(work: Path, out: Path, width: int, height: int) -> None:
    """Opens the desk, and takes the screenshots."""
    command = [sys.executable, "-u", "-m", "pelagia.cli", "label", "sheets", "--project", PROJECT, "--no-browser"]
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True)
    try:
        printed = ""
        while (address := re.search(r"The page: (http://\S+)", printed)) is None:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                sys.exit("the desk did not start")
            printed += line
        with sync_playwright() as driver:
            program = os.environ.get("PELAGIA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(address[1])
            pictures(page, out)
            browser.close()
    finally:
        process.terminate()
        process.wait()


def shot(page: Page, out: Path, name: str) -> None:
    """Takes one screenshot, with few colors so that the file is small."""
    page.wait_for_timeout(700)
    file = out / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as image:
        few = image.convert("RGB").quantize(64, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)
    print(file, file.stat().st_size)


def pictures(page: Page, out: Path) -> None:
    """Goes through the page as a person does."""
    out.mkdir(parents=True, exist_ok=True)
    shot(page, out, "desk-groups")
    page.click("#all-groups")
    page.wait_for_function("() => document.body?.dataset.ready && grid.hiddenBelow === 0")
    for _ in range(3):  # to a sheet of several groups
        if page.locator(".heading").count() > 1:
            break
        before = page.evaluate("document.body.dataset.ready")
        page.wait_for_timeout(1000)
        page.keyboard.press("Enter")
        page.wait_for_function("before => document.body.dataset.ready !== before", arg=before)
        page.wait_for_function("() => grid.hiddenBelow === 0")
    page.wait_for_timeout(3500)
    for key in ("ArrowRight", "ArrowDown", "Space", "ArrowRight"):
        page.keyboard.press(key)
    shot(page, out, "desk-all-groups")
    page.goto(page.url.partition("/sheet")[0])
    page.click(".group a >> nth=0")
    page.wait_for_function("() => document.body?.dataset.ready && grid.hiddenBelow === 0")
    for key in ("ArrowRight", "ArrowRight", "Space", "ArrowDown", "Space", "ArrowRight", "Space", "ArrowRight"):
        page.keyboard.press(key)
    shot(page, out, "desk-sheet")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.body.dataset.ready.startsWith('odd')")
    page.wait_for_timeout(3500)
    page.keyboard.type("co")
    shot(page, out, "desk-odd")
    for key in ("Escape", "Escape"):
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    page.evaluate("localStorage.setItem('desk-grow-count', '10')")
    page.goto(page.url.partition("/sheet")[0])
    page.click(".group a >> nth=0")
    page.wait_for_function("() => document.body?.dataset.ready && grid.hiddenBelow === 0")
    page.keyboard.press("g")
    page.wait_for_function("() => document.body?.dataset.ready?.startsWith('search')")
    page.evaluate("document.getElementById('count').append(new Option('10', '10', true, true))")
    page.evaluate("doing(start)")
    for _ in range(30):
        page.wait_for_timeout(1500)
        if page.evaluate("document.body.dataset.ready") == "confirm":
            break
        page.keyboard.press("y")
    shot(page, out, "desk-grow")


if __name__ == "__main__":
    main()
