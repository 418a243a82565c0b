"""A person labels with the sheet page in a real browser, and exactly what was clicked arrives in the dataset."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import Task, list_tasks, require_project

pytestmark = [pytest.mark.studio, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def tasks_of(connection: Connection, title: str) -> list[Task]:
    return list(list_tasks(connection, require_project(connection, title), whole=True))


def ready(page: Page, wanted: str = "") -> str:
    """Waits until the page shows something new, and returns what."""
    page.wait_for_function("wanted => document.body?.dataset.ready?.startsWith(wanted)", arg=wanted)
    return str(page.evaluate("document.body.dataset.ready"))


def wait_until_looked_at(page: Page) -> None:
    """Waits as long as a person must: until all is displayed, and a moment."""
    page.wait_for_function("() => document.body?.dataset.ready && grid.hiddenBelow === 0 && grid.seconds > 0.8")


def wait_until_sent(page: Page, done: int) -> None:
    """Waits until ``done`` crops have a label, and Label Studio knows all of them."""
    ask = "fetch('/status').then(answer => answer.json()).then(status => [status.done, status.waiting])"
    deadline = time.monotonic() + 60
    while page.evaluate(ask) != [done, 0]:
        assert time.monotonic() < deadline
        page.wait_for_timeout(200)


def cell(page: Page, task: int) -> Any:
    return page.locator(f"[data-task='{task}']")


def label_group(page: Page, paths: dict[int, str], group: str, expected: dict[str, str]) -> None:
    """Marks the crops that are not of the group: one by keys, one by a click, the others by drags; then names them."""
    page.click(f".group a:has-text('{group}?')")
    ready(page)
    wait_until_looked_at(page)
    shown = [int(task) for task in page.locator(".cell").evaluate_all("cells => cells.map(c => c.dataset.task)")]
    odd = [task for task in shown if not paths[task].startswith(group)]
    assert odd
    for _ in range(shown.index(odd[0])):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    for task in odd[1:2]:
        cell(page, task).click()
    for task in odd[2:]:
        cell(page, task).hover()
        page.mouse.down()
        page.mouse.move(1, 1)
        page.mouse.up()
    page.keyboard.press("Enter")
    for number in range(len(odd)):
        assert ready(page, f"odd {number}")
        task = int(str(page.locator("#large img").get_attribute("src")).split("/")[2])
        if number % 2:
            likely = page.locator("#likely li").evaluate_all("items => items.map(item => item.innerText)")
            truth = paths[task].split("_")[0]
            page.keyboard.press(str(1 + next(i for i, text in enumerate(likely) if truth in text)))
        else:
            page.keyboard.type(paths[task][:4])
            page.keyboard.press("Enter")
        expected[paths[task]] = paths[task].split("_")[0]
    ready(page, "empty")
    expected.update({paths[task]: group for task in shown if task not in odd})


def test_what_was_clicked_arrives_in_the_dataset_exactly(
    page: Page, connection: Connection, make_project: Any, run_desk: Any, tmp_path: Path
) -> None:
    guesses = make_project("sheet page", 40)
    paths = {task.id: str(task.data["path"]) for task in tasks_of(connection, "sheet page")}
    expected: dict[str, str] = {}
    with run_desk("sheet page") as (address, _):
        page.goto(address)
        assert "enter" not in page.url
        label_group(page, paths, "copepod", expected)
        page.keyboard.press("h")
        label_group(page, paths, "medusa", expected)

        # the last group by growing from one crop; the wrong ones are marked, the rest of them comes back elsewhere
        page.keyboard.press("Enter")
        page.wait_for_url("**group=detritus**")
        ready(page)
        page.keyboard.press("g")
        ready(page, "search 0")
        wait_until_looked_at(page)
        for task in page.locator(".cell").evaluate_all("cells => cells.map(c => Number(c.dataset.task))"):
            if paths[task].startswith("detritus"):
                expected[paths[task]] = "detritus"
            else:
                cell(page, task).click()
        page.keyboard.press("y")
        ready(page, "confirm")
        page.keyboard.press("Enter")
        ready(page, "done")

        # one step back, also in Label Studio, and again
        page.click("text=Back to the groups")
        page.click(".group a >> nth=0")
        ready(page)
        wait_until_looked_at(page)
        rest = {int(task) for task in page.locator(".cell").evaluate_all("cells => cells.map(c => c.dataset.task)")}
        group = str(page.locator("#class-button").inner_text())
        before = len(expected)
        page.keyboard.press("Enter")
        wait_until_sent(page, before + len(rest))
        assert sum(bool(task.annotations) for task in tasks_of(connection, "sheet page")) == before + len(rest)
        page.keyboard.press("z")
        page.wait_for_function("() => document.querySelectorAll('.message')[0]?.innerText.includes('taken back')")
        wait_until_sent(page, before)
        assert sum(bool(task.annotations) for task in tasks_of(connection, "sheet page")) == before
        wait_until_looked_at(page)
        page.keyboard.press("Enter")
        expected.update({paths[task]: group for task in rest})
        ready(page, "empty")
        wait_until_sent(page, before + len(rest))

    dataset = pull(connection, "sheet page", tmp_path / "dataset").dataset
    assert {record.source: record.class_name for record in dataset.records} == expected
    assert {record.annotators for record in dataset.records} == {connection.user}
    for task in tasks_of(connection, "sheet page"):
        for annotation in task.annotations:
            accepted = expected[paths[task.id]] == guesses[paths[task.id]]
            assert bool(annotation["parent_prediction"]) == accepted
            assert annotation["result"][0]["meta"]["pelagia"]["how"] in ("seen", "chosen")


def test_all_groups_are_labeled_sheet_after_sheet_each_crop_as_its_heading_says(
    page: Page, connection: Connection, make_project: Any, run_desk: Any, tmp_path: Path
) -> None:
    make_project("all groups", 20)
    paths = {task.id: str(task.data["path"]) for task in tasks_of(connection, "all groups")}
    with run_desk("all groups") as (address, _):
        page.goto(address)
        page.click("#all-groups")
        while (before := ready(page)) != "empty":
            if before.startswith("odd"):
                page.keyboard.type(paths[page.evaluate("state.odd[state.at].id")][:4])
                page.keyboard.press("Enter")
            else:
                wait_until_looked_at(page)
                assert len(page.locator(".heading").all()) == len(set(page.evaluate("grid.crops.map((c) => c.class)")))
                for task, class_name in page.evaluate("grid.crops.map((crop) => [crop.id, crop.class])"):
                    if not paths[task].startswith(class_name):
                        cell(page, task).click()
                page.keyboard.press("Enter")
            page.wait_for_function("before => document.body.dataset.ready !== before", arg=before)
        assert "No crop with a suggestion is left to do." in page.locator("#empty").inner_text()
        wait_until_sent(page, 60)
    ended = page.evaluate("desk.post('/undo', {}).catch((error) => error.message)")
    assert ended.endswith("type the pelagia label sheets command again, and open the address that it prints.")
    dataset = pull(connection, "all groups", tmp_path / "dataset").dataset
    assert {record.source: record.class_name for record in dataset.records} == {
        path: path.split("_")[0] for path in paths.values()
    }


EVIL = """<!doctype html><body><script>
const desk = new URLSearchParams(location.search).get("desk");
const send = (path, type) => fetch(desk + path, {method: "POST", mode: "no-cors", credentials: "include",
  headers: {"Content-Type": type}, body: '{"said": 1}'}).catch(() => 0);
