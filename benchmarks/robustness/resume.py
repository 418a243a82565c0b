"""Kills `pelagia train` at random moments and resumes it: is the result that of an uninterrupted run?

    .venv/bin/python -m benchmarks.robustness.resume [--kills 5] [--seed 0] [--every 4] [--dataset DATASET]
        [--set KEY=VALUE ...]

It trains mobilenetv2_100 at 64 px on every fourth FlowCam crop, split by station, with dropout, a moving average and a
checkpoint every few seconds. Half of the kills come at any time of the run, the others right at a checkpoint. Exit code
1 if metrics.csv or the bytes of the best or the last weights differ.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.harness import REPOSITORY, environment, train_command
from benchmarks.training.timm_train import import_flowcam
from pelagia.system.files import sha256_of

COMPARED = ("metrics.csv", "best.safetensors", "last.safetensors")
SETTINGS = (
    "model={backbone: mobilenetv2_100, drop_rate: 0.2}",
    *("preprocess.size=64", "train.batch_size=32", "train.epochs=3", "train.checkpoint_minutes=0.05"),
)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=REPOSITORY, env=environment(), stdout=file, stderr=file)


def finish(command: list[str], log: Path) -> float:
    """Runs the command and returns its seconds. Ends the program with the end of its log if it fails."""
    start_time = time.perf_counter()
    if start(command, log).wait():
        sys.exit(log.read_text()[-3000:])
    return time.perf_counter() - start_time


def written_at(out: Path) -> int:
    with suppress(OSError):
        return (out / "checkpoint.safetensors").stat().st_mtime_ns
    return 0


def kill_once(command: list[str], out: Path, log: Path, moments: random.Random, seconds: float) -> str:
    """Starts the run, kills it, and returns when that was; an empty text if the run ended first."""
    process, start_time = start(command, log), time.perf_counter()
    if moments.random() < 0.5:
        with suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.2, 0.7) * seconds)
    else:
        before = written_at(out)
        while process.poll() is None and written_at(out) == before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.2))
    if process.poll() is not None:
        return ""
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = len((out / "metrics.csv").read_text().splitlines()) - 1 if (out / "metrics.csv").exists() else 0
    return f"after {time.perf_counter() - start_time:.1f} s, in epoch {rows + 1}"


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--every", type=int, default=4, help="N: take every N-th image")
    parser.add_argument("--dataset", type=Path, default=None, help="an imported dataset, instead of FlowCam")
    parser.add_argument("--set", action="append", default=[], help="change a key of the config")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="pelagia-resume-") as temporary:
        root = Path(temporary)
        dataset = (options.dataset or import_flowcam(root, options.every).root).absolute()
        settings = [f"dataset={dataset}", *SETTINGS, f"data.cache={root / 'cache'}", *options.set]
        seconds = finish(train_command(root / "uninterrupted", settings), root / "uninterrupted.log")
        print(f"uninterrupted: {seconds:.1f} s", flush=True)
        command, done = train_command(root / "interrupted", settings), []
        while len(done) < options.kills:
            when = kill_once(command, root / "interrupted", root / "interrupted.log", moments, seconds)
            if not when:
                sys.exit(f"the run ended after {len(done)} kills: set more epochs, or take more images")
            done.append(when)
            print(f"killed {when}", flush=True)
        finish(command, root / "interrupted.log")
        same = {}
        for name in COMPARED:
            expected, found = ((root / run / name).read_bytes() for run in ("uninterrupted", "interrupted"))
            same[name] = expected == found
            verdict = "the same" if same[name] else "DIFFERS"
            print(f"{name}: {verdict}, sha256 {sha256_of(found)[:16]}")
    verdict = "metrics and weights are those of the uninterrupted run" if all(same.values()) else "FAULT"
    print(f"{len(done)} kills: {verdict}")
    sys.exit(not all(same.values()))


if __name__ == "__main__":
    main()
