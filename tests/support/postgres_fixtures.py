"""A real PostgreSQL in a temporary folder, for Label Studio as a team runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from studio_fixtures import free_port


@dataclass(frozen=True)
class Postgres:
    """A running server with the database and the user ``labelstudio``, which needs no password on this machine."""

    programs: Path
    port: int

    def run(self, program: str, *arguments: object) -> str:
        """The output of one of PostgreSQL's programs, such as pg_dump."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--username", "labelstudio"]
        command = [str(self.programs / program), *options, *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def _programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """PostgreSQL; the tests that need it are skipped where it is not installed; on Linux they fail if CI is set."""
    programs = _programs()
    if programs is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    other: dict[str, Any] = {}
    if os.geteuid() == 0:  # initdb refuses root
        shutil.chown(folder, "nobody")
        other = {"user": "nobody", "cwd": folder}
    port = free_port()
    data, log = folder / "data", folder / "log"
    initialize = [programs / "initdb", "--username", "labelstudio", "--auth", "trust", "--no-sync", "-D", data]
    subprocess.run(initialize, check=True, capture_output=True, **other)
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c unix_socket_directories={folder}"
    control = [programs / "pg_ctl", "-D", data]
    subprocess.run([*control, "-w", "-l", log, "-o", settings, "start"], check=True, stdout=subprocess.DEVNULL, **other)
    try:
        server = Postgres(programs, port)
        server.run("createdb", "labelstudio")
        yield server
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, **other)
        shutil.rmtree(folder, ignore_errors=True)
