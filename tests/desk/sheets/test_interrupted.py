"""Confirmed labels survive a killed desk and a restarted Label Studio, and no label is there twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from pelagia_desk.sheets.journal import default_file, waiting_in
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.studio.server import Studio, start_studio, stop_studio
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.project import list_tasks, require_project

pytestmark = [pytest.mark.studio, pytest.mark.slow]


class Browser:
    """A browser without a screen: it has the cookie, and sends what the script of the page sends."""

    def __init__(self, address: str) -> None:
        home = address.partition("/enter/")[0]
        self._http = httpx.Client(base_url=home, headers={"Origin": home}, follow_redirects=True, timeout=60)
        assert self._http.get(address).status_code == 200

    def post(self, path: str, **said: Any) -> dict[str, Any]:
        answer = self._http.post(path, json=said)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def status(self) -> dict[str, Any]:
        return dict(self._http.get("/status").json())

    def accept(self, group: str, count: int) -> set[int]:
        """Accepts a sheet after looking at it."""
        sheet = self.post("/sheets/next", tab="t", group=group, sort="similar", station="", count=count, open=[])
        tasks = [crop["id"] for crop in sheet["crops"]]
        time.sleep(0.8)
        self.post("/sheets/accept", sheet=sheet["sheet"], **{"class": group}, displayed=tasks, odd=[], seconds=1)
        return set(tasks)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_desk_and_a_restarted_server_lose_nothing_and_double_nothing(
    studio: Studio, connection: Connection, make_project: Any, run_desk: Any
) -> None:
    make_project("killed", 60)

    def labels() -> Counter[int]:
        tasks = list_tasks(connection, require_project(connection, "killed"), whole=True)
        return Counter({task.id: len(task.annotations) for task in tasks if task.annotations})

    with run_desk("killed") as (address, process):
        browser = Browser(address)
        accepted = browser.accept("copepod", 60)
        until(lambda: browser.status()["waiting"] < 50)
        process.kill()
        process.wait()
    sent = labels()
    assert 0 < len(sent) < 60
    assert waiting_in(default_file()) >= 60 - len(sent)

    with run_desk("killed") as (address, _):
        browser = Browser(address)
        until(lambda: browser.status()["waiting"] == 0)
        assert labels() == Counter(accepted)
        assert browser.status()["done"] == 60

        # the person labels one of the next crops in Label Studio itself: that label stays, and is not doubled
        tasks = list_tasks(connection, require_project(connection, "killed"), whole=True)
        elsewhere = [task.id for task in tasks if str(task.data["path"]).startswith("medusa_03")]
        for number in elsewhere:
            submit(connection, number, "detritus")

        stop_studio(studio.home)
        more = browser.accept("medusa", 60)
        until(lambda: bool(browser.status()["fault"]))
        assert browser.status()["waiting"] == 60
        undone = browser.accept("detritus", 10)
        browser.post("/undo")
        start_studio(studio.home)
        until(lambda: browser.status()["waiting"] == 0)
        assert labels() == Counter(accepted | more)
        assert not undone & set(labels())
        assert len(elsewhere) == browser.status()["refused"] == 10
