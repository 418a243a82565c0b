"""What the benchmarks share: the real images, commands as a user types them, and the memory of all their processes.

Invariant: the runner is a black box, known by its command line, its exit code, its JSON lines and the survey that it
leaves. Memory is that of the whole process tree, so it holds for any number of workers; what runs beside it and maps
the same libraries does not change it.
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
DATA = Path(os.environ.get("PELAGIA_DATA") or REPOSITORY.parent / "shared" / "data")
_FILES_EVERY = 5
"""Mapped files are looked at every so many times: that takes twice as long as all else, and they change little."""
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


def train_command(out: Path, settings: Sequence[str]) -> list[str]:
    """`pelagia train` of the baseline with other settings, without the model at its end, in a process of its own."""
    words = [sys.executable, "-m", "pelagia.cli", "train", "configs/training/baseline.yaml", "--no-export"]
    return [*words, "--out", str(out), *(word for one in settings for word in ("--set", one))]


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started, as far as they live."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def own_memory(process: psutil.Process) -> int:
    """Bytes that a process takes but for mapped files, with its share of what several use; RSS where nobody tells."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        shares = [line.split()[1] for line in text.splitlines() if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        return sum(map(int, shares)) * 1024
    except (OSError, ValueError):  # not Linux, or it is just ending
        with suppress(psutil.Error):
            return int(process.memory_info().rss)
    return 0


def file_memory(family: Sequence[psutil.Process]) -> int:
    """Bytes of the mapped files of a process tree, such as libraries, each counted once; 0 where nobody tells.

    PSS would give other programs their share of them: a run beside a training that maps the same libraries took 9 MB
    less, and a longer run, which at some time is alone, more than a short one.
    """
    most: dict[tuple[str, ...], int] = {}
    for process in family:
        try:
            text = Path(f"/proc/{process.pid}/smaps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for place, kilobytes in _mapped_files(text):
            most[place] = max(most.get(place, 0), kilobytes)
    return sum(most.values()) * 1024


def _mapped_files(smaps: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """(offset, device and number of the file; its kB in memory) of each mapping of a file on a disk."""
    place: tuple[str, ...] | None = None
    resident = 0
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            on_disk = words[4] != "0" and not words[5].startswith(("/dev/", "/memfd:", "/SYSV"))
            place = tuple(words[2:5]) if on_disk else None
        elif words[0] == "Rss:":
            resident = int(words[1])
        elif words[0] == "Anonymous:" and place:  # pages that the process wrote to are its own
            yield place, resident - int(words[1])


class Peak(threading.Thread):
    """Watches a process tree until it ends; ``bytes`` is the most that it took, ``processes`` the most there were.

    A process counts from the second time that it is seen: until a new one runs its program, it has its parent's memory.
    """

    def __init__(self, pid: int, every: float = 0.05) -> None:
        super().__init__(daemon=True)
        self.bytes = self.processes = 0
        self._every = every
        self._over = threading.Event()
        self._process = psutil.Process(pid)
        self.start()

    def run(self) -> None:
        files, known = 0, set[int]()
        for tick in count():
            family = tree(self._process)
            self.processes = max(self.processes, len(family))
            family, known = [one for one in family if one.pid in known], {one.pid for one in family}
            if tick % _FILES_EVERY == 1:
                files = file_memory(family)
            self.bytes = max(self.bytes, sum(map(own_memory, family)) + files)
            if self._over.wait(self._every):
                return

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
