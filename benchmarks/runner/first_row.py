"""Measures the time from the start of `pelagia classify` to the first rows that a kill could not take away.

    .venv/bin/python -m benchmarks.runner.first_row [MODEL.onnx] [INPUT ...] [--rounds 5]

The writer locks survey.sqlite, so no other process can query it, but its files can be copied. Whenever the journal or
its write-ahead log has changed, both are copied and the copy is opened, which shows what SQLite would recover if the
run were killed now. The time is that of the first copy that has rows. The default model is a tiny network, the default
input the FlowCam crops. Every round makes a new survey and ends with a kill.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.harness import DATA, classify_command, environment, flowcam, journal_state, rows
from benchmarks.untrained import write_tiny

TARGET = 2.0
_TIMEOUT = 120.0


def seconds_to_first_row(command: Sequence[str], survey: Path) -> tuple[float, int]:
    """Seconds from the start of the process to its first committed rows, and how many those were."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment(), start_new_session=True)
    try:
        before: tuple[int, ...] = ()
        while time.perf_counter() - start < _TIMEOUT:
            now, ended = journal_state(survey), process.poll() is not None
            seconds = time.perf_counter() - start
            if now != before and (count := len(rows(survey))):
                return seconds, count
            before = now
            if ended:
                raise RuntimeError(f"the run ended with code {process.returncode} and wrote no row")
            time.sleep(0.005)
        raise RuntimeError(f"no row within {_TIMEOUT:.0f} s")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("inputs", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.inputs:
        flowcam()
    inputs = options.inputs or [DATA / "flowcam_northsea"]
    with tempfile.TemporaryDirectory(prefix="pelagia-first-row-") as folder:
        model = options.model or write_tiny(Path(folder, "tiny.onnx"))
        times = []
        for number in range(options.rounds):
            survey = Path(folder, f"out{number}")
            seconds, count = seconds_to_first_row(classify_command(model, inputs, survey, "--quiet"), survey)
            times.append(seconds)
            print(f"round {number + 1}: {seconds:.2f} s to the first {count} rows", flush=True)
    median = statistics.median(times)
    spread = f"{min(times):.2f} to {max(times):.2f}"
    print(f"median {median:.2f} s ({spread}); target {TARGET:.0f} s: {'met' if median <= TARGET else 'NOT MET'}")
    sys.exit(median > TARGET)


if __name__ == "__main__":
    main()
