"""Actions and seconds a crop: one crop a page, sheets in Label Studio, and the grid of the tab of a predicted class.

.venv/bin/python -m benchmarks.labeling.actions [--crops 360] [--single 60] [--only sheet]

A script does in Chromium what a person would do, on real FlowCam crops, with the predictions of a simulated model that
is right in 90%, and as a person who errs (`benchmarks.labeling.keystrokes`). The seconds are those of the
keystroke-level model and the waits that were measured. The labels are pulled at the end: the precision is that of the
dataset, and the script fails if a label arrives that the person did not give. Other work on the machine makes the waits
longer.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.harness import DATA
from benchmarks.labeling.keystrokes import Guess, Person, Tally, simulated_model, table
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.sheets.cohorts import update_tabs
from pelagia_labeling.sheets.push import SheetOptions, push_sheets
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import HOME_VARIABLE, Studio, start_studio, stop_studio
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.push import push

KEYS = "1234567890abcdefghijklmnopqrst"
SHEET = 36
SCREEN = 40
"""Crops of a grid that are on the screen at once."""

NUMBER = "parseInt(document.querySelector('.lsf-current-task__task-id')?.innerText).toString().replace('NaN', '')"
LOADED = (
    "[...document.images].filter(one => /local-files|blob:/.test(one.src) && one.complete && one.naturalWidth"
    " && one.getBoundingClientRect().height > 1)"
)


@dataclass(frozen=True)
class Work:
    """What every way of labeling gets: crops in a folder, the model's guesses, a person, the server and a page."""

    folder: Path
    truth: Mapping[str, str]
    guesses: Mapping[str, Guess]
    person: Person
    taxonomy: Taxonomy
    connection: Connection
    page: Page


def main() -> None:
    """Runs the ways of labeling and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=360, help="number of crops for sheets and for the grid")
    parser.add_argument("--single", type=int, default=60, help="number of crops that are labeled one by one")
    parser.add_argument("--only", choices=WAYS, help="one way of labeling only")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pelagia-actions-"))
    tallies = []
    with opened(folder) as (connection, page):
        for way, label in WAYS.items():
            if options.only in (None, way):
                crops = options.single if way == "single" else options.crops
                tallies.append(label(work_of(folder / way, crops, connection, page)))
                print(table(tallies), flush=True)
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    shutil.rmtree(folder)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Connection, Page]]:
    """Starts a Label Studio of its own, and opens a browser that is logged in."""
    os.environ[HOME_VARIABLE] = str(folder / "studio")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    studio = start_studio(folder / "studio", port=port)
    try:
        with sync_playwright() as driver:
            program = os.environ.get("PELAGIA_CHROMIUM") or shutil.which("chromium")
            browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(60_000)
            log_in(page, studio)
            yield connect(home=folder / "studio"), page
            browser.close()
    finally:
        stop_studio(folder / "studio")


def work_of(folder: Path, crops: int, connection: Connection, page: Page) -> Work:
    """Chooses crops, and makes the guesses of the model and the person."""
    truth = choose_crops(folder / "crops", crops)
    names = sorted(set(truth.values()))
    classes = tuple(LabelClass(name=name, hotkey=key) for name, key in zip(names, KEYS, strict=False))
    taxonomy = Taxonomy(name="flowcam", classes=classes)
    return Work(folder, truth, simulated_model(truth), Person(truth), taxonomy, connection, page)


def choose_crops(folder: Path, count: int) -> dict[str, str]:
    """Copies crops into a folder: file name -> class."""
    root = DATA / "flowcam_northsea"
    if not root.is_dir():
        sys.exit(f"{root} does not exist: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    with (root / "manifest.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    folder.mkdir(parents=True)
    chosen = random.Random(0).sample(rows, count)
    for row in chosen:
        shutil.copyfile(root / row["path"], folder / Path(row["path"]).name)
    return {Path(row["path"]).name: row["label"] for row in chosen}


def log_in(page: Page, studio: Studio) -> None:
    """Logs in through the login page."""
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", studio.user)
    page.fill("input[name=password]", studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)


def survey_of(work: Work) -> Path:
    """A survey folder with the model's guesses."""
    names = work.taxonomy.names
    with Survey.open_for_writing(work.folder / "survey", model_sha256="ab" * 32, classes=names, settings={}) as survey:
        for image in list_images([work.folder / "crops"]):
            guess = work.guesses[image.path]
            rest = min((1 - guess.probability) / (len(names) - 1), guess.probability / 2)
            shares = [guess.probability if name == guess.class_name else rest for name in names]
            row = Prediction(
                image.path, str(image.file), sha256_of(image.read()), probabilities=np.array(shares, np.float32)
            )
            survey.add([row])
    return work.folder / "survey"


