"""Measures `pelagia report`: seconds, memory, size of the page, and the time until Chromium shows something.

    .venv/bin/python -m benchmarks.runner.report [MODEL.onnx]

Two surveys: the 5,241 FlowCam crops, classified with MODEL or with a tiny untrained network; and 100,000 rows with
invented probabilities, which refer to the same crops. Positions, dates, depths and stations are invented for both.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from benchmarks.harness import classify_command, flowcam, run
from benchmarks.untrained import write_tiny
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of_file

MEGABYTE = 1e6
LOADS = 5


def columns_of(station: int) -> dict[str, str]:
    """Invented columns of a station."""
    return {
        "station": f"station {station}",
        "eventDate": f"2024-{1 + station // 28 % 12:02}-{1 + station % 28:02}T08:00:00Z",
        "decimalLatitude": f"{51 + station % 40 / 10:.2f}",
        "decimalLongitude": f"{2 + station // 40 % 40 / 10:.2f}",
        "minimumDepthInMeters": str(5 * (station % 12)),
        "maximumDepthInMeters": str(5 * (station % 12) + 5),
        "pixel_size_um": "1.35",
    }


def write_manifest(folder: Path, files: Sequence[Path]) -> Path:
    """Copies the crops into a folder, with a manifest of 176 stations."""
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *columns_of(0)])
        for index, source in enumerate(files):
            shutil.copyfile(source, folder / f"{index:05}.jpg")
            writer.writerow([f"{index:05}.jpg", *columns_of(index % 176).values()])
    return manifest


def invented(files: Sequence[Path], images: int, classes: int) -> Iterator[Prediction]:
    """Rows with probabilities of a Dirichlet distribution; a hundredth failed."""
    random = np.random.default_rng(0)
    hashes = [sha256_of_file(file) for file in files]
    for index in range(images):
        at, columns = index % len(files), columns_of(index // 500)
        if index % 100 == 99:
            yield Prediction(
                f"{index:06}.jpg", str(files[at]), reason="truncated", message="ends early", columns=columns
            )
            continue
        probabilities = random.dirichlet(np.full(classes, 0.1)).astype(np.float32)
        yield Prediction(f"{index:06}.jpg", str(files[at]), hashes[at], probabilities=probabilities, columns=columns)


def write_invented(folder: Path, files: Sequence[Path], images: int, classes: int = 15) -> Path:
    """Writes a survey without a run."""
    names = [f"class {number}" for number in range(classes)]
    with Survey.open_for_writing(folder, model_sha256="0" * 64, classes=names, settings={}) as survey:
        batch: list[Prediction] = []
        for row in invented(files, images, classes):
            batch.append(row)
            if len(batch) == 5000:
                survey.add(batch)
                batch = []
        survey.add(batch)
    return folder


def first_paints(page: Path) -> list[float]:
    """Milliseconds until Chromium paints something of the page, in several loads, each in a new profile."""
    found = []
    with sync_playwright() as driver:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(LOADS):
            context = browser.new_context(offline=True)
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
            found.append(tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            context.close()
        browser.close()
    return found


def measure(survey: Path, what: str) -> None:
    """Makes the page of a survey and prints one line."""
    page = survey / "report.html"
    done = run([sys.executable, "-m", "pelagia.cli", "report", str(survey)])
    paints = sorted(first_paints(page))
    size = page.stat().st_size / MEGABYTE
    print(
        f"{what}: {done.seconds:.1f} s, peak {done.peak / MEGABYTE:.0f} MB, page {size:.2f} MB, "
        f"first paint {paints[len(paints) // 2]:.0f} ms (median of {LOADS}, {paints[0]:.0f} to {paints[-1]:.0f})",
        flush=True,
    )


def main() -> None:
    """Measures both surveys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the invented survey")
    given = parser.parse_args()
    files = flowcam()
    with tempfile.TemporaryDirectory(prefix="pelagia-report-") as folder:
        root = Path(folder)
        crops = root / "crops"
        crops.mkdir()
        model = given.model or write_tiny(root / "tiny.onnx")
        run(classify_command(model, [write_manifest(crops, files)], root / "flowcam", "--quiet"))
        measure(root / "flowcam", f"{len(files):,} FlowCam crops, 176 stations")
        many = write_invented(root / "many", files, given.rows)
        measure(many, f"{given.rows:,} rows, {given.rows // 500:,} stations")


if __name__ == "__main__":
    main()
