"""Images/s of networks on this machine, measured as `pelagia bench` measures: in the runner's own sessions.

A session runs in each core, as in `pelagia classify`, with its default batch. All networks are measured in turn,
several times, and the medians are used: a laptop that gets warm slows all of them equally. Networks that are added
later are measured beside one that was measured before, and their speeds are scaled by its two speeds. Reading and
decoding the images is measured in the same way, with every core busy.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from pelagia.config import Strict
from pelagia.images.preprocess import ImageError, PreprocessSpec, load, load_sized
from pelagia.model.graph import Graph
from pelagia.system.cores import usable_cores
from pelagia.system.files import new_file, sha256_of, write_text
from pelagia_inference.machine.bench import ROUNDS, Step, computing, rates_of
from pelagia_inference.machine.setting import default_setting
from pelagia_training.frontier.folder import GRAPHS_FOLDER, SPEED_FILE

_SAMPLE = 64
_DECODE = "decode"


class Speeds(Strict):
    """The content of `speed.json`.

    Attributes:
        machine: where the speeds were measured; on another machine, everything is measured again.
        setting: how many sessions, threads and images at once.
        rates: key of a network, or of the decoding at a size -> images/s.
    """

    machine: str
    setting: str
    rates: dict[str, float] = {}


@dataclass(frozen=True)
class Timed:
    """A network to measure: a key that names its weights, and what makes its ONNX graph."""

    key: str
    spec: PreprocessSpec
    classes: tuple[str, ...]
    make: Callable[[], bytes]


def machine() -> str:
    """This machine in words: its name, its processor, and the cores that are used."""
    processor = _processor() or platform.processor() or platform.machine()
    return f"{platform.node()}, {processor}, {platform.system()}, {usable_cores()} cores"


def _processor() -> str:
    """The name of the processor on Linux; empty elsewhere."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return ""


def decode_key(spec: PreprocessSpec) -> str:
    """The key of the decoding for networks with this preprocessing."""
    return f"{_DECODE}-{spec.size}-{sha256_of(repr(spec).encode())[:8]}"


def measure_speeds(
    out: Path,
    networks: Sequence[Timed],
    files: Sequence[Path],
    progress: Callable[..., None],
    *,
    seconds: float,
    beside: Sequence[Timed] = (),
    rounds: int = ROUNDS,
) -> Speeds:
    """The speeds of all networks; only those that `speed.json` does not have are measured.

    Args:
        files: images to decode and to classify.
        beside: more networks, one of which is measured again if it was measured before.
        seconds: how long each network is measured, in each round.
        rounds: how often each is measured.

    Raises:
        PelagiaError: a process that measures ended or did not answer.
    """
    known = _read(out)
    missing = [one for one in networks if not {one.key, decode_key(one.spec)} <= known.rates.keys()]
    if not missing:
        return known
    again = next((one for one in (*networks, *beside) if one.key in known.rates and one not in missing), None)
    steps = _steps(out, missing if again is None else [*missing, again], known.rates, files, progress)
    found: list[list[float]] = []
    for number in range(rounds):
        progress(number, rounds, f"{len(steps)} measurements in each round")
        found.append(rates_of([*steps.values()], seconds))
    rates = {key: median(values) for key, values in zip(steps, zip(*found, strict=True), strict=True)}
    scale = 1.0 if again is None else known.rates[again.key] / rates.pop(again.key)
    added = {key: round(scale * rate, 2) for key, rate in rates.items()}
    speeds = known.model_copy(update={"rates": known.rates | added})
    write_text(out / SPEED_FILE, speeds.model_dump_json(indent=2) + "\n")
    shutil.rmtree(out / GRAPHS_FOLDER, ignore_errors=True)
    return speeds


def _steps(
    out: Path,
    networks: Sequence[Timed],
    known: Mapping[str, float],
    files: Sequence[Path],
    progress: Callable[..., None],
) -> dict[str, Step]:
    """What is measured, by its key: the decoding for each preprocessing, and each network. The graphs are made."""
    setting, steps = default_setting(), {}
    for one in networks:
        if decode_key(one.spec) not in known:
            steps[decode_key(one.spec)] = Step(setting.workers, partial(_decoding, files, one.spec))
    for number, one in enumerate(networks):
        progress(number, len(networks), f"exporting {one.key.partition('@')[0]}")
        path = out / GRAPHS_FOLDER / f"{sha256_of(one.key.encode())[:16]}.onnx"
        if not path.is_file():
            with new_file(path) as file:
                file.write(one.make())
        steps[one.key] = Step(setting.workers, partial(_computing, path, one.spec, one.classes, files))
    return steps


def _decoding(files: Sequence[Path], spec: PreprocessSpec) -> Iterator[int]:
    for file in cycle(files):
        with suppress(ImageError, OSError):
            load(file.read_bytes(), spec)
        yield 1


def _computing(path: Path, spec: PreprocessSpec, classes: tuple[str, ...], files: Sequence[Path]) -> Iterator[int]:
    images = [load_sized(file.read_bytes(), spec) for file in files]
    repeated = [images[index % len(images)] for index in range(_SAMPLE)]
    return computing(Graph(path, path.read_bytes(), spec, classes), repeated, default_setting())


def _read(out: Path) -> Speeds:
    """The content of `speed.json`; without rates if it is missing, damaged, or of another machine."""
    fresh = Speeds(machine=machine(), setting=str(default_setting()))
    try:
        known = Speeds.model_validate(json.loads((out / SPEED_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return fresh
    return known if (known.machine, known.setting) == (fresh.machine, fresh.setting) else fresh
