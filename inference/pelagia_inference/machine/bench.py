"""`pelagia bench`: measures how fast this machine runs a model, how close `classify` comes to it, and the best setting.

The ideal rate shares the cores between decoding and the network: 1 / (1/decode + 1/network), both measured with every
core busy. The efficiency is the rate of the complete command, start and journal included, divided by the ideal rate.
They are measured in turn, several times, and the medians are used: a laptop that gets warm slows all of them equally.
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
from pelagia.model.graph import Graph
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
_TIMEOUT = 300.0


@dataclass(frozen=True)
class Bench:
    """The rates that were measured, in images/s.

    Attributes:
        decode: the rate of only reading, decoding and resizing, with every core busy.
        network: the rate of only the network, for each setting that was tried.
        end_to_end: the rate of the complete command.
        images: the number of images that the complete command classified.
    """

    decode: float
    network: dict[Setting, float]
    end_to_end: float
    images: int

    @property
    def best(self) -> Setting:
        """The setting with which the network is fastest."""
        return max(self.network, key=lambda setting: self.network[setting])

    @property
    def ideal(self) -> float:
        """Images/s if only decoding and the network took time."""
        return 1 / (1 / self.decode + 1 / self.network[self.best])

    @property
    def efficiency(self) -> float:
        """The rate of the complete command, as a share of the ideal rate."""
        return self.end_to_end / self.ideal


@dataclass(frozen=True)
class Step:
    """Something to measure: each of ``workers`` processes runs through an iterator that ``make`` returns.

    An item of the iterator is the number of images that were done.
    """

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
    """Measures only decoding, only the network, and the complete command.

    Args:
        inputs: the images to measure on. The complete command classifies all of them.
        seconds: how long each of the first two kinds of measurement takes, in each round.
        rounds: how often everything is measured.
        report: called with a line of text before each measurement.

    Raises:
        InputError: no image of the inputs can be used, or `classify` fails.
        PelagiaError: a process that measures ended or did not answer.
    """
    sample = list(islice(list_images(inputs), _SAMPLE))
    fitted = _fitted(sample, model)
    steps = [Step(usable_cores(), partial(_decoding, sample, model))]
    steps += [Step(setting.workers, partial(computing, model, fitted, setting)) for setting in settings()]
    rates: list[list[float]] = []
    whole: list[float] = []
    images = 0
    for number in range(1, rounds + 1):
        report(f"round {number} of {rounds}: only decoding, only the network")
        rates.append(rates_of(steps, seconds))
        decode, *network = map(median, zip(*rates, strict=True))
        best = max(zip(network, settings(), strict=True), key=lambda pair: pair[0])[1]
        report(f"round {number} of {rounds}: the complete command, with {best}")
        images, rate = _end_to_end(model, inputs, best)
        whole.append(rate)
    return Bench(decode, dict(zip(settings(), network, strict=True)), median(whole), images)


def settings() -> list[Setting]:
    """The settings to try: one session for each core with several batch sizes, and one session over all cores."""
    one_per_core = [Setting(usable_cores(), 1, batch) for batch in BATCHES]
    return one_per_core if usable_cores() == 1 else [*one_per_core, Setting(1, usable_cores(), 8)]


def _fitted(sample: Sequence[SourceImage], model: ModelFile) -> list[Fitted]:
    usable = []
    for image in sample[: 8 * max(BATCHES)]:
        try:
            usable.append(load_sized(image.read(), model.metadata.preprocess))
        except (ImageError, OSError):
            continue
    if not usable:
        raise InputError("none of the first images can be decoded: run bench on images that are not damaged")
    return [usable[index % len(usable)] for index in range(8 * max(BATCHES))]


def _decoding(sample: Sequence[SourceImage], model: ModelFile) -> Iterator[int]:
    for image in cycle(sample):
        with suppress(ImageError, OSError):
            load(image.read(), model.metadata.preprocess)
        yield 1


def computing(model: ModelFile | Graph, fitted: Sequence[Fitted], setting: Setting) -> Iterator[int]:
    """Only the network, in one session: the number of images of each batch, again and again; the first item is 0."""
    session = Session(model, threads=setting.threads)
    pixels, sizes = stacked(fitted)
    session.probabilities(pixels[: setting.batch], sizes[: setting.batch])
    yield 0
    for start in cycle(range(0, len(pixels) - setting.batch + 1, setting.batch)):
        session.probabilities(pixels[start : start + setting.batch], sizes[start : start + setting.batch])
        yield setting.batch


def rates_of(steps: Sequence[Step], seconds: float) -> list[float]:
    """Images/s of each step, in processes like those of `classify`, so that threads do not wait for each other."""
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
        found = [_result(results, processes, _TIMEOUT + len(steps) * seconds) for _ in processes]
    finally:
        for process in processes:
            process.kill()
    return [sum(rates) for rates in zip(*found, strict=True)]


def _result(results: Queue[list[float]], processes: Sequence[SpawnProcess], timeout: float) -> list[float]:
    """The rates that one process measured. Does not wait for them if any process has ended with an error."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with suppress(Empty):
            return results.get(timeout=1.0)
        if any(process.exitcode for process in processes):
            raise PelagiaError(
                "a measuring process ended with an error: close other programs to free memory, or use other images"
            )
    raise PelagiaError(
        f"the measuring processes did not answer within {timeout:.0f} s: check the drive with the images"
    )


def _work(number: int, steps: Sequence[Step], seconds: float, barrier: Barrier, results: Queue[list[float]]) -> None:
    """One process of `rates_of`: puts its images/s in each step. The first item of an iterator is not timed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and kills this process
    rates = []
    for step in steps:
        takes_part = number < step.workers
        items = step.make() if takes_part else iter(())
        next(items, None)
        barrier.wait(_TIMEOUT)
        rates.append(_rate(items, seconds) if takes_part else 0.0)
        barrier.wait(_TIMEOUT + seconds)
    results.put(rates)


def _rate(items: Iterator[int], seconds: float) -> float:
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        done += next(items)
    return done / (time.perf_counter() - start)


def _end_to_end(model: ModelFile, inputs: Sequence[Path], setting: Setting) -> tuple[int, float]:
    """The number of images, and images/s of the command as a user types it, from its start to its CSV."""
    with tempfile.TemporaryDirectory(prefix="pelagia-bench-") as folder:
        out = Path(folder, "survey")
        command = [sys.executable, "-P", "-m", "pelagia.cli", "classify", *map(str, [model.path, *inputs])]
        command += ["--out", str(out), "--provider", CPU]  # all other measurements used it as well
        command += [f"--workers={setting.workers}", f"--batch={setting.batch}", f"--threads={setting.threads}"]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise InputError(f"classify failed: {done.stderr.strip() or done.returncode}")
        with (out / "predictions.csv").open("rb") as file:
            images = sum(1 for _ in file) - 1
    return images, images / seconds
