"""SIGKILL at random moments of `pelagia classify`, over every kind of input: is the result that of an unbroken run?

    .venv/bin/python -m benchmarks.robustness.kill [MODEL.onnx] [--kills 30] [--images 3000] [--seed 0]

Killed are, by turns, the main process alone, its whole process group, and one worker process alone, which must not end
the run. After each kill no row that was there before may be gone and no process may be left over; at the end the CSV
must equal that of the unbroken run byte for byte, and the journal row for row. Without a model a tiny network is used,
so that most of a run is Pelagia's own work. Exit code 1 where anything differs.
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
_LATE = "late"
_SECONDS_TO_END = 10.0
_ROWS_A_COMMIT = 512


@dataclass
class Trial:
    """One kind of input that is broken off again and again.

    ``faults`` are sentences; none may be left at the end. ``midway`` counts the kills that left some rows and not all.
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
        """The unbroken run, which every other one must equal."""
        self._surveys = 0
        done = run(classify_command(self.model, self.inputs, self.folder / "whole", "--quiet"))
        self.seconds, self.peak, self.has_workers = done.seconds, done.peak, done.processes > 1
        self.csv = (self.folder / "whole" / CSV).read_bytes()
        self.rows = rows(self.folder / "whole")
        self._new_survey()

    def kill(self, victim: str) -> None:
        """Breaks the run off once; where it was over before the moment came, a new one, and a little earlier.

        Where the workers are threads there is no worker process, and the main one is killed in its place.
        """
        if not self.has_workers:
            victim = victim.replace("worker", "main")
        for _ in range(10):
            if self._kill_once(victim) != _LATE:
                return
        self.faults.append(f"{self.name}: ten runs were over before they were killed: more --images are needed")

    def finish(self) -> None:
        """Lets the broken survey come to its end, and compares it."""
        run(classify_command(self.model, self.inputs, self.survey, "--quiet"))
        self._compare()

    def _new_survey(self) -> None:
        self._surveys += 1
        self.survey = self.folder / f"broken{self._surveys}"
        self.kept: dict[str, tuple[Any, ...]] = {}

    def _kill_once(self, victim: str) -> str:
        command = classify_command(self.model, self.inputs, self.survey, "--quiet")
        with (self.folder / "stderr").open("wb") as said:
            process = subprocess.Popen(command, env=environment(), start_new_session=True, stderr=said)
        try:
            self._wait_for_a_moment(process)
            return self._kill(process, victim)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _wait_for_a_moment(self, process: subprocess.Popen[bytes]) -> None:
        """One in four at any time of a run, so that its start and its end are hit; the rest while rows are written."""
        began = time.monotonic()
        if self.moments.random() < 0.25:
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.moments.uniform(0, self.seconds))
        else:
            while process.poll() is None and not self._has_new_rows():
                self._wait_for_a_commit(process)
            left = (len(self.rows) - len(self.kept)) // _ROWS_A_COMMIT
            for _ in range(self.moments.randint(0, max(0, left - 2))):
                self._wait_for_a_commit(process)
            time.sleep(self.moments.uniform(0, 0.1))
        self.moment = time.monotonic() - began

    def _has_new_rows(self) -> bool:
        with suppress(sqlite3.DatabaseError):  # copied while it was written
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
            self._ended_by_itself(process)
            return _LATE
        if victim == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        self.kills[victim] += 1
        self._require_all_gone(family)
        self._require_nothing_lost(victim)
        return victim

    def _kill_worker(self, process: subprocess.Popen[bytes], worker: psutil.Process) -> str:
        try:
            worker.kill()
        except psutil.NoSuchProcess:
            self._ended_by_itself(process)
            return _LATE
        self.kills["worker"] += 1
        self.log.append(f"a worker after {self.moment:.2f} s")
        self._ended_by_itself(process)
        return "worker"

    def _ended_by_itself(self, process: subprocess.Popen[bytes]) -> None:
        """The run must end well and whole; the next kill then meets a new survey."""
        if process.wait():
            said = (self.folder / "stderr").read_text(errors="replace")[-500:]
            self.faults.append(f"{self.name}: ended with {process.returncode}: {said}")
        else:
            self._compare()
        self._new_survey()

    def _require_all_gone(self, family: Sequence[psutil.Process]) -> None:
        left = psutil.wait_procs(family, timeout=_SECONDS_TO_END)[1]
        if left:
            self.faults.append(f"{self.name}: {len(left)} processes outlive the main one by {_SECONDS_TO_END:.0f} s")

    def _require_nothing_lost(self, victim: str) -> None:
        where = f"{self.name}, {victim} killed after {self.moment:.2f} s"
        try:
            now = rows(self.survey)
        except Exception as error:  # whatever SQLite says of a broken journal
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
            self.faults.append(f"{self.name}: {len(lost)} rows lost, {len(more)} too many, {other} differ")
        if (self.survey / CSV).read_bytes() != self.csv:
            self.faults.append(f"{self.name}: the CSV is not that of the unbroken run")


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Worker processes, as soon as there is one; none where the run ended before."""
    while process.poll() is None:
        found = []
        for one in tree(psutil.Process(process.pid))[1:]:
            with suppress(psutil.Error):
                if WORKER in one.cmdline():
                    found.append(one)
        if found:
            return found
        time.sleep(0.01)
    return []


def plan(kinds: Sequence[str], kills: int) -> Iterable[tuple[str, str]]:
    """(kind, victim) of each kill: every kind in turn, and every victim of every kind before one comes again."""
    for number in range(kills):
        turn, place = divmod(number, len(kinds))
        yield kinds[place], VICTIMS[(turn + place) % len(VICTIMS)]


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--images", type=int, default=3000, help="of each kind of input")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
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
            rate = f"{len(trial.rows) / trial.seconds:.0f} images/s, start-up included"
            print(f"{name}: unbroken, {len(trial.rows)} images, {rate}; peak memory {trial.peak / 1e6:.0f} MB")
            for kind, victim in wanted:
                if kind == name:
                    trial.kill(victim)
            trial.finish()
            print(f"  killed: {'; '.join(trial.log)}")
            print(f"  {'; '.join(trial.faults) or 'the same to the byte'}", flush=True)
            faults += trial.faults
            kills += trial.kills
            midway += trial.midway
    by = ", ".join(f"{count} {victim}" for victim, count in kills.items())
    verdict = f"{len(faults)} FAULTS" if faults else "no row lost, none doubled, every CSV that of the unbroken run"
    print(f"{kills.total()} kills ({by}; {midway} midway) over {len(kinds)} kinds of input: {verdict}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
