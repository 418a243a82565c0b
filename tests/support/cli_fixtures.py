"""The command line as a user runs it: in a new process, with an exit code and printed text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
Pelagia = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the decoded images of the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PELAGIA_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        yield


@pytest.fixture(scope="session")
def pelagia() -> Pelagia:
    """Runs `pelagia ARGUMENTS` in the repository or in ``cwd``; ``env`` adds to the environment."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path = REPOSITORY
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})}
        command = [sys.executable, "-m", "pelagia.cli", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)

    return run
