"""`pelagia bench`: what this machine can do with a model, what the runner gets out of it, and the best setting.

The ideal shares the cost of decoding and of the network over all cores: 1 / (1/decode + 1/network), each rate measured
with every core busy. Efficiency is the rate of the whole command, start-up and journal included, over the ideal. All of
it is measured in alternation, several times, and the medians count: a laptop that gets warm slows all of them alike.
"""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from queue import Empty
from statistics import median
from typing import TYPE_CHECKING

from pelagia.errors import InputError, PelagiaError
from pelagia.images.preprocess import Fitted, ImageError, load, load_sized
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage, list_images
from pelagia.system.cores import usable_cores
from pelagia_inference.machine.providers import CPU
from pelagia_inference.machine.session import Session, stacked
from pelagia_inference.machine.setting import Setting

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

BATCHES = (1, 2, 4, 8, 16)
ROUNDS = 3
_SECONDS = 1.0
_SAMPLE = 2000
_PATIENCE = 300.0


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


@dataclass(frozen=True)
class _Step:
    """Something to measure: each of ``workers`` processes goes through the iterator that ``make`` gives."""

    workers: int
    make: Callable[[], Iterator[int]]


def bench(
    model: ModelFile,
    inputs: Sequence[Path],
    *,
    seconds: float = _SECONDS,
    rounds: int = ROUNDS,
    report: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measures decode-only, network-only and end to end.

    Args:
        inputs: images to measure on; the end-to-end runs take all of them.
        seconds: how long each of the first two kinds of measurement runs, in each round.
        rounds: how often all of it is measured.

    Raises:
        InputError: no image of the inputs can be used.
    """
    sample = list(islice(list_images(inputs), _SAMPLE))
    fitted = _fitted(sample, model)
    steps = [_Step(usable_cores(), partial(_decoder, sample, model))]
    steps += [_Step(setting.workers, partial(_runner, model, fitted, setting)) for setting in settings()]
    alone: list[list[float]] = []
    whole: list[float] = []
    images = 0
    for number in range(1, rounds + 1):
        report(f"round {number} of {rounds}: decoding alone, the network alone")
        alone.append(_measure(steps, seconds))
        decode, *network = map(median, zip(*alone, strict=True))
        best = max(zip(network, settings(), strict=True), key=lambda pair: pair[0])[1]
        report(f"round {number} of {rounds}: all of it, with {best}")
        images, rate = _end_to_end(model, inputs, best)
        whole.append(rate)
    return Bench(decode, dict(zip(settings(), network, strict=True)), median(whole), images)


def settings() -> list[Setting]:
    """Sessions x threads x batch: every core a session of its own, and one session over all cores."""
    own = [Setting(usable_cores(), 1, batch) for batch in BATCHES]
    return own if usable_cores() == 1 else [*own, Setting(1, usable_cores(), 8)]


def _fitted(sample: Sequence[SourceImage], model: ModelFile) -> list[Fitted]:
    usable = []
    for image in sample[: 8 * max(BATCHES)]:
        try:
            usable.append(load_sized(image.read(), model.metadata.preprocess))
        except (ImageError, OSError):
            continue
    if not usable:
        raise InputError("none of the first images can be decoded: bench on a folder of whole images")
    return [usable[index % len(usable)] for index in range(8 * max(BATCHES))]


def _decoder(sample: Sequence[SourceImage], model: ModelFile) -> Iterator[int]:
    for image in cycle(sample):
        with suppress(ImageError, OSError):
            load(image.read(), model.metadata.preprocess)
        yield 1


def _runner(model: ModelFile, fitted: Sequence[Fitted], setting: Setting) -> Iterator[int]:
    session = Session(model, threads=setting.threads)
    pixels, sizes = stacked(fitted)
    session.probabilities(pixels[: setting.batch], sizes[: setting.batch])
    yield 0
    for start in cycle(range(0, len(pixels) - setting.batch + 1, setting.batch)):
        session.probabilities(pixels[start : start + setting.batch], sizes[start : start + setting.batch])
        yield setting.batch


def _measure(steps: Sequence[_Step], seconds: float) -> list[float]:
    """Images/s of each step, in processes as the runner's are, so that no interpreter lock slows the ideal."""
    context = multiprocessing.get_context("spawn")
    workers = max(step.workers for step in steps)
    barrier, results = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=_work, args=(number, steps, seconds, barrier, results), daemon=True)
        for number in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        found = [_result(results, processes, _PATIENCE + len(steps) * seconds) for _ in processes]
    finally:
        for process in processes:
            process.kill()
    return [sum(rates) for rates in zip(*found, strict=True)]


def _result(results: Queue[list[float]], processes: Sequence[SpawnProcess], patience: float) -> list[float]:
    """What one of the processes found; it is not waited for where another has died."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with suppress(Empty):
            return results.get(timeout=1.0)
        if any(process.exitcode for process in processes):
            raise PelagiaError("a process that measured died: is there memory for it, and are the images whole?")
    raise PelagiaError(f"the processes that measure gave no answer within {patience:.0f} s: is the drive there?")


def _work(number: int, steps: Sequence[_Step], seconds: float, barrier: Barrier, results: Queue[list[float]]) -> None:
    """One process of `_measure`: its own images/s in each step. An iterator's first item warms up and is not timed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills this
    rates = []
    for step in steps:
        takes_part = number < step.workers
        items = step.make() if takes_part else iter(())
        next(items, None)
        barrier.wait(_PATIENCE)
        rates.append(_rate(items, seconds) if takes_part else 0.0)
        barrier.wait(_PATIENCE + seconds)
    results.put(rates)


def _rate(items: Iterator[int], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += next(items)
    return done / (time.perf_counter() - began)


def _end_to_end(model: ModelFile, inputs: Sequence[Path], setting: Setting) -> tuple[int, float]:
    """Images, and images/s of the command as a user types it, from its start to its CSV."""
    with tempfile.TemporaryDirectory(prefix="pelagia-bench-") as folder:
        out = Path(folder, "survey")
        options = ["--workers", str(setting.workers), "--batch", str(setting.batch), "--threads", str(setting.threads)]
        options += ["--provider", CPU]  # on which all of the above was measured
        command = [
            sys.executable,
            "-P",
            "-m",
            "pelagia.cli",
            "classify",
            *map(str, [model.path, *inputs]),
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
