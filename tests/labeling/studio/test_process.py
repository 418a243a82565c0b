from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pelagia_labeling.studio import process


def test_a_process_and_those_that_it_started_are_ended(tmp_path: Path) -> None:
    child = process.spawn(["sh", "-c", "sleep 60 & sleep 60"], env={}, cwd=tmp_path, log=tmp_path / "log")
    parent = psutil.Process(child.pid)
    while len(family := [parent, *parent.children()]) < 3:
        time.sleep(0.01)
    assert process.terminate(child.pid, process.birth(child.pid))
    assert child.wait(timeout=10) != 0
    psutil.wait_procs(family, timeout=10)
    assert not [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]


def test_a_process_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"]
    child = process.spawn(stubborn, env={"PATH": "/bin:/usr/bin"}, cwd=tmp_path, log=tmp_path / "log")
    while "ready" not in (tmp_path / "log").read_text(encoding="utf-8"):
        time.sleep(0.01)
    assert process.terminate(child.pid, process.birth(child.pid), patience=0.2)
    assert child.wait(timeout=10) != 0


def test_a_later_process_of_the_same_number_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        earlier = str(int(process.birth(bystander.pid)) - 100)
        assert not process.is_alive(bystander.pid, earlier)
        assert process.terminate(bystander.pid, earlier) is False
        assert bystander.poll() is None
        bystander.kill()


def test_a_process_that_has_ended_has_no_birth_even_before_its_parent_asks() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert process.birth(child.pid) == ""
    assert process.birth(child.pid) == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_a_server_that_an_older_version_started_is_recognized() -> None:
    """Older versions wrote the clock ticks from the machine's start to the process's start into `studio.json`."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        assert process.is_alive(child.pid, fields[19])
        child.kill()
