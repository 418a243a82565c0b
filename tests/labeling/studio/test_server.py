from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from pelagia.errors import StudioError
from pelagia.system.locking import exclusive_lock
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio import process
from pelagia_labeling.studio.connection import connect
from pelagia_labeling.studio.server import Studio, find_executable, read_studio, start_studio, stop_studio
from pelagia_labeling.tasks.push import push
from studio_fixtures import free_port


def script(folder: Path, body: str) -> Path:
    """A shell script in place of the program of Label Studio."""
    path = folder / "label-studio"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_server_that_dies_while_starting_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = script(tmp_path, 'echo Starting; echo "OperationalError: disk I/O error" >&2; echo bye; exit 3')
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(broken))
    home = tmp_path / "home"
    with pytest.raises(StudioError) as caught:
        start_studio(home)
    assert str(caught.value) == (
        f"Label Studio ended while starting: OperationalError: disk I/O error (its log: {home / 'label-studio.log'}); "
        "read the log, then try again"
    )
    known = read_studio(home)
    assert known is not None
    assert not known.running


def test_a_server_that_never_answers_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(script(tmp_path, "echo $$ > pid; sleep 60")))
    with pytest.raises(StudioError, match=r"did not answer within 0\.7 s"):
        start_studio(tmp_path / "home", timeout=0.7)
    pid = int((tmp_path / "home" / "pid").read_text(encoding="utf-8"))
    assert not process.birth(pid)


def test_without_label_studio_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PELAGIA_LABEL_STUDIO", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudioError, match=r"Label Studio is not installed: type `pelagia studio start --install`"):
        find_executable()


def test_only_the_studio_environment_of_the_working_folder_itself_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other people may write to a folder above, such as a shared drive, and the program would run as this user."""
    monkeypatch.delenv("PELAGIA_LABEL_STUDIO", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / ".venv-studio" / "bin").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "on_path").mkdir()
    program = script(tmp_path / ".venv-studio" / "bin", "true")
    on_path = script(tmp_path / "on_path", "true")
    monkeypatch.setenv("PATH", str(tmp_path / "on_path"))
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_executable() == on_path
    monkeypatch.chdir(tmp_path)
    assert find_executable() == program
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(on_path))
    assert find_executable() == on_path


def test_the_program_that_was_started_is_known_from_a_dead_server_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = script(tmp_path, "exit 3")
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(broken))
    with pytest.raises(StudioError):
        start_studio(str(tmp_path / "home"))
    known = read_studio(tmp_path / "home")
    assert known is not None
    assert known.program == str(broken)
    assert not stop_studio(str(tmp_path / "home"))


def test_a_named_program_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", "/nowhere/label-studio")
    with pytest.raises(StudioError, match="PELAGIA_LABEL_STUDIO names /nowhere/label-studio"):
        find_executable()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(script(tmp_path, "exit 1")))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(StudioError, match=f"port {port} is taken"):
            start_studio(tmp_path / "home", port=port)


def test_stop_does_not_end_another_process_with_the_old_number(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "30"]) as bystander:
        state_values = {
            "url": "http://127.0.0.1:1",
            "user": "u",
            "password": "p",
            "token": "t",
            "document_root": str(tmp_path),
            "version": "",
            "pid": bystander.pid,
            "birth": "long ago",
        }
        state = tmp_path / "studio.json"
        state.write_text(json.dumps(state_values), encoding="utf-8")
        state.chmod(0o600)
        assert stop_studio(tmp_path) is False
        assert bystander.poll() is None
        bystander.kill()


def test_stop_where_nothing_ever_ran_is_no_error(tmp_path: Path) -> None:
    assert stop_studio(tmp_path) is False


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "studio.json").write_text("{", encoding="utf-8")
    (tmp_path / "studio.json").chmod(0o600)
    with pytest.raises(StudioError, match=r"studio\.json is damaged"):
        read_studio(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="file modes exist on POSIX systems only")
def test_a_state_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "studio.json").write_text("{}", encoding="utf-8")
    (tmp_path / "studio.json").chmod(0o644)
    with pytest.raises(StudioError, match=f"type chmod 600 {tmp_path}"):
        read_studio(tmp_path)


def test_data_without_the_account_are_not_started_with_a_new_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(script(tmp_path, "exit 1")))
    (tmp_path / "home" / "data").mkdir(parents=True)
    (tmp_path / "home" / "data" / "label_studio.sqlite3").touch()
    with pytest.raises(StudioError, match=r"but .*studio\.json, with its account, is missing: restore that file"):
        start_studio(tmp_path / "home")


HOLD_THE_LOCK = """
import sys, time
from pathlib import Path
from pelagia.system.locking import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "refused"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_start_waits_for_another_one_and_a_killed_one_does_not_block_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELAGIA_LABEL_STUDIO", str(script(tmp_path, "exit 1")))
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(home / "start.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StudioError, match="another process has been starting this Label Studio for a long time"):
            start_studio(home, timeout=0.3)
        other.kill()
    with pytest.raises(StudioError, match="ended while starting"):  # the killed process holds the lock no longer
        start_studio(home)


def test_the_repr_of_a_studio_holds_no_secret(tmp_path: Path) -> None:
    studio = Studio(tmp_path, "http://127.0.0.1:1", "u", "hunter2", "sesame", tmp_path)
    assert "hunter2" not in repr(studio)
    assert "sesame" not in repr(studio)


@pytest.mark.studio
def test_the_state_file_is_private_and_the_secrets_are_in_no_argument_and_no_log(studio: Studio) -> None:
    assert stat.S_IMODE((studio.home / "studio.json").stat().st_mode) == 0o600
    running = read_studio(studio.home)  # another test may have started it again
    assert running is not None
    arguments = Path(f"/proc/{running.pid}/cmdline").read_bytes().decode()
    log = studio.log.read_text(encoding="utf-8")
    for secret in (studio.token, studio.password):
        assert secret not in arguments
        assert secret not in log


@pytest.mark.studio
def test_it_listens_on_this_machine_only(studio: Studio) -> None:
    port = int(studio.url.rpartition(":")[2])
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text(encoding="utf-8").splitlines()[1:]]
    assert [address for address in listening if address == f"0100007F:{port:04X}"]
    assert not [address for address in listening if address == f"00000000:{port:04X}"]


