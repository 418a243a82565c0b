"""Training throughput beside timm's own train.py: the same network, size, batch, images and cores.

    .venv/bin/python -m benchmarks.training.timm_train TIMM/train.py [--rounds 3] [--epochs 3] [--every 1]
        [--timm-python PYTHON] [--set train.compile=true ...] [--timm=--channels-last ...]

Both train mobilenetv2_100 at 128 px on FlowCam crops, with flips, scale, shift and colour (and rotation, which timm's
script lacks), AdamW, label smoothing and no moving average, and validate after each epoch on the same images. They
take turns. An epoch lasts from one epoch's first word to the next one's, validation included; the first, in which
things are warmed up and ours fills its cache, does not count. timm is given as many loading processes as there are
cores; `--timm=--channels-last` gives it the memory layout that ours always has.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.harness import DATA, REPOSITORY, environment, pelagia, train_command
from pelagia.dataset.schema import Dataset

NETWORK, SIZE, BATCH = "mobilenetv2_100", 128, 64
TARGET = 1.3
OURS = re.compile(r"^epoch +(\d+)/")
THEIRS = re.compile(r"^Train: +(\d+) \[ +0/")


def import_flowcam(folder: Path, every: int) -> Dataset:
    """Every so many-th FlowCam crop as a dataset by station."""
    source = DATA / "flowcam_northsea"
    if not source.is_dir():
        sys.exit(f"there is no {source}: set PELAGIA_DATA to the folder that holds flowcam_northsea")
    with (source / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::every]
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    taxonomy = REPOSITORY / "configs/taxonomy/flowcam_northsea.yaml"
    named = ("--manifest", manifest, "--group-column", "station", "--taxonomy", taxonomy)
    pelagia("dataset", "import", source, *named, "--out", folder / "dataset")
    return Dataset.read(folder / "dataset")


def as_folders(dataset: Dataset, folder: Path) -> None:
    """The dataset as timm wants it: links in a folder a split and a class."""
    for record in dataset.records:
        place = folder / record.split / record.class_name
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{record.sha256[:16]}{Path(record.path).suffix}").symlink_to(dataset.file(record).resolve())


def our_command(dataset: Dataset, out: Path, cache: Path, epochs: int, settings: Sequence[str]) -> list[str]:
    network = f"model={{backbone: {NETWORK}, drop_rate: 0.2}}"
    sizes = (f"preprocess.size={SIZE}", f"train.batch_size={BATCH}", f"train.epochs={epochs}", "train.ema_decay=0")
    given = [f"dataset={dataset.root}", f"data.cache={cache}", network, *sizes, "train.patience=1000", *settings]
    return train_command(out, given)


def timm_command(
    python: str, script: Path, images: Path, classes: int, out: Path, epochs: int, options: Sequence[str]
) -> list[str]:
    """timm numbers the classes of each split by the folders it finds, so its accuracy says nothing where one lacks."""
    words = [python, script, "--data-dir", images, "--train-split", "train", "--val-split", "val", "--device", "cpu"]
    words += ["--model", NETWORK, "--num-classes", classes, "--img-size", SIZE, "--batch-size", BATCH, "--drop", 0.2]
    words += ["--epochs", epochs, "--opt", "adamw", "--lr", 1e-3, "--weight-decay", 0.05, "--clip-grad", 1.0]
    words += ["--hflip", 0.5, "--vflip", 0.5, "--scale", 0.7, 1.0, "--color-jitter", 0.2, "--smoothing", 0.1]
    words += ["--warmup-epochs", 1, "--workers", os.cpu_count() or 1, "--log-interval", 1000, "--output", out]
    return [*map(str, words), *options]


def seconds_an_epoch(command: Sequence[str], pattern: re.Pattern[str], cwd: Path) -> list[float]:
    """How long each epoch but the first took. Exits with what was said where the command fails."""
    process = subprocess.Popen(
        command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    moments: list[float] = []
    said = ""
    for line in process.stdout or ():
        said = (said + line)[-3000:]
        if pattern.match(line.strip()):
            moments.append(time.perf_counter())
    if process.wait() or len(moments) < 2:
        sys.exit(f"{' '.join(command)}\nended with {process.returncode}:\n{said}")
    return [later - earlier for earlier, later in pairwise(moments)]


def main() -> None:
    """Runs the benchmark and prints its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", type=Path, help="timm's train.py")
    parser.add_argument("--timm-python", default=sys.executable, help="the Python that has timm and torchvision")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of each run; the first does not count")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th image")
    parser.add_argument("--timm", action="append", default=[], help="an option of timm's script")
    parser.add_argument("--set", action="append", default=[], help="changes of our config")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pelagia-timm-") as temporary:
        root = Path(temporary)
        dataset = import_flowcam(root, options.every)
        as_folders(dataset, root / "folders")
        images, watched = len(dataset.split("train")), len(dataset.split("val"))
        print(f"{NETWORK} at {SIZE} px, batch {BATCH}: {images} images an epoch, then {watched} validated", flush=True)
        ratios = []
        for turn in range(options.rounds):
            ours = our_command(dataset, root / f"ours{turn}", root / "cache", options.epochs, options.set)
            classes = len(dataset.class_names)
            theirs = timm_command(
                options.timm_python,
                options.script.resolve(),
                root / "folders",
                classes,
                root / f"timm{turn}",
                options.epochs,
                options.timm,
            )
            took_ours = statistics.median(seconds_an_epoch(ours, OURS, REPOSITORY))
            took_theirs = statistics.median(seconds_an_epoch(theirs, THEIRS, root))
            ratios.append(took_theirs / took_ours)
            rates = f"pelagia {images / took_ours:.1f} images/s, timm {images / took_theirs:.1f}"
            print(f"round {turn + 1}: {rates}; ratio {ratios[-1]:.2f}", flush=True)
    ratio = statistics.median(ratios)
    print(f"ratio {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}, target {TARGET}) on {os.cpu_count()} cores")
    sys.exit(ratio < TARGET)


if __name__ == "__main__":
    main()
