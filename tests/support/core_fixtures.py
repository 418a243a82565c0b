"""Small images, datasets and processes for the tests of the core."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

CORE = Path(__file__).resolve().parents[2] / "core"


def _pixels(seed: int = 0, height: int = 30, width: int = 40) -> np.ndarray:
    """A smooth color image, uint8, H x W x 3, RGB. Another seed gives another image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _encode(
    kind: str = "PNG", seed: int = 0, mode: str = "RGB", height: int = 30, width: int = 40, **options: Any
) -> bytes:
    """An image encoded by Pillow, which does not share its code with OpenCV."""
    buffer = io.BytesIO()
    Image.fromarray(_pixels(seed, height, width)).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    return _pixels


@pytest.fixture
def encode() -> Callable[..., bytes]:
    return _encode


@pytest.fixture
def put() -> Callable[..., Path]:
    """Writes an image that depends on the seed, and makes the folders of its path."""

    def put(path: Path, seed: int = 0, data: bytes | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(seed=seed) if data is None else data)
        return path

    return put


@pytest.fixture
def class_folders(tmp_path: Path, put: Callable[..., Path]) -> Path:
    """Two classes of six images each, under `src/`."""
    for index in range(12):
        put(tmp_path / "src" / ("copepod" if index % 2 else "medusa") / f"{index:02}.png", seed=index)
    return tmp_path / "src"


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Calls a function in a process whose permissions are checked (root's are not), inside ``tmp_path``.

    The result is the value of the function, or the error that it raised. The folders above ``tmp_path`` stay open to
    passing through: other tests that run at the same time share them and may be in the middle of their call.
    """
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)

    def call(function: Callable[[], Any]) -> Any:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.chdir(tmp_path)
            if os.geteuid() == 0:
                os.setuid(65534)
            try:
                answer = (True, function())
            except BaseException as error:
                answer = (False, error)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            well, value = pickle.load(pipe)
        os.waitpid(child, 0)
        if not well:
            raise value
        return value

    yield call
    for path in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        path.chmod(0o777)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python code that can import the core in another process, and ends it after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CORE)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
