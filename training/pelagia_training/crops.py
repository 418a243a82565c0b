"""Fitted images of a dataset, decoded once for all runs and kept in a memory-mapped file, or decoded each time.

Invariant: an image is what its sha256 in the manifest names, fitted by `pelagia.preprocess.load`. The cache's name says
which images it holds and how they were fitted, so that it cannot be of another dataset; it appears when it is whole,
and one whose sums do not agree is made again. It can be removed at any time. Memory does not grow with the images.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset import Dataset, Record
from pelagia.errors import DatasetError, some
from pelagia.files import new_file, sha256_of, slug
from pelagia.locking import hold
from pelagia.preprocess import Image, ImageError, PreprocessSpec, load

_VERSION = 1
"""Raise it when `pelagia.preprocess` gives other pixels for the same spec."""

_CHUNK = 512
_NEVER = 7 * 24 * 3600.0

HOME_VARIABLE = "PELAGIA_CACHE_HOME"


class CachedCrops(Sequence[Image]):
    """Images of a cache file by index: uint8, size x size x 3, RGB, 0..255. ``rows`` are their places in the file."""

    def __init__(self, file: Path, shape: tuple[int, ...], rows: NDArray[np.int64]) -> None:
        self._opened = (file, shape, rows)
        self._rows = rows
        self._images = np.memmap(file, np.uint8, "r", shape=shape)

    def __reduce__(self) -> tuple[Any, ...]:  # a worker process opens the file, and is not sent what is in it
        return (CachedCrops, self._opened)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return np.asarray(self._images[self._rows[index]])


class StreamedCrops(Sequence[Image]):
    """Images that are read and decoded each time, as `CachedCrops` gives them."""

    def __init__(self, dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec) -> None:
        self._root, self._records, self._spec = dataset.root, tuple(records), spec

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        record = self._records[index]
        try:
            return fitted(self._root, record, self._spec)
        except ImageError as error:
            raise DatasetError(f"{record.path}: {error}; run `pelagia dataset check {self._root}`") from None


def open_crops(
    dataset: Dataset,
    parts: Sequence[Sequence[Record]],
    spec: PreprocessSpec,
    *,
    folder: Path | None = None,
    stream: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> list[Sequence[Image]]:
    """The images of each of ``parts``, from the cache in ``folder`` (the user's by default), or streamed.

    Raises:
        DatasetError: images are missing, cannot be decoded, or are not those of the manifest.
    """
    everything = [record for part in parts for record in part]
    _require_files(dataset, everything)
    if not stream:
        place = folder or default_folder()
        try:
            return _cached(dataset, parts, everything, spec, place, report)
        except OSError as error:
            size = len({record.sha256 for record in everything}) * spec.size**2 * 3 / 1e9
            report(
                f"no cache of decoded images in {place} ({error.strerror or error}): decoding the originals in each "
                f"epoch, which is slower; name a folder with {size:.1f} GB free: --set data.cache=FOLDER"
            )
    return [StreamedCrops(dataset, part, spec) for part in parts]


def default_folder() -> Path:
    """Where caches lie unless `data.cache` says otherwise."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named) / "crops"
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "pelagia" / "crops"


def fitted(root: Path, record: Record, spec: PreprocessSpec) -> Image:
    """One image of a dataset: uint8, size x size x 3.

    Raises:
        ImageError: it is missing, cannot be decoded, or is not the image that the manifest names.
    """
    try:
        data = (root / record.path).read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"the image cannot be read ({error.strerror})") from None
    if sha256_of(data) != record.sha256:
        raise ImageError("damaged", "the image's bytes have changed since the dataset was made")
    return load(data, spec)


def _cached(
    dataset: Dataset,
    parts: Sequence[Sequence[Record]],
    everything: Sequence[Record],
    spec: PreprocessSpec,
    folder: Path,
    report: Callable[[str], None],
) -> list[Sequence[Image]]:
    by_content = {record.sha256: record for record in everything}
    wanted = [by_content[sha] for sha in sorted(by_content)]
    key = sha256_of("\n".join((str(_VERSION), json.dumps(asdict(spec)), *sorted(by_content))).encode())
    file = folder / f"{slug(dataset.meta.name)}-{spec.size}-{key[:16]}.crops"
    shape = (len(wanted), spec.size, spec.size, 3)
    folder.mkdir(parents=True, exist_ok=True)
    with hold(file.with_suffix(".lock"), f"{file} is being made by another process", wait=_NEVER):
        if _is_whole(file, shape):
            report(f"{len(wanted)} decoded images in {file}")
        else:
            report(f"decoding {len(wanted)} images of {dataset.root} into {file}")
            _write(file, _decoded(dataset, wanted, spec))
    rows = {record.sha256: row for row, record in enumerate(wanted)}
    return [CachedCrops(file, shape, np.array([rows[record.sha256] for record in part], np.int64)) for part in parts]


def _write(file: Path, images: Iterator[Image]) -> None:
    """The images, then the CRC-32 of each: written and not mapped, so that a full disk is an error and no crash."""
    sums = []
    with new_file(file) as target:
        for image in images:
            data = image.tobytes()
            target.write(data)
            sums.append(zlib.crc32(data))
        target.write(np.array(sums, np.uint32).tobytes())


def _is_whole(file: Path, shape: tuple[int, ...]) -> bool:
    count, size = shape[0], int(np.prod(shape))
    try:
        if file.stat().st_size != size + 4 * count:
            return False
    except OSError:
        return False
    images = np.memmap(file, np.uint8, "r", shape=shape)
    sums = np.memmap(file, np.uint32, "r", offset=size, shape=(count,))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return all(pool.map(lambda row: zlib.crc32(images[row].data) == sums[row], range(count), chunksize=64))


def _decoded(dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec) -> Iterator[Image]:
    """The images of ``records`` in their order, a bounded number in memory. Every fault comes in one DatasetError."""
    faults: list[tuple[Record, str]] = []

    def one(record: Record) -> Image | None:
        try:
            return fitted(dataset.root, record, spec)
        except ImageError as error:
            faults.append((record, str(error)))
            return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(records), _CHUNK):
            yield from (image for image in pool.map(one, records[start : start + _CHUNK]) if image is not None)
    if faults:
        raise _unusable(dataset, faults, records)


def _require_files(dataset: Dataset, records: Sequence[Record]) -> None:
    """A cache would go on without them; the export could not."""
    with ThreadPoolExecutor() as pool:
        there = list(pool.map(lambda record: dataset.file(record).is_file(), records))
    missing = [(record, "the file is missing") for record, found in zip(records, there, strict=True) if not found]
    if missing:
        raise _unusable(dataset, missing, records)


def _unusable(dataset: Dataset, faults: Sequence[tuple[Record, str]], records: Sequence[Record]) -> DatasetError:
    """How many images of which classes, the first by name, and what to do."""
    whole = Counter(record.class_name for record in records)
    broken = Counter(record.class_name for record, _ in faults)
    classes = some(f"'{name}' {count} of {whole[name]}" for name, count in broken.most_common())
    record, fault = min(faults, key=lambda one: one[0].path)
    return DatasetError(
        f"{len(faults)} of {len(records)} images of {dataset.root} cannot be used (class {classes}), the first "
        f"{record.path}: {fault}; put them back (`pelagia dataset check {dataset.root}` lists all), or import again"
    )