def finish(work: Work, tally: Tally, given: Mapping[str, str]) -> Tally:
    """Pulls the labels, and compares them with those that the person gave."""
    report = pull(work.connection, tally.way, work.folder / "dataset", join_near_duplicates=False)
    arrived = {record.source: record.class_name for record in report.dataset.records}
    wrong = {path: (name, given.get(path)) for path, name in arrived.items() if given.get(path) != name}
    if wrong:
        sys.exit(f"{tally.way}: {len(wrong)} labels arrived that the person did not give: {list(wrong.items())[:3]}")
    left = {key: count for key, count in report.left_out.items() if count}
    print(f"{tally.way}: {len(arrived)} of {len(given)} labels arrived; left out: {left}", flush=True)
    tally.labeled(arrived, work.truth)
    return tally


def submitted(page: Page, act: Callable[[], object]) -> None:
    """Submits, and waits for the server's answer."""
    with page.expect_response(lambda answer: "/annotations" in answer.url and answer.request.method == "POST"):
        act()


def label_one_by_one(work: Work, tally: Tally, tasks: Mapping[str, str], count: int) -> dict[str, str]:
    """Labels the crops of the open labeling stream with keys, and returns path -> class.

    Args:
        work: the crops and the page.
        tally: counts what is done.
        tasks: number of a task -> path of its crop.
        count: number of crops of the stream.
    """
    page, given = work.page, {}
    number = ""
    for _ in range(count):
        with tally.waited():
            number = next_crop(page, number)
        path = tasks[number]
        tally.looked(1, alone=True)
        page.wait_for_timeout(500)  # a person looks: a label that is submitted at once is left out
        suggested = work.guesses[path].class_name
        given[path] = work.person.labels(path, suggested)
        tally.decide()
        if given[path] != suggested:
            key = next(entry.hotkey for entry in work.taxonomy.classes if entry.name == given[path])
            page.keyboard.press(str(key))
            tally.key(decide=True)
        tally.key(2)
        with tally.waited():
            submitted(page, lambda: page.keyboard.press("Control+Enter"))
    return given


def next_crop(page: Page, before: str) -> str:
    """Waits until another crop than ``before`` is shown with its pre-label; returns the number of its task."""
    number = next_task(page, before)
    page.wait_for_function(f"document.querySelector('input:checked') && {LOADED}.length")
    return number


def next_task(page: Page, before: str) -> str:
    """Waits until another task than ``before`` is open, and returns its number."""
    page.wait_for_function(f"before => {NUMBER} && {NUMBER} !== before", arg=before)
    return str(page.evaluate(NUMBER))


def single(work: Work) -> Tally:
    """One crop a page, pre-labels shown, keys."""
    tally = Tally("one by one")
    report = push(work.connection, work.folder / "crops", tally.way, work.taxonomy, predictions=survey_of(work))
    tasks = {str(task.id): str(task.data["path"]) for task in tasks_of(work, tally.way)}
    work.page.goto(report.url)
    work.page.get_by_role("button", name="Label All Tasks").click()
    tally.click()
    return finish(work, tally, label_one_by_one(work, tally, tasks, len(tasks)))


def sheet(work: Work) -> Tally:
    """Sheets of 36 crops in Label Studio: two clicks for each odd crop, one to submit."""
    page, tally = work.page, Tally(f"sheets of {SHEET} in Label Studio")
    report = push_sheets(
        work.connection,
        work.folder / "crops",
        tally.way,
        work.taxonomy,
        SheetOptions(SHEET),
        predictions=survey_of(work),
    )
    sheets: dict[str, list[str]] = {}
    for task in tasks_of(work, tally.way):
        sheets.setdefault(str(task.id), []).append(str(task.data["path"]))
    page.goto(report.url)
    page.get_by_role("button", name="Label All Tasks").click()
    tally.click()
    given: dict[str, str] = {}
    number = ""
    for _ in sheets:
        with tally.waited():
            number = next_task(page, number)
            page.wait_for_function(f"count => {LOADED}.length === count", arg=len(sheets[number]))
        given |= look_at_sheet(work, tally, sheets[number])
        tally.click(decide=True)
        with tally.waited():
            submitted(page, lambda: page.click("button[name=submit]"))
    return finish(work, tally, given)


