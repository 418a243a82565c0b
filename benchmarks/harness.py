"""What the benchmarks share: the real images, commands as a user types them, and the memory of all their processes.

Invariant: the benchmarks use the runner only through its command line, its exit code, its JSON lines and the survey
that it leaves. Memory is that of the whole process tree, so it includes any number of workers. Other programs that map
the same libraries at the same time do not change it.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PELAGIA_DATA") or REPOSITORY / "data")
_FILES_EVERY = 5
"""Mapped files are measured only every fifth time: it takes twice as long as all else, and they change little."""
JOURNAL = ("survey.sqlite", "survey.sqlite-wal", "survey.sqlite-journal")


def flowcam() -> list[Path]:
    """The FlowCam crops, sorted by name. Ends the program if there are none."""
    files = sorted((DATA / "flowcam_northsea").rglob("*.jpg"))
    if not files:
        sys.exit(f"there are no real images at {DATA}: set PELAGIA_DATA to the folder that contains flowcam_northsea")
    return files


def real_crops() -> list[Path]:
    """Crops of FlowCam and of fish, sorted by name; an empty list if there are none."""
    return sorted([*DATA.glob("flowcam_northsea/*/*.jpg"), *DATA.glob("fish4knowledge/*/*.png")])


def pelagia(*arguments: object) -> float:
    """Runs one command, and shows it and its output. Returns the seconds that it took."""
    print("$ pelagia", *arguments, flush=True)
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "pelagia.cli", *map(str, arguments)], cwd=REPOSITORY, check=True)
    return time.monotonic() - start


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without limits on threads, so that each program uses as many as it chooses."""
    unlimited = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return {**unlimited, **(extra or {})}


def classify_command(model: Path, inputs: Sequence[Path | str], out: Path, *options: str) -> list[str]:
    """The command line of `pelagia classify`."""
    words = [sys.executable, "-m", "pelagia.cli", "classify", model, *inputs, "--out", out, *options]
    return list(map(str, words))


def train_command(out: Path, settings: Sequence[str]) -> list[str]:
    """The command line of `pelagia train` with the baseline and some settings, without an export at its end."""
    words = [sys.executable, "-m", "pelagia.cli", "train", "configs/training/baseline.yaml", "--no-export"]
    return [*words, "--out", str(out), *(word for setting in settings for word in ("--set", setting))]


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all processes that it started, if they are still running."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def own_memory(process: psutil.Process) -> int:
    """Bytes of memory of a process without mapped files, with its share of shared memory. RSS if it is not Linux."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        shares = [line.split()[1] for line in text.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        return sum(map(int, shares)) * 1024
    except (OSError, ValueError):  # not Linux, or the process is ending
        with suppress(psutil.Error):
            return int(process.memory_info().rss)
    return 0


def file_memory(family: Sequence[psutil.Process]) -> int:
    """Bytes of the mapped files of a process tree, such as libraries, each counted once. 0 if it is not Linux.

    PSS would assign a share of them to other programs: a run took 9 MB less while a training mapped the same libraries,
    and a long run, which is alone at some time, took more than a short one.
    """
    largest: dict[tuple[str, ...], int] = {}
    for process in family:
        try:
            text = Path(f"/proc/{process.pid}/smaps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for mapping, kilobytes in _mapped_files(text):
            largest[mapping] = max(largest.get(mapping, 0), kilobytes)
    return sum(largest.values()) * 1024


def _mapped_files(smaps: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yields for each mapping of a file on a disk: its offset, device and inode; and its kB in memory."""
    mapping: tuple[str, ...] | None = None
    resident = 0
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            on_disk = words[4] != "0" and not words[5].startswith(("/dev/", "/memfd:", "/SYSV"))
            mapping = tuple(words[2:5]) if on_disk else None
        elif words[0] == "Rss:":
            resident = int(words[1])
        elif words[0] == "Anonymous:" and mapping:  # pages that the process wrote to belong to it alone
            yield mapping, resident - int(words[1])


class Peak(threading.Thread):
    """Measures a process tree until `stop`: ``bytes`` is its peak memory, ``processes`` the most processes at once.

    A process counts from the second measurement on: until it runs its own program, it has its parent's memory.
    """

    def __init__(self, pid: int, every: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.bytes = self.processes = 0
        self._every = every
        self._stopped = threading.Event()
        self._process = psutil.Process(pid)
        self.start()

    def run(self) -> None:
        files, known = 0, set[int]()
        for tick in count():
            family = tree(self._process)
            self.processes = max(self.processes, len(family))
            family, known = [member for member in family if member.pid in known], {member.pid for member in family}
            if tick % _FILES_EVERY == 1:
                files = file_memory(family)
            self.bytes = max(self.bytes, sum(map(own_memory, family)) + files)
            if self._stopped.wait(self._every):
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()


@dataclass(frozen=True)
class Finished:
    """A command that succeeded.

    Attributes:
        seconds: from its start to its end.
        peak: peak memory of its process tree, in bytes.
        processes: the highest number of processes in its tree.
        lines: the JSON lines that it printed, each with ``at``, the second at which it came.
    """

    seconds: float
    peak: int
    processes: int
    lines: list[dict[str, Any]]


def run(command: Sequence[str], extra: Mapping[str, str] | None = None, cwd: Path | None = None) -> Finished:
    """Runs a command to its end. Raises RuntimeError with the end of its output if it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(extra), cwd=cwd, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
        peak = Peak(process.pid)
        lines: list[dict[str, Any]] = []
        output = ""
        for line in process.stdout or ():
            output = (output + line)[-2000:]
            if line.startswith('{"event"'):
                lines.append({**json.loads(line), "at": time.perf_counter() - start})
        code = process.wait()
        seconds = time.perf_counter() - start
        peak.stop()
        if code:
            stderr.seek(0)
            raise RuntimeError(f"{' '.join(command)}\nended with code {code}:\n{output}{stderr.read()[-2000:]}")
        return Finished(seconds, peak.bytes, peak.processes, lines)


def journal_state(survey: Path) -> tuple[int, ...]:
    """Sizes and times of the journal's files. Every commit changes them."""
    found: list[int] = []
    for name in JOURNAL:
        with suppress(OSError):
            status = (survey / name).stat()
            found += [status.st_size, status.st_mtime_ns]
    return tuple(found)


def rows(survey: Path) -> dict[str, tuple[Any, ...]]:
    """The committed rows, by path: what would be left if the run were killed now.

    They are read from a copy of the journal and its write-ahead log, because the writer locks the files. Raises
    AssertionError if a path appears twice.
    """
    with tempfile.TemporaryDirectory(prefix="pelagia-journal-") as folder:
        for name in JOURNAL:
            with suppress(FileNotFoundError):
                shutil.copyfile(survey / name, Path(folder, name))
        with closing(sqlite3.connect(Path(folder, JOURNAL[0]))) as db:
            has_table = db.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'images'").fetchone()[0]
            found = db.execute("SELECT * FROM images").fetchall() if has_table else []
    by_path = {row[0]: row for row in found}
    assert len(by_path) == len(found), f"{len(found) - len(by_path)} paths appear twice"
    return by_path
