"""The crop cache: files of fitted images, shared by all runs. A new file holds the images that no other file holds.

    NAME-SIZE-SPEC-CONTENT.crops    N images uint8 SIZE x SIZE x 3, N CRC-32, N SHA-256 of the originals, sorted

Invariant: a file is complete or absent and never changes, so one process can map it while another process adds a file.
An image is found by the SHA-256 of its original and the preprocessing, for any dataset, split or fold.
A file with a wrong checksum counts as absent. Any file can be removed at any time.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.images.preprocess import DECODER_VERSION, Image, PreprocessSpec
from pelagia.system.cores import thread_pool
from pelagia.system.files import new_file, sha256_of, slug
from pelagia.system.locking import exclusive_lock

_VERSION = 2
"""Increase it if the file format changes."""

_NEVER = 7 * 24 * 3600.0
_SUM, _SHA = np.dtype("<u4"), np.dtype("S32")

Shas = NDArray[np.bytes_]
"""An array of `_SHA`. numpy strips trailing zero bytes from all values, so comparisons stay correct."""


class CachedCrops(Sequence[Image]):
    """Images of cache files by index: uint8, size x size x 3, RGB, 0..255.

    Args:
        files: the cache files, each with its number of images.
        size: the side of the images, in pixels.
        places: for each image, the index of its file in ``files`` and its row in that file: int64, N x 2.
    """

    def __init__(self, files: Sequence[tuple[Path, int]], size: int, places: NDArray[np.int64]) -> None:
        self._opened = (files, size, places)
        self._places = places
        self._images = [_images(file, count, size) for file, count in files]

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process opens the files itself, without a copy of the images
        return (CachedCrops, self._opened)

    def __len__(self) -> int:
        return len(self._places)

    def at(self, rows: Sequence[int]) -> CachedCrops:
        """The images of these rows, in this order."""
        files, size, places = self._opened
        return CachedCrops(files, size, places[np.array(rows, np.intp)])

    def __getitem__(self, index: Any) -> Any:
        file, row = self._places[index]
        return np.asarray(self._images[file][row])


@dataclass
class _Found:
    """The places of images: ``places`` is int64, N x 2, as in `CachedCrops`, and -1 for an image that no file holds."""

    files: list[tuple[Path, int]]
    places: NDArray[np.int64]
    damaged: list[Path]

    @property
    def missing(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.places[:, 0] < 0)

    def add(self, file: Path, count: int, which: NDArray[np.intp], rows: NDArray[np.intp]) -> None:
        """Records that the images ``which`` are in ``rows`` of a file of ``count`` images."""
        self.places[which, 0], self.places[which, 1] = len(self.files), rows
        self.files.append((file, count))


def open_cache(
    folder: Path,
    name: str,
    spec: PreprocessSpec,
    wanted: Sequence[str],
    make: Callable[[Sequence[int]], Iterator[Image]],
    report: Callable[[str], None],
) -> CachedCrops:
    """Opens images by the SHA-256 of their originals. Missing images are made and added to ``folder`` in a new file.

    Processes that add images under the same ``name`` wait for each other, so no image is made twice.

    Args:
        folder: the folder of the cache.
        name: the name of the dataset, used in file names and messages.
        spec: the preprocessing of the images.
        wanted: the SHA-256 of each original, sorted, without duplicates.
        make: makes the fitted images at the given indices of ``wanted``, in their order.
        report: a function that is called with messages.

    Raises:
        OSError: ``folder`` cannot be read or written, or its disk is full.
    """
    shas = np.array([bytes.fromhex(sha) for sha in wanted], _SHA)
    key = sha256_of(json.dumps((_VERSION, DECODER_VERSION, asdict(spec))).encode())[:8]
    stem = f"{slug(name)}-{spec.size}-{key}"
    found = _look_up(folder, key, spec.size, shas)
    if not len(found.missing):
        report(f"{len(shas)} decoded images in {folder}")
        return CachedCrops(found.files, spec.size, found.places)
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"{stem}.lock"
    refusal = (
        f"another process is decoding the images of {name} and holds {lock}: wait for it, then run the same command "
        "again"
    )
    with exclusive_lock(lock, refusal, wait=_NEVER):
        _remove(folder.glob(f".{stem}-*.partial-*"))  # left by a process that was killed
        found = _look_up(folder, key, spec.size, shas)
        if len(missing := found.missing):
            file = folder / f"{stem}-{sha256_of(shas[missing].tobytes())[:8]}.crops"
            report(f"decoding {len(missing)} of {len(shas)} images of {name} into {file}")
            _write(file, make(missing.tolist()), shas[missing])
            found.add(file, len(missing), missing, np.arange(len(missing)))
            _remove(set(found.damaged) - {file})
    return CachedCrops(found.files, spec.size, found.places)


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        with suppress(OSError):  # some systems keep a file that another process has mapped
            file.unlink()


def _look_up(folder: Path, key: str, size: int, shas: Shas) -> _Found:
    """Finds the images ``shas`` in the undamaged files of ``folder``."""
    found = _Found([], np.full((len(shas), 2), -1, np.int64), [])
    for file in sorted(folder.glob(f"*-{key}-*.crops")):
        missing = found.missing
        count, rest = divmod(file.stat().st_size, size**2 * 3 + _SUM.itemsize + _SHA.itemsize)
        if not count or rest:
            found.damaged.append(file)
            continue
        rows = _rows(file, count, size, shas[missing])
        there = np.flatnonzero(rows >= 0)
        if not _agree(file, count, size, rows[there]):
            found.damaged.append(file)
        elif len(there):
            found.add(file, count, missing[there], rows[there])
    return found


def _images(file: Path, count: int, size: int) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, "r", shape=(count, size, size, 3))


def _rows(file: Path, count: int, size: int, shas: Shas) -> NDArray[np.intp]:
    """The row of each image of ``shas`` in a file; -1 if the file does not hold it."""
    held = np.fromfile(file, _SHA, offset=count * (size**2 * 3 + _SUM.itemsize))
    rows = np.minimum(np.searchsorted(held, shas), count - 1)
    return np.where(held[rows] == shas, rows, -1)


def _agree(file: Path, count: int, size: int, rows: NDArray[np.intp]) -> bool:
    """Whether the images in ``rows`` have the right checksums."""
    images = _images(file, count, size)
    sums = np.fromfile(file, _SUM, count, offset=count * size**2 * 3)
    with thread_pool() as pool:
        return all(pool.map(lambda row: zlib.crc32(images[row].data) == sums[row], rows.tolist(), chunksize=64))


def _write(file: Path, images: Iterator[Image], shas: Shas) -> None:
    """Writes a cache file. It is not memory-mapped, because a full disk would then crash the process."""
    sums = []
    with new_file(file) as target:
        for image in images:
            data = image.tobytes()
            target.write(data)
            sums.append(zlib.crc32(data))
        target.write(np.array(sums, _SUM).tobytes())
        target.write(shas.tobytes())
