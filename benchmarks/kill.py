"""`pelagia classify` over FlowCam: images/s and peak memory; then five SIGKILLs, and whether the CSV is the same.

.venv/bin/python benchmarks/kill.py MODEL.onnx [--copies 1] [--kills 5]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("PELAGIA_DATA", REPOSITORY.parent / "shared" / "data"))


def start(model: Path, images: Path, out: Path) -> subprocess.Popen[bytes]:
    """Starts the command."""
    command = [sys.executable, "-m", "pelagia.cli", "classify", model, images, "--out", out]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)


def whole_run(model: Path, images: Path, out: Path) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a run that nobody breaks off."""
    began, peak = time.monotonic(), 0
    process = start(model, images, out)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    if process.wait():
        sys.exit("classify failed")
    return time.monotonic() - began, peak / 1e6


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    images = DATA / "flowcam_northsea"
    count = sum(1 for _ in images.rglob("*.jpg"))
    with tempfile.TemporaryDirectory(prefix="pelagia-kill-") as folder:
        seconds, peak = whole_run(options.model, images, Path(folder, "whole"))
        rate = f"{count / seconds:.0f} images/s, start-up included"
        print(f"unbroken: {count} images in {seconds:.2f} s: {rate}; peak memory {peak:.0f} MB")
        moments = random.Random(options.seed)
        for number in range(options.kills):
            after = moments.uniform(0.8, 0.8 + seconds / (options.kills + 1))
            process = start(options.model, images, Path(folder, "broken"))
            time.sleep(after)
            if process.poll() is not None:
                sys.exit("it was over before it was killed: more kills than the run has room for")
            process.send_signal(signal.SIGKILL)
            process.wait()
            print(f"SIGKILL {number + 1} after {after:.2f} s")
        whole_run(options.model, images, Path(folder, "broken"))
        same = Path(folder, "whole/predictions.csv").read_bytes() == Path(folder, "broken/predictions.csv").read_bytes()
        print("the CSV is that of the unbroken run, byte for byte" if same else "THE CSV DIFFERS")
        sys.exit(not same)


if __name__ == "__main__":
    main()
