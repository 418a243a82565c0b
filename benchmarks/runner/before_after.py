"""Compares two checkouts of Pelagia: the rate and the memory of listing and of classifying, for each kind of input.

    .venv/bin/python -m benchmarks.runner.before_after BEFORE AFTER [--images 40000] [--crops 4000] [--rounds 5]

BEFORE and AFTER are folders of checkouts, as made by ``git worktree add ../before origin/main``. Both run in turn, with
this interpreter and its packages, so that the two runs of a round have the same machine. The rate of listing is
images per second of processor time, that of classifying images per second of the clock; memory is that of the whole
process tree. Each result is the median of the ratios of the rounds. The exit code is 1 if a median rate is below 0.97,
or a median memory above 1.03.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import Finished, classify_command, real_crops, run
from benchmarks.kinds import make_kinds
from benchmarks.untrained import write_tiny

SLOWEST, LARGEST = 0.97, 1.03
_PARTS = ("core", "inference", "labeling", "training")
_LIST = """
import json, sys, time
from pathlib import Path
from pelagia.sources import list_images
start = time.process_time()
count = sum(1 for _ in list_images([Path(name) for name in sys.argv[1:]]))
print(json.dumps({"event": "listed", "count": count, "seconds": time.process_time() - start}))
"""


def python_path(checkout: Path) -> dict[str, str]:
    """The environment in which Python imports the packages of a checkout."""
    return {"PYTHONPATH": os.pathsep.join(str(checkout / part) for part in _PARTS)}


Measured = tuple[float, int, int]
"""Images per second, peak memory in bytes, number of images."""


def listed(checkout: Path, inputs: Sequence[str]) -> Measured:
    """Listing: its rate is per second of processor time."""
    done = run([sys.executable, "-c", _LIST, *inputs], python_path(checkout), checkout)
    count = done.lines[-1]["count"]
    return count / done.lines[-1]["seconds"], done.peak, count


def classified(checkout: Path, model: Path, inputs: Sequence[str], images: int) -> Measured:
    """`pelagia classify`: its rate is per second of the clock, start-up included."""
    with tempfile.TemporaryDirectory(prefix="pelagia-before-after-") as folder:
        command = classify_command(model, inputs, Path(folder, "out"), "--quiet")
        done: Finished = run(command, python_path(checkout), checkout)
    return images / done.seconds, done.peak, images


def compare(name: str, measure: Callable[[Path], Measured], checkouts: Sequence[Path], rounds: int) -> bool:
    """Measures both checkouts in turn, prints the ratios, and returns whether the targets are met."""
    rates, memories = [], []
    for number in range(rounds):
        order = checkouts if number % 2 == 0 else checkouts[::-1]
        found = {checkout: measure(checkout) for checkout in order}
        (rate_before, memory_before, before), (rate_after, memory_after, after) = (found[path] for path in checkouts)
        if before != after:
            print(f"{name:30} {before} images before, {after} now", flush=True)
            return False
        rates.append(rate_after / rate_before)
        memories.append(memory_after / memory_before)
    rate, memory = statistics.median(rates), statistics.median(memories)
    print(
        f"{name:30} rate x {rate:.3f} ({min(rates):.3f} to {max(rates):.3f}; now {rate_after:,.0f}/s)   "
        f"memory x {memory:.3f} (now {memory_after >> 20} MB)",
        flush=True,
    )
    return rate >= SLOWEST and memory <= LARGEST


def crops_in(folder: Path) -> list[Path]:
    """Real crops if there are any; otherwise images of noise."""
    found = real_crops()
    if not found:
        rng = np.random.default_rng(0)
        for number in range(50):
            path = folder / f"noise{number:02}.jpg"
            cv2.imwrite(str(path), rng.integers(0, 256, (100, 120, 3), np.uint8))
            found.append(path)
    return found


def main() -> int:
    """Runs the benchmark, prints its results, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs=2, metavar="CHECKOUT")
    parser.add_argument("--images", type=int, default=40_000, help="images of an input that is listed")
    parser.add_argument("--crops", type=int, default=4_000, help="images of an input that is classified")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", help="kinds of inputs; by default all")
    options = parser.parse_args()
    checkouts = [checkout.resolve() for checkout in options.checkouts]
    met = []
    with tempfile.TemporaryDirectory(prefix="pelagia-before-after-") as name:
        root = Path(name)
        crops = crops_in(root)
        model = write_tiny(root / "tiny.onnx")
        for verb, count in (("list", options.images), ("classify", options.crops)):
            (root / verb).mkdir()
            kinds = make_kinds(crops, count, root / verb)
            for kind in options.kinds or kinds:
                inputs = kinds[kind]
                measure = (
                    partial(listed, inputs=inputs)
                    if verb == "list"
                    else partial(classified, model=model, inputs=inputs, images=count)
                )
                met.append(compare(f"{verb}, {kind}", measure, checkouts, options.rounds))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
