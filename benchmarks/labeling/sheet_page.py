"""Crops an hour with the sheet page and with grow, by a script in Chromium over 2,000 real crops.

    .venv/bin/python -m benchmarks.labeling.sheet_page --embeddings crops.parquet

A simulated model is right in 90%, a simulated person errs (`benchmarks.labeling.keystrokes`). The script starts a Label
Studio of its own in a temporary folder, pushes the crops with the model's pre-labels, runs `pelagia label sheets`, and
does what the person would do: it opens the sheets of all groups, looks for odd crops, clicks them or drags over those
that lie side by side, and accepts the rest. The odd ones come back under their next class once; those that are odd
again are named one by one.

Rows: "sheet page, first pass" is until each crop was shown once (a part of the odd ones has no label then), "sheet
page, all" until every crop has a label. "grow" starts each class from one crop, accepts what the search found, and
leaves the rest. Labels are read from Label Studio at the end, so what is counted is what arrived. A second table adds
one decision for each click or drag.

The embeddings are those of the same files: `pelagia embed benchmark_crops --model embedder.onnx --out crops.parquet`
after `--crops benchmark_crops`, which only writes the files. Without them the order is that of gray values and sizes.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.harness import DATA
from benchmarks.labeling.keystrokes import Guess, Person, Tally, simulated_model, table
from pelagia.embeddings import read_embeddings
from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import taxonomy_of_names
from pelagia_desk.sheets.similar import normalized
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import HOME_VARIABLE, start_studio, stop_studio
from pelagia_labeling.tasks.interface import read_result
from pelagia_labeling.tasks.project import list_tasks, require_project
from pelagia_labeling.tasks.push import push

CROPS = 2000


def choose_crops(folder: Path) -> dict[str, str]:
    """Copies the crops into one folder, so that their paths do not tell their class: name -> class."""
    root = DATA / "flowcam_northsea"
    with (root / "manifest.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    chosen = random.Random(0).sample(rows, CROPS)
    folder.mkdir(parents=True, exist_ok=True)
    for row in chosen:
        shutil.copyfile(root / row["path"], folder / Path(row["path"]).name)
    return {Path(row["path"]).name: row["label"] for row in chosen}


def confused(guesses: dict[str, Guess], truth: dict[str, str], crops: Path, embeddings: Path) -> dict[str, Guess]:
    """The same guesses, but a wrong one is the class of a crop that looks similar, as those of real models are.

    The class is drawn from those of the 25 nearest crops of other classes.
    """
    given = read_embeddings(embeddings)
    rows, names = given.index(), sorted(truth)
    vectors = normalized(given.vectors[[rows[sha256_of((crops / name).read_bytes())] for name in names]])
    classes = np.array([truth[name] for name in names])
    rng = np.random.default_rng(1)
    found = dict(guesses)
    for row, name in enumerate(names):
        if guesses[name].class_name != truth[name]:
            others = np.flatnonzero(classes != truth[name])
            nearest = others[np.argsort(-(vectors[others] @ vectors[row]), kind="stable")[:25]]
            found[name] = Guess(str(classes[rng.choice(nearest)]), guesses[name].probability)
    return found


def push_project(connection: Connection, title: str, folder: Path, guesses: dict[str, Guess]) -> None:
    """Pushes the crops with the guesses as pre-labels."""
    classes = sorted({guess.class_name for guess in guesses.values()})
    survey = folder.parent / "survey"
    if not survey.exists():
        with Survey.open_for_writing(survey, model_sha256="ab" * 32, classes=tuple(classes), settings={}) as rows:
            found = []
            for image in list_images([folder]):
                guess = guesses[image.path]
                rest = (1 - guess.probability) / (len(classes) - 1)
                probabilities = np.full(len(classes), rest, np.float32)
                probabilities[classes.index(guess.class_name)] = max(guess.probability, rest + 1e-4)
                found.append(
                    Prediction(image.path, str(image.file), sha256_of(image.read()), probabilities=probabilities)
                )
            rows.add(found)
    push(connection, folder, title, taxonomy_of_names("flowcam", classes), predictions=survey)


@contextmanager
def desk(title: str, embeddings: Path | None) -> Iterator[str]:
    """Runs `pelagia label sheets` and yields the address of the page."""
    command = [sys.executable, "-u", "-m", "pelagia.cli", "label", "sheets", "--project", title, "--no-browser"]
    command += ["--embeddings", str(embeddings)] if embeddings else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        printed = ""
        while (found := re.search(r"The page: (http://\S+)", printed)) is None:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(printed)
            printed += line
        yield found[1]
    finally:
        process.terminate()
        process.wait()


class Clicker:
    """The person's hands: what they do on the page, counted."""

    def __init__(self, page: Page, address: str, person: Person, paths: dict[int, str], truth: dict[str, str]) -> None:
        self.page, self.person, self.paths, self.truth = page, person, paths, truth
        self.home = address.partition("/enter/")[0]
        page.goto(address)

    def displayed(self) -> None:
        """Waits until all crops of the page are displayed."""
        self.page.wait_for_function("() => document.body?.dataset.ready && grid.hiddenBelow === 0", timeout=60_000)

    def patience(self) -> None:
        """The person looks at least as long as the page demands; the model of seconds has longer decisions."""
        self.page.wait_for_function("() => grid.seconds > 0.75")

    def shown(self) -> list[int]:
        return [int(task) for task in self.page.evaluate("grid.crops.map((crop) => crop.id)")]

    def mark(self, odd: list[int], tally: Tally) -> None:
        """Clicks odd crops; two or more side by side are dragged over."""
        order = self.shown()
        columns = int(self.page.evaluate("grid.columns"))
        where = sorted(order.index(task) for task in odd)
        while where:
            run = [where.pop(0)]
            while where and where[0] == run[-1] + 1 and where[0] % columns:
                run.append(where.pop(0))
            boxes = [self.page.locator(f"[data-task='{order[index]}']").bounding_box() for index in (run[0], run[-1])]
            (x, y), (to_x, to_y) = [(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) for box in boxes if box]
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            self.page.mouse.move(to_x, to_y, steps=3 * len(run))
            self.page.mouse.up()
            if len(run) > 1:
                tally.drag()
            else:
                tally.click()

    def groups(self) -> list[str]:
        self.page.goto(self.home)
        links = self.page.locator(".group a").evaluate_all("links => links.map(link => link.href)")
        return [str(link) for link in links]

    def ready(self) -> str:
        return str(self.page.evaluate("document.body.dataset.ready"))

    def open_all_groups(self, tally: Tally) -> None:
        """Opens the sheets of all groups from the overview."""
        self.page.goto(self.home)
        tally.click(decide=True)
        with tally.waited():
            self.page.click("#all-groups")
            self.page.wait_for_function("() => document.body?.dataset.ready")
            self.displayed()

    def label_sheet(self, tally: Tally) -> None:
        """Marks the odd crops of a sheet, accepts the rest, and names those that were set aside twice."""
        before = self.ready()
        shown = {int(task): str(name) for task, name in self.page.evaluate("grid.crops.map((c) => [c.id, c.class])")}
        tally.looked(len(shown))
        self.mark([task for task, name in shown.items() if self.person.finds_odd(self.paths[task], name)], tally)
        self.patience()
        tally.key(decide=True)
        with tally.waited():
            self.page.keyboard.press("Enter")
            self.page.wait_for_function("before => document.body.dataset.ready !== before", arg=before)
            if not self.ready().startswith(("odd", "empty")):
                self.displayed()
        if self.ready().startswith("odd"):
            self.name_odd(tally)
            with tally.waited():
                if self.ready() != "empty":
                    self.displayed()

    def name_odd(self, tally: Tally) -> None:
        """Names the odd crops one by one, by number or by the first letters."""
        while self.ready().startswith("odd"):
            before = self.ready()
            task, likely = self.page.evaluate("[state.odd[state.at].id, state.odd[state.at].likely]")
            name = self.person.names(self.paths[task])
            tally.looked(1, alone=True)
            if name == self.page.evaluate("state.odd[state.at].not"):
                keys = ["="]
            elif name in likely:
                keys = [str(1 + likely.index(name))]
            else:
                keys = [*name, "Enter"]
            tally.key(min(len(keys), 5), decide=True)  # four letters are enough to find a class
            with tally.waited():
                for key in keys:
                    self.page.keyboard.press(key)
                self.page.wait_for_function("before => document.body.dataset.ready !== before", arg=before)

    def grow_class(self, link: str, tally: Tally) -> None:
        """Grows a class from the first crop of its first sheet, and accepts all that the search found."""
        tally.click(decide=True)
        with tally.waited():
            self.page.goto(link)
            self.displayed()
        suggested = str(self.page.evaluate("state.className"))
        tally.key(decide=True)
        with tally.waited():
            self.page.keyboard.press("g")
            self.page.wait_for_function("() => (document.body?.dataset.ready || '').startsWith('search')")
            self.displayed()
        while self.ready().startswith(("search", "check")):
            before = self.ready()
            shown = self.shown()
            odd = [task for task in shown if self.person.finds_odd(self.paths[task], suggested)]
            match = len(odd) <= 0.15 * len(shown) or before.startswith("check")
            tally.looked(len(shown))
            if match:
                self.mark(odd, tally)
            self.patience()
            tally.key(decide=True)
            with tally.waited():
                self.page.keyboard.press("y" if match else "n")
                self.page.wait_for_function("before => document.body.dataset.ready !== before", arg=before)
                if self.ready() != "confirm":
                    self.displayed()
        unseen = self.page.evaluate("state.growth.unseen")
        tally.key(decide=True)
        with tally.waited():
            self.page.keyboard.press("b" if unseen else "Enter")
            self.page.wait_for_function("() => ['done', 'start'].includes(document.body.dataset.ready)")

    def wait_until_sent(self) -> None:
        """Waits until Label Studio has all labels; the person does not wait for it."""
        while self.page.evaluate("fetch('/status').then((a) => a.json()).then((a) => a.waiting)"):
            self.page.wait_for_timeout(1000)


