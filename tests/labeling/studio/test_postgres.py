"""What `deploy/` starts, without Docker: its settings, a real PostgreSQL, and a real Label Studio on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli_fixtures import REPOSITORY, Pelagia
from pelagia.errors import StudioError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.labels.pull import pull
from pelagia_labeling.studio.connection import Connection, connect
from pelagia_labeling.studio.program import find_executable
from pelagia_labeling.tasks.annotate import submit
from pelagia_labeling.tasks.project import list_tasks, require_project
from pelagia_labeling.tasks.push import push
from studio_fixtures import free_port

COMPOSE = REPOSITORY / "deploy" / "compose.yaml"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


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


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """PostgreSQL; the tests that need it are skipped where it is not installed; on Linux they fail if CI is set."""
    programs = _programs()
    if programs is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp())  # the folders of pytest are closed to other accounts
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


def settings(values: dict[str, str]) -> dict[str, str]:
    """The environment that the compose file gives to Label Studio, with the values of an .env file."""
    given = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]["label-studio"]["environment"]

    def filled(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(":-")
        return values.get(name.partition(":?")[0], default)

    return {name: re.sub(r"\$\{([^}]*)\}", filled, value) for name, value in given.items()}


@dataclass
class TeamServer:
    """Label Studio with the settings of the compose file. `start` and `stop` keep its data."""

    folder: Path
    database: Postgres
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Connection:
        environment = settings(
            {"ADMIN_EMAIL": "admin@example.org", "ADMIN_PASSWORD": "a password", "POSTGRES_PASSWORD": "-"}
        )
        environment |= {
            "POSTGRE_HOST": "127.0.0.1",
            "POSTGRE_PORT": str(self.database.port),
            "LABEL_STUDIO_HOST": "",
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "LABEL_STUDIO_USER_TOKEN": TOKEN,
        }
        command = [
            str(find_executable()),
            "start",
            "--no-browser",
            "--internal-host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        with (self.folder / "log").open("ab") as log:
            passed = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            self.process = subprocess.Popen(command, env=passed | environment, stdout=log, stderr=log)
        url, deadline = f"http://127.0.0.1:{self.port}", time.monotonic() + 300
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=20):
                    return connect(url, TOKEN, home=self.folder / "none")
            except OSError:
                time.sleep(0.3)
        raise AssertionError((self.folder / "log").read_text(encoding="utf-8")[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)


@pytest.fixture
def team_server(postgres: Postgres, tmp_path: Path) -> Iterator[TeamServer]:
    (tmp_path / "data").mkdir()
    server = TeamServer(tmp_path / "data", postgres, free_port())
    yield server
    server.stop()


@pytest.mark.studio
@pytest.mark.slow
def test_labels_on_postgresql_survive_a_dump_and_come_back(
    team_server: TeamServer,
    postgres: Postgres,
    taxonomy: Taxonomy,
    draw_images: Callable[..., None],
    tmp_path: Path,
    pelagia: Pelagia,
) -> None:
    draw_images(["a.png", "b.png", "c.png"], tmp_path / "crops", 99)
    server = team_server.start()
    assert postgres.run("psql", "labelstudio", "-Atc", "SELECT count(*) FROM htx_user").strip() == "1"
    assert push(server, tmp_path / "crops", "Team", taxonomy, upload=True).added == 3
    for task in list_tasks(server, require_project(server, "Team")):
        submit(server, task.id, "copepod")
    there = {
        "LABEL_STUDIO_URL": server.url,
        "LABEL_STUDIO_API_KEY": TOKEN,
        "PELAGIA_STUDIO_HOME": str(tmp_path / "none"),
    }
    status = pelagia("studio", "status", env=there)
    assert status.returncode == 0
    assert re.search(r"Team +3 +3", status.stdout)
    refused = pelagia("studio", "backup", "--out", tmp_path / "labels.zip", env=there)
    assert refused.returncode == 6
    assert "pg_dump" in refused.stderr

    dump = tmp_path / "labels.dump"
    postgres.run("pg_dump", "-Fc", "--file", dump, "labelstudio")
    team_server.stop()
    with pytest.raises(StudioError, match="no server answers"):
        connect(server.url, TOKEN, home=tmp_path / "none")
    postgres.run("dropdb", "labelstudio")
    postgres.run("createdb", "labelstudio")
    postgres.run("pg_restore", "--no-owner", "--dbname", "labelstudio", dump)
    again = team_server.start()
    assert push(again, tmp_path / "crops", "Team", taxonomy, upload=True).present == 3
    dataset = pull(again, "Team", tmp_path / "dataset").dataset
    assert [record.class_name for record in dataset.records] == ["copepod"] * 3


def test_the_compose_file_names_every_version_and_holds_no_secret() -> None:
    compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    for service in compose["services"].values():
        assert re.fullmatch(r"[\w/-]+:\d+(\.\d+)+", service["image"])
        assert service["healthcheck"]["test"][0] == "CMD"
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or value.startswith("${"), name
    example = (REPOSITORY / "deploy" / ".env.example").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    assert set(re.findall(r"^(\w+)=", example, re.MULTILINE)) == wanted
    assert not re.search(r"PASSWORD=.", example)