const load = (path) => new Promise((done) => { const image = new Image(); image.onload = () => done("shown");
  image.onerror = () => done("refused"); image.src = desk + path; });
const frame = document.createElement("iframe"); frame.src = desk + "/"; document.body.append(frame);
(async () => { await send("/undo", "text/plain"); await send("/undo", "application/json");
  document.body.dataset.image = await load("/crops/" + new URLSearchParams(location.search).get("task"));
  document.body.dataset.done = "yes"; })();
</script>"""


@pytest.fixture
def evil_port() -> Iterator[int]:
    """A page on another port of this computer, which a person opens in the same browser."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_another_page_cannot_drive_the_desk(
    page: Page, connection: Connection, make_project: Any, run_desk: Any, evil_port: int
) -> None:
    make_project("driven", 12)
    task = tasks_of(connection, "driven")[0].id
    with run_desk("driven") as (address, process):
        desk = address.partition("/enter/")[0]
        page.goto(address)
        page.click(".group a >> nth=0")
        ready(page)
        wait_until_looked_at(page)
        shown = page.evaluate("[...grid.displayed]")

        warns = """() => { const leave = new Event("beforeunload", {cancelable: true}); desk.waiting = 1;
            window.dispatchEvent(leave); desk.waiting = 0; return leave.defaultPrevented; }"""
        assert page.evaluate(warns)  # closing the page while labels wait is warned of

        # the page itself may not accept crops that were not on it
        others = [one.id for one in tasks_of(connection, "driven") if one.id not in shown]
        ask = """async ([displayed]) => { try { await desk.post('/sheets/accept', {sheet: state.sheet.sheet,
            class: state.className, displayed, odd: [], seconds: 9}); } catch (error) { return error.message; } }"""
        assert "not shown" in page.evaluate(ask, [[*shown, others[0]]])
        page.keyboard.press("Enter")
        wait_until_sent(page, len(shown))

        evil = page.context.new_page()
        statuses: dict[str, set[int]] = {}
        evil.on(
            "response",
            lambda answer: (
                answer.url.startswith(desk)
                and statuses.setdefault(answer.url.removeprefix(desk), set()).add(answer.status)
            ),
        )
        for host in ("127.0.0.1", "evil.localhost"):  # the first is the same site, so the browser sends the cookie
            evil.goto(f"http://{host}:{evil_port}/?desk={desk}&task={task}")
            evil.wait_for_selector("body[data-done=yes]")
            assert evil.get_attribute("body", "data-image") == "refused"
        assert statuses.get("/undo", {403}) == {403}
        # a name that leads to this computer is not the desk's: DNS rebinding
        port = desk.rpartition(":")[2]
        answer = evil.goto(f"http://evil.localhost:{port}/")
        assert answer is not None
        assert answer.status == 421
        answer = evil.goto(f"http://evil.localhost:{port}/enter/{address.rpartition('/')[2]}")
        assert answer is not None
        assert answer.status == 421
        done = page.evaluate("fetch('/status').then(a => a.json()).then(a => a.done)")
        assert done == len(shown)

        process.terminate()
        assert process.stdout is not None
        assert address.rpartition("/")[2] not in process.stdout.read()


def test_a_class_with_a_long_name_fits_a_phone(page: Page, make_project: Any, run_desk: Any) -> None:
    make_project("sheets on a phone", 12)
    page.set_viewport_size({"width": 390, "height": 800})
    with run_desk("sheets on a phone") as (address, _):
        page.goto(address)
        page.locator(".group a").first.click()
        ready(page)
        page.evaluate(
            "name => { for (const id of ['class-button', 'accept']) document.getElementById(id).textContent = name; }",
            "Protoperidinium_depressum_with_a_long_name_and_detritus",
        )
        assert page.evaluate("document.documentElement.scrollWidth") == 390
