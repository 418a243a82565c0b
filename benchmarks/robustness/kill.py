"""Kills `pelagia classify` at random moments, for every kind of input: is the result that of an uninterrupted run?

    .venv/bin/python -m benchmarks.robustness.kill [MODEL.onnx] [--kills 30] [--images 3000] [--seed 0]

SIGKILL goes in turn to the main process alone, to its process group, and to one worker process alone, which must not
end the run. After each kill no earlier row may be lost and no process may be left. At the end the CSV must equal that
of the uninterrupted run byte for byte, and the journal row for row. The default model is a tiny network, so most of a
run is Pelagia's own work. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import classify_command, environment, flowcam, journal_state, rows, run, tree
from benchmarks.kinds import make_kinds
from benchmarks.untrained import write_tiny

VICTIMS = ("main", "group", "worker")
CSV = "predictions.csv"
WORKER = "pelagia_inference.workers.worker"
_TOO_LATE = "too late"
_EXIT_SECONDS = 10.0
_ROWS_PER_COMMIT = 512


@dataclass
class Trial:
    """One kind of input whose run is interrupted again and again.

    Attributes:
        faults: sentences; there must be none at the end.
        midway: the number of kills that left some of the rows, but not all.
    """

    name: str
    model: Path
    inputs: Sequence[str]
    folder: Path
    moments: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    midway: int = 0

    def start(self) -> None:
        """Runs without interruption. Every other run must give the same result."""
        self._surveys = 0
        done = run(classify_command(self.model, self.inputs, self.folder / "uninterrupted", "--quiet"))
        self.seconds, self.peak, self.has_workers = done.seconds, done.peak, done.processes > 1
        self.csv = (self.folder / "uninterrupted" / CSV).read_bytes()
        self.rows = rows(self.folder / "uninterrupted")
        self._new_survey()

    def kill(self, victim: str) -> None:
        """Interrupts the run once. If it ended before the chosen moment, tries again with a new survey.

        If there are no worker processes, the main process is killed instead.
        """
        if not self.has_workers:
            victim = victim.replace("worker", "main")
        for _ in range(10):
            if self._kill_once(victim) != _TOO_LATE:
                return
        self.faults.append(f"{self.name}: ten runs ended before they were killed: use more --images")

    def finish(self) -> None:
        """Resumes the interrupted survey to its end, and compares it."""
        run(classify_command(self.model, self.inputs, self.survey, "--quiet"))
        self._compare()

    def _new_survey(self) -> None:
        self._surveys += 1
        self.survey = self.folder / f"interrupted{self._surveys}"
        self.kept: dict[str, tuple[Any, ...]] = {}

    def _kill_once(self, victim: str) -> str:
        command = classify_command(self.model, self.inputs, self.survey, "--quiet")
        with (self.folder / "stderr").open("wb") as stderr:
            process = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=stderr)
        try:
            self._wait_for_a_moment(process)
            return self._kill(process, victim)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_for_a_moment(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until some time in the run for one kill in four, and until rows are written for the others."""
        start = time.monotonic()
        if self.moments.random() < 0.25:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.moments.uniform(0, self.seconds))
        else:
            while process.poll() is None and not self._has_new_rows():
                self._wait_for_a_commit(process)
            left = (len(self.rows) - len(self.kept)) // _ROWS_PER_COMMIT
            for _ in range(self.moments.randint(0, max(0, left - 2))):
                self._wait_for_a_commit(process)
            time.sleep(self.moments.uniform(0, 0.1))
        self.moment = time.monotonic() - start

    def _has_new_rows(self) -> bool:
        with suppress(sqlite3.DatabaseError):  # the files were copied while they were written
            return len(rows(self.survey)) > len(self.kept)
        return False

    def _wait_for_a_commit(self, process: subprocess.Popen[bytes]) -> None:
        before = journal_state(self.survey)
        while process.poll() is None and journal_state(self.survey) == before:
            time.sleep(0.001)

    def _kill(self, process: subprocess.Popen[bytes], victim: str) -> str:
        family = tree(psutil.Process(process.pid)) if process.poll() is None else []
        if victim == "worker" and (workers := _workers(process)):
            return self._kill_worker(process, self.moments.choice(workers))
        if process.poll() is not None or victim == "worker":
            self._finish_unkilled(process)
            return _TOO_LATE
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        self.kills[victim] += 1
        self._require_no_process(family)
        self._require_nothing_lost(victim)
        return victim

    def _kill_worker(self, process: subprocess.Popen[bytes], worker: psutil.Process) -> str:
        try:
            worker.kill()
        except psutil.NoSuchProcess:
            self._finish_unkilled(process)
            return _TOO_LATE
        self.kills["worker"] += 1
        self.log.append(f"a worker after {self.moment:.2f} s")
        self._finish_unkilled(process)
        return "worker"

    def _finish_unkilled(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the run, which must succeed with the right result. The next kill gets a new survey."""
        if process.wait():
            stderr = (self.folder / "stderr").read_text(errors="replace")[-500:]
            self.faults.append(f"{self.name}: ended with code {process.returncode}: {stderr}")
        else:
            self._compare()
        self._new_survey()

    def _require_no_process(self, family: Sequence[psutil.Process]) -> None:
        left = psutil.wait_procs(family, timeout=_EXIT_SECONDS)[1]
        if left:
            self.faults.append(f"{self.name}: {len(left)} processes still run after {_EXIT_SECONDS:.0f} s")

    def _require_nothing_lost(self, victim: str) -> None:
        where = f"{self.name}, {victim} killed after {self.moment:.2f} s"
        try:
            now = rows(self.survey)
        except Exception as error:  # whatever SQLite raises for a damaged journal
            self.faults.append(f"{where}: the journal: {error}")
            return
        for path, row in self.kept.items():
            if now.get(path) != row:
                self.faults.append(f"{where}: the row of {path} was lost or changed")
        self.kept = now
        self.midway += 0 < len(now) < len(self.rows)
        self.log.append(f"{victim} after {self.moment:.2f} s, {len(now)} rows kept")

    def _compare(self) -> None:
        found = rows(self.survey)
        if found != self.rows:
            lost, more = self.rows.keys() - found.keys(), found.keys() - self.rows.keys()
            other = sum(found[path] != self.rows[path] for path in found.keys() & self.rows.keys())
            self.faults.append(f"{self.name}: {len(lost)} rows are lost, {len(more)} too many, {other} differ")
        if (self.survey / CSV).read_bytes() != self.csv:
            self.faults.append(f"{self.name}: the CSV is not that of the uninterrupted run")


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes, as soon as there are any; an empty list if the run ends first."""
    while process.poll() is None:
        found = []
        for child in tree(psutil.Process(process.pid))[1:]:
            with suppress(psutil.Error):
                if WORKER in child.cmdline():
                    found.append(child)
        if found:
            return found
        time.sleep(0.01)
    return []


def plan(kinds: Sequence[str], kills: int) -> Iterable[tuple[str, str]]:
    """Yields (kind, victim) for each kill: all kinds in turn, and all victims of a kind before one is repeated."""
    for number in range(kills):
        turn, index = divmod(number, len(kinds))
        yield kinds[index], VICTIMS[(turn + index) % len(VICTIMS)]


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=3000, help="number of images of each kind of input")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--only", nargs="*", help="kinds of input")
    options = parser.parse_args()
    crops, moments = flowcam(), random.Random(options.seed)
    faults, kills, midway = [], Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="pelagia-kill-") as temporary:
        root = Path(temporary)
        model = options.model or write_tiny(root / "tiny.onnx")
        made = make_kinds(crops, options.images, root)
        kinds = [name for name in made if not options.only or name in options.only]
        wanted = list(plan(kinds, options.kills))
        for name in kinds:
            (root / "out" / name).mkdir(parents=True)
            trial = Trial(name, model, made[name], root / "out" / name, moments)
            trial.start()
            rate = f"{len(trial.rows) / trial.seconds:.0f} images/s, including the start"
            print(f"{name}: uninterrupted, {len(trial.rows)} images, {rate}; peak memory {trial.peak / 1e6:.0f} MB")
            for kind, victim in wanted:
                if kind == name:
                    trial.kill(victim)
            trial.finish()
            print(f"  killed: {'; '.join(trial.log)}")
            print(f"  {'; '.join(trial.faults) or 'the same bytes'}", flush=True)
            faults += trial.faults
            kills += trial.kills
            midway += trial.midway
    by = ", ".join(f"{count} {victim}" for victim, count in kills.items())
    verdict = f"{len(faults)} FAULTS" if faults else "no row lost or repeated, every CSV that of the uninterrupted run"
    print(f"{kills.total()} kills ({by}; {midway} midway) over {len(kinds)} kinds of input: {verdict}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
