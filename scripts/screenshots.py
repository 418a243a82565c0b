"""Takes the screenshots of the documentation, with a real Label Studio, a real model and a real Chromium.

.venv/bin/python scripts/screenshots.py [--out docs/images] [--work FOLDER]

Run it when the pages that it shows have changed, look at each PNG, and commit them. It needs Chromium on the machine
(or its path in PELAGIA_CHROMIUM) and takes about three minutes.
"""

from __future__ import annotations

import argparse
import csv
import html
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of_file
from pelagia.taxonomy import load_taxonomy
from pelagia_labeling.studio.connection import connect
from pelagia_labeling.studio.server import Studio, start_studio, stop_studio
from pelagia_labeling.tasks.project import list_tasks, require_project

REPOSITORY = Path(__file__).resolve().parents[1]
MOST_BYTES = 200_000
PROJECT = "First look"
PATIENCE = 60_000
CELLS = 8  # of the chain that is shown
SHOWN_IMAGE = "[...document.images].some(image => image.complete && image.naturalWidth > 30)"
SHOWN_CROPS = """least => [...document.images]
.filter(one => one.src.includes('local-files') && one.complete && one.naturalWidth).length >= least"""
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1e2430; }}
pre {{ margin: 0; padding: 24px 28px; color: #e6e6e6; font: 15px/1.5 "DejaVu Sans Mono", monospace; }}
b {{ color: #8fd3a8; font-weight: normal; }}
</style><pre>{text}</pre>"""


def main() -> None:
    """Makes everything that the screenshots show, and takes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images", help="folder of the PNG files")
    parser.add_argument("--work", type=Path, default=None, help="folder to work in; a temporary one by default")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="pelagia-screenshots-"))
    work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"):
        os.environ.pop(name, None)  # never a server of an institute
    os.environ["PELAGIA_STUDIO_HOME"] = str(work / "studio")
    pelagia(work, "simulate", "survey", "--images", "600")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS)
        label_studio(browser, work, options.out)
        report_and_terminal(browser, work, options.out)
        browser.close()


CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def chromium() -> str | None:
    """The Chromium of the machine, or None for the one that Playwright downloaded."""
    named = os.environ.get("PELAGIA_CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pelagia(work: Path, *words: str) -> str:
    """Runs a `pelagia` command in the work folder and returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pelagia.cli", *words]
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pelagia {' '.join(words)}: {done.stderr}")
    return done.stdout + done.stderr


def label_studio(browser: Browser, work: Path, out: Path) -> None:
    """Takes the list of projects, the labelling page of one crop, a sheet and a tab."""
    home = work / "studio"
    studio = start_studio(home)
    try:
        pushed = pelagia(
            work, "label", "push", "survey/manifest.csv", "--project", PROJECT, "--taxonomy", "survey/taxonomy.yaml"
        )
        address = address_in(pushed)
        page = browser.new_page(viewport={"width": 1280, "height": 320})
        page.set_default_timeout(PATIENCE)
        log_in(page, studio)
        page.goto(f"{studio.url}/projects")
        page.get_by_text(PROJECT).first.wait_for()
        page.wait_for_timeout(1500)
        save(page, out / "project-list.png")
        page.set_viewport_size({"width": 1280, "height": 700})
        page.goto(address)
        page.get_by_role("button", name="Label All Tasks").click()
        page.wait_for_function(SHOWN_IMAGE)
        page.keyboard.press(hotkey_of_first_image(work / "survey"))
        page.wait_for_timeout(1500)
        save(page, out / "labelling.png")
        cells(page, work, out)
        sheets_and_tabs(page, work, out)
        page.close()
    finally:
        stop_studio(home)


def cells(page: Page, work: Path, out: Path) -> None:
    """Takes the labelling page of a chain whose cells are counted."""
    chains = [path for path, name in true_classes(work / "survey").items() if name == "chain_diatom"]
    table = work / "survey" / "chains.csv"
    table.write_text("\n".join(["path", *chains[:5]]) + "\n", encoding="utf-8")
    words = ("label", "push", "survey/chains.csv", "--project", "Chains", "--taxonomy", "survey/taxonomy.yaml")
    page.goto(address_in(pelagia(work, *words, "--count-cells")))
    page.get_by_role("button", name="Label All Tasks").click()
    page.wait_for_function(SHOWN_IMAGE)
    classes = load_taxonomy(work / "survey" / "taxonomy.yaml").classes
    page.keyboard.press(next(one.hotkey or "" for one in classes if one.name == "chain_diatom"))
    for _ in range(CELLS):
        page.keyboard.press(".")
    page.wait_for_timeout(1500)
    save(page, out / "labelling-cells.png")


def sheets_and_tabs(page: Page, work: Path, out: Path) -> None:
    """Takes a sheet of crops with three odd ones, and the tab of a predicted class with two odd ones."""
    predict(work / "survey", work / "predicted")
    push = ("label", "push", "survey/manifest.csv", "--taxonomy", "survey/taxonomy.yaml", "--predictions", "predicted")
    page.set_viewport_size({"width": 1280, "height": 620})  # three of the four rows: the file must not be too large
    page.goto(address_in(pelagia(work, *push, "--project", "Sheets", "--sheets", "36")))
    page.get_by_role("button", name="Label All Tasks").click()
    page.wait_for_function(SHOWN_CROPS, arg=36)
    truth = true_classes(work / "survey")
    titles = {
        entry.name: entry.title or entry.name for entry in load_taxonomy(work / "survey" / "taxonomy.yaml").classes
    }
    for place, shown in enumerate(page.locator(".pelagia-crop div[title]").all()):
        name = truth[str(shown.get_attribute("title")).partition(": ")[0]]
        if name != "copepod":
            page.locator(".pelagia-crop button").nth(place).click()
            page.get_by_role("option", name=titles[name], exact=True).click()
            page.wait_for_function("!document.querySelector('[role=option]')")
    page.mouse.move(640, 60)
    page.wait_for_timeout(500)
    save(page, out / "sheet.png")
    page.goto(address_in(pelagia(work, *push, "--project", "Grid")))
    page.get_by_text("copepod? ").first.click()
    page.wait_for_function(SHOWN_CROPS, arg=20)
    page.locator(".lsf-radio-group-dm__button").first.click()
    page.locator(".lsf-grid-view__cell-header").first.wait_for(state="detached")
    page.locator("input[type=checkbox]").first.click(force=True)
    page.wait_for_timeout(1500)
    page.locator(".lsf-radio-group-dm__button").last.click()
    page.wait_for_function(SHOWN_CROPS, arg=30)
    connection = connect(home=work / "studio")
    paths = {task.id: str(task.data["path"]) for task in list_tasks(connection, require_project(connection, "Grid"))}
    for place, number in enumerate(page.locator(".lsf-grid-view__cell-header").all_inner_texts()[:30]):
        if truth[paths[int(number)]] != "copepod":
            page.locator("input[type=checkbox]").nth(place).click(force=True)
    page.mouse.move(640, 100)
    page.wait_for_timeout(1500)
    save(page, out / "cohort.png")


def predict(drawn: Path, survey: Path) -> None:
    """Makes a survey of a model that is right, but calls every fortieth crop a copepod."""
    classes = load_taxonomy(drawn / "taxonomy.yaml").names
    with Survey.open_for_writing(survey, model_sha256="ab" * 32, classes=classes, settings={}) as rows:
        for place, (path, name) in enumerate(true_classes(drawn).items()):
            seen = "copepod" if place % 40 == 0 else name
            sure = 0.6 + 0.3 * (place % 7) / 7
            shares = [sure if one == seen else (1 - sure) / (len(classes) - 1) for one in classes]
            sha256 = sha256_of_file(drawn / path)
            rows.add([Prediction(path, path, sha256, probabilities=np.array(shares, np.float32))])


def true_classes(drawn: Path) -> dict[str, str]:
    """Path -> class of the simulated images."""
    with (drawn / "truth.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["class"] for row in csv.DictReader(file)}


def address_in(pushed: str) -> str:
    """The address of the project in the output of `label push`."""
    return next(line.split(" at ")[1] for line in pushed.splitlines() if line.startswith("label them at "))


def log_in(page: Page, studio: Studio) -> None:
    """Logs in through the login page."""
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", studio.user)
    page.fill("input[name=password]", studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


def hotkey_of_first_image(survey: Path) -> str:
    """The key of the class that the first image of the survey shows."""
    name = next(iter(true_classes(survey).values()))
    return next(one.hotkey or "" for one in load_taxonomy(survey / "taxonomy.yaml").classes if one.name == name)


def report_and_terminal(browser: Browser, work: Path, out: Path) -> None:
    """Takes the evaluation report of a model, and the terminal in which that model classified a survey."""
    manifest = ("--manifest", "survey/truth.csv", "--group-column", "station", "--taxonomy", "survey/taxonomy.yaml")
    pelagia(work, "dataset", "import", "survey", *manifest, "--out", "datasets/drawn")
    config = str(REPOSITORY / "configs" / "training" / "tiny_cpu.yaml")
    pelagia(work, "train", config, "--set", "dataset=datasets/drawn", "--no-export", "--out", "runs/first")
    pelagia(work, "export", "runs/first", "--out", "model.onnx")
    evaluation = ("--split", "test", "--run", "runs/first", "--out", "runs/first-test")
    pelagia(work, "evaluate", "model.onnx", "datasets/drawn", *evaluation)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((work / "runs" / "first-test" / "report.html").as_uri())
    save(page, out / "report.png")
    pelagia(work, "simulate", "cruise", "--images", "600", "--seed", "7")
    classify = ("classify", "model.onnx", "cruise/manifest.csv", "--out", "results")
    terminal(page, classify, pelagia(work, *classify))
    save(page, out / "classify.png", whole=True)
    survey_report(page, work, out)
    page.close()


def survey_report(page: Page, work: Path, out: Path) -> None:
    """Takes the report of the survey ``results``."""
    pelagia(work, "report", "results")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.goto((work / "results" / "report.html").as_uri() + "#transect")
    save(page, out / "survey-report.png")


def terminal(page: Page, command: Sequence[str], printed: str) -> None:
    """Shows a command and its output as a terminal does."""
    shown = f"<b>$ pelagia {html.escape(' '.join(command))}</b>\n{html.escape(printed.rstrip())}"
    page.set_viewport_size({"width": 1060, "height": 200})
    page.set_content(TERMINAL.format(text=shown))


def save(page: Page, path: Path, *, whole: bool = False) -> None:
    """Writes what the window shows, or the whole page with ``whole``, as a PNG; with 256 colors if it is too large."""
    page.screenshot(path=path, full_page=whole, animations="disabled")
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        sys.exit(f"{path} is {size} bytes, more than {MOST_BYTES}: make the window smaller")


if __name__ == "__main__":
    main()
