"""Crops that look like their class, a desk without a server, and projects in Label Studio with pre-labels."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.sources import list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_desk.pictures import HOME_VARIABLE as CACHE_VARIABLE
from pelagia_desk.pictures import Pictures, Source
from pelagia_desk.sheets.crops import Crop, Loaded
from pelagia_desk.sheets.journal import HOME_VARIABLE, Journal
from pelagia_desk.sheets.vectors import Vectors
from pelagia_desk.sheets.work import Work
from pelagia_labeling.studio.connection import Address, Connection, connect
from pelagia_labeling.studio.server import Studio
from pelagia_labeling.tasks.push import push

CLASSES = ("copepod", "medusa", "detritus")
_seeds = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def desk_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps journals and thumbnails of the tests out of the user's folders."""
    home = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(home / "journal"))
        patch.setenv(CACHE_VARIABLE, str(home / "cache"))
        yield home


@pytest.fixture(scope="session")
def connection(studio: Studio) -> Connection:
    return connect(home=studio.home)


def draw(folder: Path, class_name: str, count: int) -> list[Path]:
    """Crops of a class: all have its color and shape, and no two are equal."""
    rng = np.random.default_rng(next(_seeds))
    which = CLASSES.index(class_name)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        pixels = np.full((60, 60, 3), 200, np.uint8)
        pixels = np.clip(pixels + rng.integers(-8, 8, pixels.shape), 0, 255).astype(np.uint8)
        color = [(40, 40, 160), (160, 40, 40), (40, 160, 40)][which]
        axes = [(24, 6), (18, 18), (8, 26)][which]
        cv2.ellipse(pixels, (30, 30), axes, float(rng.integers(0, 20)), 0, 360, color, -1)
        files.append(folder / f"{class_name}_{number:03d}.png")
        cv2.imwrite(str(files[-1]), pixels)
    return files


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    """The work on 3 classes of 40 crops without a server; of each class, 4 crops are taken for the next class."""
    crops = []
    for which, class_name in enumerate(CLASSES):
        for number, file in enumerate(draw(tmp_path / "files", class_name, 40)):
            guess = CLASSES[(which + 1) % 3] if number < 4 else class_name
            task = 100 + len(crops)
            source = Source(task, sha256_of(file.read_bytes()), file.name, "/")
            crop = Crop(len(crops), source, file.name, f"S{number % 2}", 2.0, guess, 0.5 + number / 100, task + 5000)
            crop.home = crop.suggestion = guess
            crops.append(crop)
    nowhere = Connection(Address("http://127.0.0.1:1", "t", "x"), None, "a@b", "1", tmp_path / "files")  # type: ignore[arg-type]
    pictures = Pictures(nowhere, tmp_path / "cache.sqlite")
    journal = Journal(tmp_path / "labels.sqlite", "server 1 1")
    classes = tuple(LabelClass(name=name) for name in CLASSES)
    vectors = Vectors(crops, pictures)
    vectors.measure_all()
    yield Work(Loaded(crops, classes, "station", {}), vectors, journal)
    pictures.close()
    journal.close()


MakeProject = Callable[..., dict[str, str]]


@pytest.fixture
def make_project(connection: Connection, tmp_path: Path) -> MakeProject:
    """``make_project(title, per_class)`` pushes crops with pre-labels: path -> class of the pre-label.

    The path begins with the true class; of each class, a tenth is taken for the next one.
    """

    def make(title: str, per_class: int) -> dict[str, str]:
        taxonomy = Taxonomy(name="plankton", taxa=(), classes=tuple(LabelClass(name=name) for name in CLASSES))
        for name in CLASSES:
            draw(tmp_path / "crops", name, per_class)
        guesses: dict[str, str] = {}
        with Survey.open_for_writing(
            tmp_path / "survey", model_sha256="ab" * 32, classes=taxonomy.names, settings={}
        ) as rows:
            found = []
            for image in list_images([tmp_path / "crops"]):
                which, number = CLASSES.index(image.path.split("_")[0]), int(image.path[-7:-4])
                guess = (which + 1) % 3 if number < per_class // 10 else which
                guesses[image.path] = CLASSES[guess]
                sure = np.full(3, 0.1, np.float32)
                sure[guess] = 0.8
                found.append(Prediction(image.path, str(image.file), sha256_of(image.read()), probabilities=sure))
            rows.add(found)
        push(connection, tmp_path / "crops", title, taxonomy, predictions=tmp_path / "survey")
        return guesses

    return make


RunDesk = Callable[[str], AbstractContextManager[tuple[str, "subprocess.Popen[str]"]]]


@pytest.fixture
def run_desk() -> RunDesk:
    """``with run_desk(title) as (address, process)`` runs the command as a person does, and stops it at the end."""

    @contextmanager
    def run(title: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        command = [sys.executable, "-u", "-m", "pelagia.cli", "label", "sheets", "--project", title, "--no-browser"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        try:
            assert process.stdout is not None
            printed = ""
            while (found := re.search(r"The page: (http://\S+)", printed)) is None:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            yield found[1], process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    return run