@pytest.mark.studio
def test_strangers_cannot_sign_up(studio: Studio) -> None:
    with httpx.Client(base_url=studio.url) as browser:
        browser.get("/user/signup/")
        form = {
            "email": "eve@example.org",
            "password": "correct horse",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        answer = browser.post("/user/signup/", data=form)
    assert answer.status_code == 403
    assert "CSRF" not in answer.text
    assert "eve@example.org" not in [user.email for user in connect(home=studio.home).client.users.list()]


@pytest.mark.studio
def test_a_second_start_returns_the_running_server(studio: Studio) -> None:
    running = read_studio(studio.home)
    again = start_studio(studio.home)
    assert again.already_running
    assert again == running


@dataclass(frozen=True)
class Restart:
    """A server that was stopped and then started by two processes at the same time."""

    before: Studio
    after: Studio
    project_id: int
    outputs: list[str]


def start_in_another_process() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pelagia.cli", "studio", "start"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_opened(file: Path, processes: Sequence[subprocess.Popen[str]]) -> None:
    """Waits until each process has opened ``file``."""
    waiting = {started.pid for started in processes}
    deadline = time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} processes never opened {file}"
        for pid in list(waiting):
            if str(file) in [opened.path for opened in psutil.Process(pid).open_files()]:
                waiting.remove(pid)


@pytest.fixture(scope="module")
def restart(
    studio: Studio,
    taxonomy: Taxonomy,
    draw_images: Callable[[Sequence[str], Path, int], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Restart:
    """Three images are pushed; the server stops; two `pelagia studio start` try at the same moment."""
    images = tmp_path_factory.mktemp("restart")
    draw_images(["a.png", "b.png", "c.png"], images, 1_000_000)
    report = push(connect(home=studio.home), images, "Restart", taxonomy)
    assert stop_studio(studio.home)
    assert stop_studio(studio.home) is False
    lock = studio.home / "start.lock"
    with exclusive_lock(lock, "refused"):
        starters = [start_in_another_process() for _ in range(2)]
        await_opened(lock, starters)  # both wait for the lock, and go on at the same moment
    outputs = []
    for starter in starters:
        output, errors = starter.communicate(timeout=300)
        assert starter.returncode == 0, errors
        outputs.append(output)
    after = read_studio(studio.home)
    assert after is not None
    return Restart(studio, after, report.project_id, outputs)


@pytest.mark.studio
def test_two_starts_at_once_make_one_server_and_print_its_address(restart: Restart) -> None:
    first_lines = sorted(output.splitlines()[0] for output in restart.outputs)
    assert first_lines == [
        f"Label Studio {restart.after.version} runs at {restart.after.url}",
        f"Label Studio {restart.after.version} was running already at {restart.after.url}",
    ]
    found = [each.info for each in psutil.process_iter(["pid", "cwd", "cmdline"])]
    servers = [info["pid"] for info in found if info["cwd"] == str(restart.after.home) and "--port" in info["cmdline"]]
    assert servers == [restart.after.pid]


@pytest.mark.studio
def test_a_restart_keeps_address_account_token_and_tasks(restart: Restart) -> None:
    before, after = restart.before, restart.after
    assert (after.url, after.user, after.token) == (before.url, before.user, before.token)
    assert after.running
    assert connect(home=after.home).client.projects.get(restart.project_id).task_number == 3
    assert free_port() != int(after.url.rpartition(":")[2])
