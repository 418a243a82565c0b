"""What the benchmarks share: the real images, commands as a user types them, and the memory of all their processes.

Invariant: the runner is a black box, known by its command line, its exit code, its JSON lines and the survey that it
leaves. Memory is that of the whole process tree, so it holds for any number of workers.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PELAGIA_DATA") or REPOSITORY.parent / "shared" / "data")
JOURNAL = ("survey.sqlite", "survey.sqlite-wal", "survey.sqlite-journal")


def flowcam() -> list[Path]:
    """The FlowCam crops, by name. Ends the program where they are not there."""
    files = sorted((DATA / "flowcam_northsea").rglob("*.jpg"))
    if not files:
        sys.exit(f"no real images at {DATA}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    return files


def real_crops() -> list[Path]:
    """Crops of FlowCam and of fish, by name; none where they are not there."""
    return sorted([*DATA.glob("flowcam_northsea/*/*.jpg"), *DATA.glob("fish4knowledge/*/*.png")])


def pelagia(*arguments: object) -> float:
    """Runs one command, showing it and what it prints; seconds."""
    print("$ pelagia", *arguments, flush=True)
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "pelagia.cli", *map(str, arguments)], cwd=REPOSITORY, check=True)
    return time.monotonic() - began


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without limits on threads, so that each program takes what it takes by itself."""
    own = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return {**own, **(extra or {})}


def classify_command(model: Path, inputs: Sequence[Path | str], out: Path, *options: str) -> list[str]:
    """`pelagia classify`, in a process of its own."""
    words = [sys.executable, "-m", "pelagia.cli", "classify", model, *inputs, "--out", out, *options]
    return list(map(str, words))


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started, as far as they live."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def memory(process: psutil.Process) -> int:
    """Bytes that a process takes: PSS, in which it has its share of what several use; RSS where there is no PSS."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration):  # not Linux, or it is just ending
        with suppress(psutil.Error):
            return int(process.memory_info().rss)
    return 0


class Peak(threading.Thread):
    """Watches a process tree until it ends; ``bytes`` is the most that it took, ``processes`` the most there were."""

    def __init__(self, pid: int, every: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.bytes = self.processes = 0
        self._every = every
        self._over = threading.Event()
        self._process = psutil.Process(pid)
        self.start()

    def run(self) -> None:
        while not self._over.is_set():
            family = tree(self._process)
            self.bytes = max(self.bytes, sum(map(memory, family)))
            self.processes = max(self.processes, len(family))
            self._over.wait(self._every)

    def stop(self) -> None:
        self._over.set()
        self.join()


@dataclass(frozen=True)
class Finished:
    """A command that ended well: seconds from its start, peak memory of its process tree in bytes, its JSON lines.

    Each line has ``at``, the second at which it came.
    """

    seconds: float
    peak: int
    processes: int
    lines: list[dict[str, Any]]


def run(command: Sequence[str], extra: Mapping[str, str] | None = None, cwd: Path | None = None) -> Finished:
    """Runs a command to its end. Raises RuntimeError with the end of what it said where it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(extra), cwd=cwd, stdout=subprocess.PIPE, stderr=said, text=True
        )
        watched = Peak(process.pid)
        lines: list[dict[str, Any]] = []
        heard = ""
        for line in process.stdout or ():
            heard = (heard + line)[-2000:]
            if line.startswith('{"event"'):
                lines.append({**json.loads(line), "at": time.perf_counter() - began})
        code = process.wait()
        seconds = time.perf_counter() - began
        watched.stop()
        if code:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}\nended with {code}:\n{heard}{said.read()[-2000:]}")
        return Finished(seconds, watched.bytes, watched.processes, lines)


def journal_state(survey: Path) -> tuple[int, ...]:
    """Sizes and times of the journal's files: whatever is committed changes them."""
    found: list[int] = []
    for name in JOURNAL:
        with suppress(OSError):
            status = (survey / name).stat()
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)


def rows(survey: Path) -> dict[str, tuple[Any, ...]]:
    """Rows that are committed, by path: what a kill at this moment would leave.

    They are read from a copy of the journal and its log, for the writer holds the file for itself. Raises
    AssertionError where a path stands there twice.
    """
    with tempfile.TemporaryDirectory(prefix="pelagia-journal-") as folder:
        for name in JOURNAL:
            with suppress(FileNotFoundError):
                shutil.copyfile(survey / name, Path(folder, name))
        with closing(sqlite3.connect(Path(folder, JOURNAL[0]))) as db:
            try:
                found = db.execute("SELECT * FROM images").fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                found = []
    by_path = {row[0]: row for row in found}
    assert len(by_path) == len(found), f"{len(found) - len(by_path)} rows are doubled"
    return by_path