def labels(connection: Connection, title: str) -> dict[str, str]:
    """Path -> class of what Label Studio has."""
    tasks = list_tasks(connection, require_project(connection, title), whole=True)
    named = {str(task.data["path"]): [read_result(one["result"])[0] for one in task.annotations] for task in tasks}
    assert all(len(found) <= 1 for found in named.values()), "a crop has two labels"
    return {path: found[0] for path, found in named.items() if found and found[0]}


def sheets(clicker: Clicker, connection: Connection, title: str) -> list[Tally]:
    """The rows of the sheet page."""
    tally = Tally("sheet page, all")
    rows: list[Tally] = []
    seen: set[int] = set()
    clicker.open_all_groups(tally)
    while clicker.ready() != "empty":
        shown = set(clicker.shown())
        if not rows and shown <= seen:
            clicker.wait_until_sent()
            first = copy(tally)
            first.way = "sheet page, first pass"
            first.labeled(labels(connection, title), clicker.truth)
            rows.append(first)
        seen |= shown
        clicker.label_sheet(tally)
    clicker.wait_until_sent()
    tally.labeled(labels(connection, title), clicker.truth)
    return [*rows, tally]


def grow(clicker: Clicker, connection: Connection, title: str) -> list[Tally]:
    """The row of growing."""
    tally = Tally("grow")
    for link in clicker.groups():
        clicker.grow_class(link, tally)
    clicker.wait_until_sent()
    tally.labeled(labels(connection, title), clicker.truth)
    return [tally]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run(folder: Path, embeddings: Path | None, count: int | None, similar_errors: bool) -> None:
    """Measures both ways, and prints the table after each."""
    truth = choose_crops(folder / "crops")
    guesses = simulated_model(truth)
    if similar_errors and embeddings:
        guesses = confused(guesses, truth, folder / "crops", embeddings)
    rows: list[Tally] = []
    connection = connect(home=folder / "studio")
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for title, way in (("sheet page", sheets), ("grow", grow)):
            push_project(connection, title, folder / "crops", guesses)
            tasks = list_tasks(connection, require_project(connection, title))
            paths = {task.id: str(task.data["path"]) for task in tasks}
            with desk(title, embeddings) as address:
                page: Any = browser.new_page(viewport={"width": 1920, "height": 1080})
                page.add_init_script("localStorage.setItem('desk-grow-count', '60')")
                if count:
                    page.add_init_script(f"localStorage.setItem('desk-count', '{count}')")
                clicker = Clicker(page, address, Person(truth), paths, truth)
                rows += way(clicker, connection, title)
                print(table(rows), flush=True)
                page.close()
        browser.close()
    for row in rows:
        row.decide(row.buttons)
    print("with one decision more for each click or drag", table(rows), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, help="embeddings of the crops")
    parser.add_argument("--crops", type=Path, help="only write the crops into this folder, to make their embeddings")
    sizes = (60, 96, 120, 160, 200)
    parser.add_argument("--count", type=int, choices=sizes, help="crops a sheet; by default as many as the page shows")
    parser.add_argument(
        "--similar-errors", action="store_true", help="a wrong pre-label is the class of a similar crop, not any class"
    )
    options = parser.parse_args()
    if options.crops:
        choose_crops(options.crops)
        return
    with tempfile.TemporaryDirectory(prefix="pelagia-sheets-") as scratch:
        folder = Path(scratch)
        for name in (HOME_VARIABLE, "PELAGIA_DESK_HOME", "PELAGIA_CACHE_HOME"):
            os.environ[name] = str(folder / ("studio" if name == HOME_VARIABLE else name.lower()))
        start_studio(folder / "studio", port=free_port())
        try:
            run(folder, options.embeddings, options.count, options.similar_errors)
        finally:
            stop_studio(folder / "studio")


if __name__ == "__main__":
    main()
