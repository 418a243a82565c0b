"""A background process that keeps running after the command that started it has ended.

Invariant: a process is never ended only because of its process ID, because the system uses process IDs again. A
process is identified by (pid, birth). The birth is the time when the process started; another process with the same
process ID has another birth.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

_POLL = 0.05
"""Seconds between two checks of a process that is ending."""


def spawn(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts ``command`` in a new session, so that closing the terminal does not end it.

    Args:
        command: the program and its arguments.
        env: the environment variables of the process.
        cwd: the working folder of the process.
        log: the file for the output of the process (mode 0600); it is emptied first.
    """
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
    """When the process ``pid`` started, in hundredths of a second; empty if there is no such process or it has ended.

    On Linux the time is counted from the start of the machine, so that setting the clock does not change it.
    """
    try:
        process = psutil.Process(pid)
        if not _is_running(process):
            return ""
        machine_start = psutil.boot_time() if psutil.LINUX else 0.0
        return str(round((process.create_time() - machine_start) * 100))
    except psutil.Error:
        return ""


def is_alive(pid: int, born: str) -> bool:
    """Whether the process ``pid`` is running and is still the process for which `birth` returned ``born``."""
    return pid > 0 and bool(born) and birth(pid) == born


def terminate(pid: int, born: str, patience: float = 15.0) -> bool:
    """Ends a process and all processes that it started. Returns False if the process was not running.

    Args:
        pid: the process ID.
        born: what `birth` returned when the process started.
        patience: seconds to wait before processes that do not end by themselves are killed.
    """
    if not is_alive(pid, born):
        return False
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:  # it has just ended
        return True
    for member in _running(family):
        _signal(member, hard=False)
    deadline = time.monotonic() + patience
    while _running(family) and time.monotonic() < deadline:
        time.sleep(_POLL)
    while survivors := _running(family):
        for member in survivors:
            _signal(member, hard=True)
        time.sleep(_POLL)
    return True


def _is_running(process: psutil.Process) -> bool:
    """Whether the process is running. A zombie is not: it has ended, and its parent has not read its exit status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _is_running(process)]


def _signal(process: psutil.Process, *, hard: bool) -> None:
    try:
        if hard:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        pass