def look_at_sheet(work: Work, tally: Tally, paths: list[str]) -> dict[str, str]:
    """Changes the odd crops of the open sheet; returns path -> class."""
    page, given = work.page, {}
    tally.looked(len(paths))
    page.wait_for_timeout(max(0.0, 100.0 * len(paths)))  # a person looks: a sheet that is submitted at once is refused
    for place, path in enumerate(paths):
        suggested = work.guesses[path].class_name
        given[path] = work.person.labels(path, suggested)
        if given[path] == suggested:
            continue
        page.locator(".pelagia-crop button").nth(place).click()
        page.get_by_role("option", name=given[path], exact=True).click()
        page.wait_for_function("!document.querySelector('[role=option]')")
        tally.click(decide=True)
        tally.click()
    return given


def grid(work: Work) -> Tally:
    """The tab of each predicted class: all are ticked, the odd ones unticked, the rest accepted, the odd ones named."""
    page, tally = work.page, Tally("grid of a predicted class")
    report = push(work.connection, work.folder / "crops", tally.way, work.taxonomy, predictions=survey_of(work))
    tabs = update_tabs(work.connection, report.project_id, work.taxonomy)
    tasks = {str(task.id): str(task.data["path"]) for task in tasks_of(work, tally.way)}
    given: dict[str, str] = {}
    page.goto(report.url)
    for name, count in tabs.items():
        inside = {number: path for number, path in tasks.items() if work.guesses[path].class_name == name}
        odd = {number: path for number, path in inside.items() if work.person.finds_odd(path, name)}
        given |= dict.fromkeys(inside.values(), name)
        accept_tab(work, tally, f"{name}? {count}", count, odd)
        if odd:
            with tally.waited():
                page.reload()
                choice = page.get_by_role("button", name="Label All Tasks").locator("xpath=following-sibling::button")
                choice.first.click()
                page.get_by_text("Label Tasks As Displayed").click()  # "Label All Tasks" ignores the tab
            tally.click(2)
            given |= label_one_by_one(work, tally, tasks, len(odd))
            with tally.waited():
                page.goto(report.url)
    return finish(work, tally, given)


def accept_tab(work: Work, tally: Tally, title: str, count: int, odd: Mapping[str, str]) -> None:
    """Accepts the crops of a tab but for those of ``odd`` (number of a task -> path)."""
    page = work.page
    header = page.locator(".lsf-grid-view__cell-header")
    with tally.waited():
        page.get_by_text(title, exact=True).first.click()
        filtered = page.get_by_title("Filtered tasks").filter(has_text=str(count))
        filtered.wait_for()  # until then the crops of the tab before are shown
        header.first.wait_for()
    page.locator(".lsf-radio-group-dm__button").first.click()
    header.first.wait_for(state="detached")
    page.locator(".lsf-table__row-wrapper").first.wait_for()
    page.locator("input[type=checkbox]").first.click(force=True)
    text = "1 Task" if count == 1 else f"{count} Tasks"
    with tally.waited():
        page.get_by_text(text, exact=True).first.wait_for()
        page.locator(".lsf-radio-group-dm__button").last.click()
        header.first.wait_for()
    tally.click(4)
    tally.looked(count)
    tally.key((count - 1) // SCREEN)  # one key for each further screen
    left = set(odd)
    page.mouse.move(640, 500)
    while left:
        for number in [one for one in left if header.get_by_text(one, exact=True).count()]:
            header.filter(has_text=number).locator("input[type=checkbox]").first.click(force=True)
            tally.click(decide=True)
            left.discard(number)
        page.mouse.wheel(0, 350)
        page.wait_for_timeout(150)
    if len(odd) == count:
        return
    kept = count - len(odd)
    page.get_by_text("1 Task" if kept == 1 else f"{kept} Tasks", exact=True).first.click()
    page.get_by_text("Create Annotations From Predictions").click()
    tally.click(3, decide=False)
    tally.decide()
    with (
        tally.waited(),
        page.expect_response(lambda one: "predictions_to_annotations" in one.url and one.request.method == "POST"),
    ):
        page.locator("button", has_text="OK").last.click()


def tasks_of(work: Work, title: str) -> list[Task]:
    """The crops of a project, in the order of their tasks."""
    return list(list_tasks(work.connection, require_project(work.connection, title)))


WAYS: dict[str, Callable[[Work], Tally]] = {"single": single, "sheet": sheet, "grid": grid}

if __name__ == "__main__":
    main()
