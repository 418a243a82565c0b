"""A background process that outlives its starter, and proof that a process id still means the process that was started.

Invariant: nothing is signalled on the strength of a number alone. A process is (pid, birth); the birth comes from the
operating system and differs when the number has been given to another process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def spawn(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts ``command`` in a group and session of its own; ``log`` (mode 0600, emptied first) takes its outputs."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        return subprocess.Popen(
            list(command),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=flags,
        )


def birth(pid: int) -> str:
    """When the process ``pid`` began, in the system's own words; empty where there is none, or a zombie."""
    if sys.platform == "win32":
        script = f"(Get-Process -Id {pid}).StartTime.Ticks"
        return _output(["powershell", "-NoProfile", "-Command", script])
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # state; clock ticks from boot to its start
    state, _, start = _output(["ps", "-o", "state=,lstart=", "-p", str(pid)]).partition(" ")
    return "" if state.startswith("Z") else start.strip()


def is_alive(pid: int, born: str) -> bool:
    """Whether ``pid`` runs and is the process that began at ``born``."""
    return pid > 0 and bool(born) and birth(pid) == born


def terminate(pid: int, born: str, patience: float = 15.0) -> bool:
    """Ends the process and its group: asks, waits ``patience`` seconds, insists. False where it was not alive."""
    if not is_alive(pid, born):
        return False
    _signal_group(pid, hard=False)
    deadline = time.monotonic() + patience
    while is_alive(pid, born) and time.monotonic() < deadline:
        time.sleep(0.05)
    if is_alive(pid, born):
        _signal_group(pid, hard=True)
        while is_alive(pid, born):
            time.sleep(0.05)
    return True


def _signal_group(pid: int, *, hard: bool) -> None:
    try:
        if sys.platform == "win32":
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False)
        else:
            os.killpg(pid, signal.SIGKILL if hard else signal.SIGTERM)
    except ProcessLookupError:
        pass


def _output(command: Sequence[str]) -> str:
    return subprocess.run(list(command), capture_output=True, text=True, check=False).stdout.strip()
