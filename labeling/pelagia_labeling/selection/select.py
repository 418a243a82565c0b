"""Chooses the next images to label, and writes them as a manifest with its images.

Invariant: a chosen image can be read, is none that has a label, and, except for a random sample, does not look like
another chosen image (`pelagia.dataset.near_duplicates`). Each image that was passed over is counted with its reason.
The same arguments give the same choice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.near_duplicates import find_near_duplicates, signature_of
from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError, decode
from pelagia.system.console import ProgressCallback
from pelagia.system.cores import thread_pool
from pelagia.system.files import new_folder, refuse_existing_file
from pelagia.system.tables import write_table
from pelagia_labeling.selection.images import Images
from pelagia_labeling.selection.pool import Candidate, Pool, Rows
from pelagia_labeling.selection.strategies import (
    DEFAULT,
    RANDOM,
    STRATEGIES,
    cluster_centers,
    nearest_center,
)

NEAR = "near-duplicates of chosen images"
FULL = "of stations whose quota is full"
SHEET = 36
_AT_ONCE = 512
_OWN = ("predicted", "probability", "strategy", "score", "rank", "cluster")
"""The columns that a manifest adds, after ``path`` and the columns of the images."""


@dataclass(frozen=True)
class Options:
    """How to choose.

    Attributes:
        budget: the number of images to choose.
        strategy: a key of `STRATEGIES`.
        per_station: most images of one station; None: no limit.
        station_column: the column that names the station.
        near_duplicates: whether near-duplicates are left out; not for a random sample, which they would bias.
        sheet: how many images a cluster of the column ``cluster`` has on average.
        seed: seed of the random numbers.
    """

    budget: int
    strategy: str = DEFAULT
    per_station: int | None = None
    station_column: str = ""
    near_duplicates: bool = True
    sheet: int = SHEET
    seed: int = 0


@dataclass
class Chosen:
    """The chosen images in the order of their worth.

    Attributes:
        rows: rows of the pool.
        scores: why each was chosen.
        passed: reason in words -> number of images that were passed over.
        unusable: path and reason of the images that cannot be read.
        clusters: the cluster of each chosen image; empty without embeddings.
    """

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    clusters: list[int] = field(default_factory=list)
    _signatures: list[bytes] = field(default_factory=list)

    def near(self, signatures: Sequence[bytes]) -> dict[int, set[int]]:
        """For new signatures that have near-duplicates: their number -> the numbers of these.

        Numbers count the chosen images first, then the new signatures.
        """
        together = [*self._signatures, *signatures]
        found: dict[int, set[int]] = defaultdict(set)
        for pair in find_near_duplicates(together, range(len(together))):
            found[pair.second].add(pair.first)
        return found

    def add(self, row: int, score: float, signature: bytes) -> None:
        """Adds an image."""
        self.rows.append(row)
        self.scores.append(score)
        self._signatures.append(signature)


def select(
    pool: Pool,
    images: Images,
    options: Options,
    out: Path,
    progress: ProgressCallback = lambda done, total: None,
) -> Chosen:
    """Chooses images, and writes the manifest ``out`` and copies of the images in a folder beside it.

    `pelagia label push` takes the manifest. Paths in it are relative to its folder.

    Args:
        pool: the images that can be chosen.
        images: their bytes.
        options: how to choose.
        out: the CSV file to make; the folder of the images has its name with ``_images``.
        progress: called with (chosen, budget).

    Raises:
        InputError: the strategy needs what the pool lacks, ``out`` exists, or no image can be read.
    """
    require(pool, options)
    refuse_existing_file(out, "manifest", "next.csv")
    folder = images_folder(out)
    with new_folder(folder, "folder of images") as scratch:
        chosen = choose(pool, images, options, scratch, progress)
        if not chosen.rows:
            example = f"; the first is {': '.join(chosen.unusable[0])}" if chosen.unusable else ""
            raise InputError(f"none of the {len(pool)} images can be used{example}")
    _write_manifest(pool, chosen, options, out, folder)
    return chosen


def images_folder(out: Path) -> Path:
    """The folder with the images of a manifest."""
    return out.with_name(f"{out.stem}_images")


def require(pool: Pool, options: Options) -> None:
    """Raises InputError if the pool lacks what the strategy or the quota needs."""
    remedies = {
        "probabilities": "predictions: name a survey that `pelagia classify` made, or use --strategy clusters",
        "vectors": "embeddings: classify with --embeddings, or give a file of `pelagia embed` with --embeddings",
        "unknown": "out-of-distribution scores: name a survey of a model that has them (decision.unknown)",
        "disagreement": "a survey of a former model: name it with --former",
    }
    for need in STRATEGIES[options.strategy].needs:
        if getattr(pool, need) is None:
            raise InputError(f"--strategy {options.strategy} needs {remedies[need]}")
    columns = {name for one in pool.candidates for name in one.columns}
    if options.per_station is not None and options.station_column not in columns:
        named = f"column '{options.station_column}'" if options.station_column else "column of stations"
        known = ", ".join(sorted(columns)) or "none"
        raise InputError(f"the images have no {named} (their columns: {known}): name it with --station-column")


# ---- choosing


def choose(
    pool: Pool, images: Images, options: Options, folder: Path, progress: ProgressCallback = lambda done, total: None
) -> Chosen:
    """Chooses images, and writes each under its path below ``folder``. Other arguments as in `select`."""
    random = np.random.default_rng(options.seed)
    strategy = STRATEGIES[options.strategy].choose
    chosen = Chosen()
    quota = _Quota(pool, options)
    free: Rows = np.arange(len(pool), dtype=np.intp)
    while len(chosen.rows) < options.budget and len(free):
        count = min(options.budget - len(chosen.rows), _AT_ONCE if chosen.passed else options.budget)
        picks = strategy(pool, free, np.array(chosen.rows, np.intp), count, random)
        _take(pool, images, picks.rows.tolist(), picks.scores.tolist(), chosen, quota, options, folder, progress)
        left = np.setdiff1d(free, picks.rows)
        free = left[quota.has_room(left)]
        chosen.passed[FULL] += len(left) - len(free)
    chosen.passed = +chosen.passed
    if pool.vectors is not None and chosen.rows:
        number = max(1, round(len(chosen.rows) / options.sheet))
        own = pool.vectors[chosen.rows]
        centers = cluster_centers(own, number, np.ones(len(own), np.float32), random)
        chosen.clusters = nearest_center(own, centers)[0].tolist()
    return chosen


class _Quota:
    """How many images of each station may still be chosen."""

    def __init__(self, pool: Pool, options: Options) -> None:
        names = [one.columns.get(options.station_column, "") for one in pool.candidates]
        self._stations: NDArray[np.intp] = np.unique(names, return_inverse=True)[1]
        most = len(pool) if options.per_station is None else options.per_station
        self._room = np.full(self._stations.max() + 1, most)

    def has_room(self, rows: Rows | int) -> NDArray[np.bool_]:
        """Whether the stations of some rows may have one more image."""
        return np.asarray(self._room[self._stations[rows]] > 0)

    def use(self, row: int) -> None:
        """Counts an image."""
        self._room[self._stations[row]] -= 1


def _take(
    pool: Pool,
    images: Images,
    rows: list[int],
    scores: list[float],
    chosen: Chosen,
    quota: _Quota,
    options: Options,
    folder: Path,
    progress: ProgressCallback,
) -> None:
    """Takes those of some rows that can be read, have room in their station, and look like no other one."""
    thinned = options.near_duplicates and options.strategy != RANDOM
    images.find([pool.candidates[row] for row in rows])
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        with thread_pool() as threads:
            read = list(threads.map(lambda row: _read(images, pool.candidates[row], thinned), part))
        usable = [at for at, (_, _, fault) in enumerate(read) if not fault]
        chosen.unusable += [(pool.candidates[part[at]].path, one[2]) for at, one in enumerate(read) if one[2]]
        near = chosen.near([read[at][1] for at in usable]) if thinned else {}
        taken = set(range(first := len(chosen.rows)))
        for number, at in enumerate(usable, start=first):
            row, (data, signature, _) = part[at], read[at]
            if near.get(number, set()) & taken:
                chosen.passed[NEAR] += 1
            elif not quota.has_room(row):
                chosen.passed[FULL] += 1
            else:
                taken.add(number)
                quota.use(row)
                _write_image(folder, pool.candidates[row], data)
                chosen.add(row, scores[start + at], signature)
                progress(len(chosen.rows), options.budget)


def _read(images: Images, one: Candidate, thinned: bool) -> tuple[bytes, bytes, str]:
    """The encoded image, its signature for near-duplicates, and why it cannot be used."""
    data, fault = images.read(one)
    if fault or not thinned:
        return data, b"", fault
    try:
        return data, signature_of(decode(data)), ""
    except ImageError as error:
        return b"", b"", f"{error.reason}: {error}"


# ---- writing


def _write_image(folder: Path, one: Candidate, data: bytes) -> None:
    target = folder / _name(one)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _name(one: Candidate) -> str:
    """The path of an image below the folder of images: its own path, unless it would lead out of the folder."""
    path = PureWindowsPath(one.path)  # the rules of Windows are stricter: they know drives and backslashes
    if path.drive or path.root or ".." in path.parts:
        return f"{one.sha256}{PurePosixPath(one.path).suffix}"
    return one.path


def _write_manifest(pool: Pool, chosen: Chosen, options: Options, out: Path, folder: Path) -> None:
    own = list(dict.fromkeys(name for row in chosen.rows for name in pool.candidates[row].columns))
    taken = {"path", *_OWN}
    header = ["path", *(f"survey_{name}" if name in taken else name for name in own), *_OWN]
    write_table(out, header, _manifest_rows(pool, chosen, options, folder, own), guard_formulas=False)


def _manifest_rows(
    pool: Pool, chosen: Chosen, options: Options, folder: Path, own: Sequence[str]
) -> list[list[str | int | float]]:
    rows: list[list[str | int | float]] = []
    for rank, row in enumerate(chosen.rows):
        one = pool.candidates[row]
        highest = "" if pool.probabilities is None else f"{float(pool.probabilities[row].max()):.4f}"
        cluster = str(chosen.clusters[rank]) if chosen.clusters else ""
        line: list[str | int | float] = [
            one.predicted,
            highest,
            options.strategy,
            f"{chosen.scores[rank]:.6g}",
            rank + 1,
            cluster,
        ]
        rows.append([f"{folder.name}/{_name(one)}", *(one.columns.get(name, "") for name in own), *line])
    return rows
