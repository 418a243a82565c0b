"""Measures rate and peak memory of `pelagia counts` for larger and larger surveys.

    .venv/bin/python -m benchmarks.runner.counts [--sizes 10000 100000 1000000] [--scratch FOLDER]

The surveys have 50 classes, a sample for each 1,000 images and eight columns of the input, and are written straight
into a journal. Memory is the peak of the process tree. Target: the peak of the largest survey at most 100 MB above that
of the smallest. A million images take 0.7 GB of disk. Exit code 1 if the target is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import run
from pelagia.survey.journal import Prediction, Survey

CLASSES = 50
SAMPLE = 1000
TARGET = 100e6
_AT_ONCE = 5000


def rows(images: int) -> Iterator[Prediction]:
    """Yields rows with made-up probabilities, sorted by path."""
    patterns = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.05), 1000).astype(np.float32)
    for number in range(images):
        sample = number // SAMPLE
        columns = {
            "sample": f"S{sample:05}",
            "station": f"ST{sample // 4:04}",
            "eventDate": "2024-05-01T10:00:00Z",
            "decimalLatitude": "54.1",
            "decimalLongitude": "7.9",
            "sampleSizeValue": "50",
            "sampleSizeUnit": "cubic metre",
            "acq_sub_part": "16",
        }
        path = f"S{sample:05}/{number:08}.png"
        yield Prediction(path, f"/data/{path}", "0" * 64, probabilities=patterns[number % 1000], columns=columns)


def write(folder: Path, images: int) -> None:
    """Writes a survey."""
    names = [f"class_{index:02}" for index in range(CLASSES)]
    with Survey.open_for_writing(folder, model_sha256="a" * 64, classes=names, settings={}) as survey:
        batch: list[Prediction] = []
        for row in rows(images):
            batch.append(row)
            if len(batch) == _AT_ONCE:
                survey.add(batch)
                batch = []
        survey.add(batch)


def measure(folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in bytes of one run."""
    words = [sys.executable, "-m", "pelagia.cli", "counts", folder, "--out", folder / "counts.csv"]
    done = run(list(map(str, words)))
    return done.seconds, done.peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--scratch", type=Path, default=None, help="where the surveys are written")
    options = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        for images in options.sizes:
            folder = Path(scratch, str(images))
            write(folder, images)
            seconds, peak = measure(folder)
            peaks.append(peak)
            print(f"{images:9} images: {images / seconds:8.0f} images/s, peak {peak / 1e6:.0f} MB", flush=True)
    if peaks[-1] - peaks[0] > TARGET:
        sys.exit(f"the peak grew by {(peaks[-1] - peaks[0]) / 1e6:.0f} MB, more than {TARGET / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
