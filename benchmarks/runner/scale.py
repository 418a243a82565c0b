"""Measures peak memory and rate of `pelagia classify` for larger and larger inputs.

    .venv/bin/python -m benchmarks.runner.scale [--sizes 10000 100000 1000000] [--kinds zip tar] [--scratch FOLDER]

Real FlowCam crops, made small (900 bytes on average) and repeated under different names, are packed into an archive of
each size, or written into folders. A tiny network classifies them, so a run is mainly Pelagia's own work and takes
minutes. Memory is the peak of the whole process tree. The rates are those of the first and the last tenth of the
images, from the progress lines of ``--json``, which come once a second; runs of a few seconds have none. Targets: the
peaks of all sizes within 5% of each other, and no last tenth more than 5% slower than the first. Exit code 1 if one is
missed. A million images take 1.1 GB of disk as a zip and 1.8 GB as a tar, and the survey another 1.5 GB.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from benchmarks.harness import Finished, classify_command, flowcam, run
from benchmarks.untrained import write_tiny

TARGET = 0.05
PIXELS = 40
CROPS = 200
_NAMES_A_FOLDER = 1000
_LEAST_LINES = 3

Members = Iterator[tuple[str, bytes]]


def small_crops() -> list[bytes]:
    """The smallest FlowCam crops, as JPEGs of at most 40 pixels a side."""
    found = []
    for path in sorted(flowcam(), key=lambda path: (path.stat().st_size, path.name))[:CROPS]:
        pixels = cv2.imread(str(path))
        if pixels is None:
            raise OSError(f"{path} is not an image")
        scale = PIXELS / max(pixels.shape[:2])
        small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        found.append(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())
    return found


def members(crops: Sequence[bytes], count: int) -> Members:
    """Yields different names with the crops, which are repeated."""
    for number in range(count):
        yield f"{number // _NAMES_A_FOLDER:04}/{number:07}.jpg", crops[number % len(crops)]


def write_zip(path: Path, images: Members) -> Path:
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in images:
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def write_tar(path: Path, images: Members) -> Path:
    path = path.with_suffix(".tar")
    with path.open("wb") as file:
        for name, data in images:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
        file.write(bytes(2 * tarfile.BLOCKSIZE))
    return path


def write_folder(path: Path, images: Members) -> Path:
    for name, data in images:
        target = path / name
        if name.endswith("000.jpg"):
            target.parent.mkdir(parents=True)
        target.write_bytes(data)
    return path


KINDS: dict[str, Callable[[Path, Members], Path]] = {"zip": write_zip, "tar": write_tar, "folder": write_folder}


def rate_between(lines: Sequence[dict[str, Any]], start: float, end: float) -> float | None:
    """Images/s from ``start`` to ``end`` images done, from the progress lines; None if there are too few lines."""
    between = [line for line in lines if start <= line["done"] <= end]
    if len(between) < _LEAST_LINES:
        return None
    first, last = between[0], between[-1]
    return float((last["done"] - first["done"]) / (last["seconds"] - first["seconds"]))


def measure(model: Path, images: Path, count: int, out: Path) -> tuple[Finished, float | None, float | None]:
    """Returns the run, and the rates of its first and last tenth."""
    done = run(classify_command(model, [images], out, "--json"))
    finished = done.lines[-1]
    if (finished["event"], finished["done"], finished["failed"]) != ("finished", count, 0):
        raise RuntimeError(f"the run should classify {count} images, but it ended with {finished}")
    lines = [line for line in done.lines if line["event"] == "progress"]
    return done, rate_between(lines, 0, count / 10), rate_between(lines, count * 9 / 10, count)


def main() -> None:
    """Runs the benchmark and prints its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["zip", "tar"])
    parser.add_argument("--scratch", type=Path, help="folder for the inputs; by default the temporary folder")
    options = parser.parse_args()
    crops, missed, compared = small_crops(), [], 0
    print(f"{len(crops)} crops, {sum(map(len, crops)) / len(crops):.0f} bytes on average")
    print(f"{'kind':8}{'images':>10}{'seconds':>10}{'images/s':>10}{'first 10%':>13}{'last 10%':>13}{'peak, MB':>10}")
    for kind in options.kinds:
        peaks = []
        for size in options.sizes:
            with tempfile.TemporaryDirectory(prefix="pelagia-scale-", dir=options.scratch) as folder:
                model = write_tiny(Path(folder, "tiny.onnx"))
                images = KINDS[kind](Path(folder, "images"), members(crops, size))
                done, first, last = measure(model, images, size, Path(folder, "out"))
            peaks.append(done.peak)
            tenths = "".join(f"{'-' if rate is None else round(rate):>13}" for rate in (first, last))
            overall = size / done.seconds
            print(f"{kind:8}{size:10}{done.seconds:10.1f}{overall:10.0f}{tenths}{done.peak / 1e6:10.1f}", flush=True)
            compared += bool(first and last)
            if first and last and last < first * (1 - TARGET):
                missed.append(f"{kind}, {size} images: the last tenth is {1 - last / first:.1%} slower than the first")
        growth = max(peaks) / min(peaks) - 1
        print(f"{kind}: peaks within {growth:.1%}")
        if growth > TARGET:
            missed.append(f"{kind}: the peaks differ by {growth:.1%}")
    if not compared:
        print("no run was long enough to compare its first tenth with its last")
    print("; ".join(missed) or "the targets are met")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
