"""Starting worker processes: when they are needed, or earlier.

A worker imports for a third of a second, and so does the command that is going to use it. `prestart_workers`, called before
the command's own imports, lets them do so side by side. A worker that nobody takes ends with its parent.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import IO, cast

from pelagia.system.cores import usable_cores

_MOST_AHEAD = 16
"""Without knowing the provider: on a machine of many cores a GPU may turn out to compute."""
_COMMAND = (sys.executable, "-P", "-m", "pelagia_inference.workers.worker")


@dataclass(frozen=True)
class Child:
    """A process that runs `pelagia_inference.workers.worker`, its pipes, and what it writes to stderr."""

    process: Popen[bytes]
    words: IO[bytes]

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdout)


_ahead: deque[Child] = deque()


def prestart_workers(workers: int, provider: str) -> None:
    """Starts workers that `take` will give: so many, or where that is 0 as many as ``provider`` is likely to want."""
    for _ in range(workers or (min(usable_cores(), _MOST_AHEAD) if provider in ("auto", "cpu") else 1)):
        _ahead.append(_start())


def take() -> Child:
    """A worker: one that was started ahead, or a new one."""
    return _ahead.popleft() if _ahead else _start()


def stop_unused_workers() -> None:
    """Ends those that were started ahead and are not needed."""
    while _ahead:
        child = _ahead.popleft()
        child.process.kill()
        child.process.wait()
        for file in (child.stdin, child.stdout, child.words):
            file.close()


def _start() -> Child:
    words: IO[bytes] = TemporaryFile()  # noqa: SIM115 - whoever takes the child closes it
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's: a worker multiplies no matrices with it
    return Child(Popen(_COMMAND, stdin=PIPE, stdout=PIPE, stderr=words, env=environment), words)
