"""Starts worker processes, either when they are needed or in advance.

A worker needs a third of a second for its imports, and so does the command that is going to use it. `prestart_workers`,
called before the command's own imports, lets both import at the same time. A worker that is never used ends when its
parent ends.
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

_MAX_PRESTARTED = 16
"""Largest number of prestarted workers. It is limited because a GPU, which needs few workers, may be chosen later."""
_COMMAND = (sys.executable, "-P", "-m", "pelagia_inference.workers.worker")


@dataclass(frozen=True)
class Child:
    """A process that runs `pelagia_inference.workers.worker`, its pipes, and the file that takes its stderr."""

    process: Popen[bytes]
    stderr: IO[bytes]

    @property
    def stdin(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdin)

    @property
    def stdout(self) -> IO[bytes]:
        return cast("IO[bytes]", self.process.stdout)


_prestarted: deque[Child] = deque()


def prestart_workers(workers: int, provider: str) -> None:
    """Starts workers in advance; `take` returns them.

    Args:
        workers: the number of workers; 0: as many as ``provider`` is likely to need.
        provider: what the user asked for: ``auto`` or a key of `pelagia_inference.machine.providers.PROVIDERS`.
    """
    likely = min(usable_cores(), _MAX_PRESTARTED) if provider in ("auto", "cpu") else 1
    for _ in range(workers or likely):
        _prestarted.append(_start())


def take() -> Child:
    """Returns a worker: a prestarted one, or a new one if none is left."""
    return _prestarted.popleft() if _prestarted else _start()


def stop_unused_workers() -> None:
    """Ends the prestarted workers that are not used."""
    while _prestarted:
        child = _prestarted.popleft()
        child.process.kill()
        child.process.wait()
        for file in (child.stdin, child.stdout, child.stderr):
            file.close()


def _start() -> Child:
    stderr: IO[bytes] = TemporaryFile()  # noqa: SIM115 - the user of the child closes it
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # for numpy, which multiplies no matrices in a worker
    return Child(Popen(_COMMAND, stdin=PIPE, stdout=PIPE, stderr=stderr, env=environment), stderr)
