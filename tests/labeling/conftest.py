"""Small images, a taxonomy, a connection to the server, a person's browser, and a project name for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from pelagia.taxonomy import LabelClass, Taxon, Taxonomy
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.project import Task, list_tasks, require_project

MakeImages = Callable[..., Path]
_seeds = itertools.count(1)


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    return Taxonomy(
        name="plankton",
        taxa=(Taxon(name="Copepoda", rank="class", aphia_id=1080),),
        classes=(
            LabelClass(name="copepod", title="Copepod & nauplius", taxon="Copepoda", hotkey="c", color="#1f77b4"),
            LabelClass(name="medusa", title="Medusa", hotkey="m", color="#e377c2"),
            LabelClass(name="detritus", hotkey="d"),
        ),
    )


@pytest.fixture(scope="session")
def connection(studio: Studio) -> Connection:
    return connect(home=studio.home)


@pytest.fixture(scope="session")
def colleagues(connection: Connection) -> dict[str, int]:
    """Accounts of two more people."""
    return {
        name: connection.client.users.create(
            email=f"{name}@sea.example", username=name, first_name=name, last_name="", phone="", allow_newsletters=False
        ).id
        for name in ("anna", "ben")
    }


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """The end of the test's name and a number: Label Studio accepts at most 50 characters."""
    return f"{request.node.name[-40:]} {next(_seeds)}"


def draw(names: Sequence[str], folder: Path, seed: int) -> None:
    """Writes a different small image under each name; the suffix chooses the format."""
    rng = np.random.default_rng(seed)
    for name in names:
        pixels = rng.integers(0, 256, (20, 16, 3), dtype=np.uint8)
        done, data = cv2.imencode(Path(name).suffix.lower(), pixels)
        assert done
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.tobytes())


@pytest.fixture(scope="session")
def draw_images() -> Callable[[Sequence[str], Path, int], None]:
    return draw


@pytest.fixture
def make_images(tmp_path: Path) -> MakeImages:
    """Makes a folder of images that no other test makes: ``make_images("a.png", "b/c.jpg")`` or ``make_images(40)``."""

    def make(*names: str | int, folder: str = "crops") -> Path:
        wanted = [f"{index:04d}.png" for index in range(int(names[0]))] if isinstance(names[0], int) else names
        draw([str(name) for name in wanted], tmp_path / folder, next(_seeds))
        return tmp_path / folder

    return make


@pytest.fixture
def tasks_of(connection: Connection) -> Callable[[str], dict[str, Task]]:
    """The tasks of a project by the path of their image, with annotations and predictions."""

    def tasks(title: str) -> dict[str, Task]:
        found = list_tasks(connection, require_project(connection, title), whole=True)
        return {str(task.data["path"]): task for task in found}

    return tasks


@pytest.fixture
def page(studio: Studio, chromium: Browser) -> Iterator[Page]:
    """A person's browser, logged in through the login page."""
    page = chromium.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(30_000)
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", studio.user)
    page.fill("input[name=password]", studio.password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    yield page
    page.close()
