"""`pelagia bench`: what this machine can do with a model, what the runner gets out of it, and the best setting.

The ideal shares the cost of decoding and of the network over all cores: 1 / (1/decode + 1/network), each rate measured
with every core busy in this very run. Efficiency is the rate of the whole command, start-up and journal included, over
the ideal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError
from pelagia.model import ModelFile
from pelagia.preprocess import ImageError, load
from pelagia.sources import SourceImage, list_images
from pelagia_inference.session import Session
from pelagia_inference.setting import Setting, cores

BATCHES = (1, 2, 4, 8, 16)
_SECONDS = 2.0
_SAMPLE = 2000


@dataclass(frozen=True)
class Bench:
    """Rates in images/s. ``network`` holds each setting tried; ``end_to_end`` is of the whole command."""

    decode: float
    network: dict[Setting, float]
    end_to_end: float
    images: int

    @property
    def best(self) -> Setting:
        """The setting with the highest network rate."""
        return max(self.network, key=lambda setting: self.network[setting])

    @property
    def ideal(self) -> float:
        return 1 / (1 / self.decode + 1 / self.network[self.best])

    @property
    def efficiency(self) -> float:
        return self.end_to_end / self.ideal


def bench(
    model: ModelFile,
    inputs: Sequence[Path],
    *,
    seconds: float = _SECONDS,
    report: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measures decode-only, network-only and end to end.

    Args:
        inputs: images to measure on; the end-to-end run takes all of them.
        seconds: how long each of the first two kinds of measurement runs.

    Raises:
        InputError: no image of the inputs can be used.
    """
    sample = list(islice(list_images(inputs), _SAMPLE))
    spec = model.metadata.preprocess
    pixels = _fitted(sample, model)
    report("decoding alone, every core busy")
    decode = _rate(cores(), seconds, partial(_decoder, sample, model))
    network = {}
    for setting in settings():
        report(f"the network alone: {setting}")
        network[setting] = _rate(setting.workers, seconds, partial(_runner, model, pixels, setting))
    best = max(network, key=lambda setting: network[setting])
    report(f"all of it, with {best}; input {spec.size} px")
    images, rate = _end_to_end(model, inputs, best)
    return Bench(decode, network, rate, images)


def settings() -> list[Setting]:
    """Sessions x threads x batch: every core a session of its own, and one session over all cores."""
    own = [Setting(cores(), 1, batch) for batch in BATCHES]
    return own if cores() == 1 else [*own, Setting(1, cores(), 8)]


def _fitted(sample: Sequence[SourceImage], model: ModelFile) -> NDArray[np.uint8]:
    usable = []
    for image in sample[: 8 * max(BATCHES)]:
        try:
            usable.append(load(image.read(), model.metadata.preprocess))
        except (ImageError, OSError):
            continue
    if not usable:
        raise InputError("none of the first images can be decoded: bench on a folder of whole images")
    return np.stack([usable[index % len(usable)] for index in range(8 * max(BATCHES))])


def _decoder(sample: Sequence[SourceImage], model: ModelFile) -> Iterator[int]:
    for image in cycle(sample):
        with suppress(ImageError, OSError):
            load(image.read(), model.metadata.preprocess)
        yield 1


def _runner(model: ModelFile, pixels: NDArray[np.uint8], setting: Setting) -> Iterator[int]:
    session = Session(model, threads=setting.threads)
    session.probabilities(pixels[: setting.batch])
    yield 0
    for start in cycle(range(0, len(pixels) - setting.batch + 1, setting.batch)):
        session.probabilities(pixels[start : start + setting.batch])
        yield setting.batch


def _rate(workers: int, seconds: float, make: Callable[[], Iterator[int]]) -> float:
    """Images/s of ``workers`` threads that each go through an iterator of their own; its first step is not timed."""
    counts = [0] * workers
    ready = threading.Barrier(workers + 1)
    stop = threading.Event()

    def work(number: int) -> None:
        steps = make()
        next(steps)
        ready.wait()
        for count in steps:
            counts[number] += count
            if stop.is_set():
                return

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(workers)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def _end_to_end(model: ModelFile, inputs: Sequence[Path], setting: Setting) -> tuple[int, float]:
    """Images, and images/s of the command as a user types it, from its start to its CSV."""
    with tempfile.TemporaryDirectory(prefix="pelagia-bench-") as folder:
        out = Path(folder, "survey")
        options = ["--workers", str(setting.workers), "--batch", str(setting.batch), "--threads", str(setting.threads)]
        command = [
            sys.executable,
            "-m",
            "pelagia.cli",
            "classify",
            str(model.path),
            *map(str, inputs),
            "--out",
            str(out),
        ]
        began = time.perf_counter()
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        took = time.perf_counter() - began
        if done.returncode:
            raise InputError(f"classify failed: {done.stderr.strip() or done.returncode}")
        with (out / "predictions.csv").open("rb") as file:
            images = sum(1 for _ in file) - 1
    return images, images / took
