"""Fitted images of a dataset: decoded once for all runs and kept in memory-mapped files, or decoded in each epoch.

Invariant: each image has the SHA-256 of the manifest and is fitted by `pelagia.images.preprocess.load`. Memory does not
grow with the number of images. `pelagia_training.data.crop_cache` manages the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import DatasetError, first_few
from pelagia.images.preprocess import Image, ImageError, PreprocessSpec, load
from pelagia.shell import command_line
from pelagia.system.cores import thread_pool
from pelagia.system.files import sha256_of
from pelagia.system.paths import folder_from_environment, user_folder
from pelagia_training.data.crop_cache import open_cache
from pelagia_training.data.unchanged import changed, rows_of

_CHUNK = 512
_CHANGED = "the image's bytes have changed since the dataset was made"
HOME_VARIABLE = "PELAGIA_CACHE_HOME"


class StreamedCrops(Sequence[Image]):
    """The same images as `CachedCrops`, but read and decoded at each access."""

    def __init__(self, dataset: Dataset, records: Sequence[Record], spec: PreprocessSpec) -> None:
        self._root, self._records, self._spec = dataset.root, tuple(records), spec

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        record = self._records[index]
        try:
            return fitted(self._root, record, self._spec)
        except ImageError as error:
            check = command_line("pelagia", "dataset", "check", self._root)
            raise DatasetError(f"{record.path}: {error}; run `{check}`") from None


def open_crops(
    dataset: Dataset,
    parts: Sequence[Sequence[Record]],
    spec: PreprocessSpec,
    *,
    folder: Path | None = None,
    stream: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> list[Sequence[Image]]:
    """Opens the images of each of ``parts``, from the cache or streamed.

    Args:
        folder: the folder of the cache; None: `default_folder`.
        stream: decode the originals at each access, without a cache.

    Raises:
        DatasetError: images are missing, cannot be decoded, or differ from the manifest.
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
                f"epoch, which is slower; better name a folder with {size:.1f} GB free: --set data.cache=FOLDER"
            )
    return [StreamedCrops(dataset, part, spec) for part in parts]


def default_folder() -> Path:
    """The folder of the cache unless `data.cache` names one."""
    return (folder_from_environment(HOME_VARIABLE) or user_folder("cache")) / "crops"


def fitted(root: Path, record: Record, spec: PreprocessSpec) -> Image:
    """Loads one image of a dataset: uint8, size x size x 3, RGB.

    Raises:
        ImageError: the image is missing, cannot be decoded, or differs from the manifest.
    """
    try:
        data = (root / record.path).read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"the image cannot be read ({error.strerror})") from None
    if sha256_of(data) != record.sha256:
        raise ImageError("damaged", _CHANGED)
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
    wanted = sorted(by_content)
    decoded: set[str] = set()
    rows_now = rows_of(dataset, everything)

    def make(indices: Sequence[int]) -> Iterator[Image]:
        records = [by_content[wanted[index]] for index in indices]
        decoded.update(record.path for record in records)
        return _decoded(dataset, records, everything, spec)

    images = open_cache(folder, dataset.meta.name, spec, wanted, make, report)
    if faults := changed(dataset, everything, rows_now, folder, decoded):
        raise _unusable(dataset, [(record, _CHANGED) for record in faults], everything)
    rows = {sha256: row for row, sha256 in enumerate(wanted)}
    return [images.at([rows[record.sha256] for record in part]) for part in parts]


def _decoded(
    dataset: Dataset, records: Sequence[Record], everything: Sequence[Record], spec: PreprocessSpec
) -> Iterator[Image]:
    """Yields the images of ``records`` in their order, few in memory at once. All faults become one DatasetError."""
    faults: list[tuple[Record, str]] = []

    def one(record: Record) -> Image | None:
        try:
            return fitted(dataset.root, record, spec)
        except ImageError as error:
            faults.append((record, str(error)))
            return None

    with thread_pool() as pool:
        for start in range(0, len(records), _CHUNK):
            yield from (image for image in pool.map(one, records[start : start + _CHUNK]) if image is not None)
    if faults:
        raise _unusable(dataset, faults, everything)


def _require_files(dataset: Dataset, records: Sequence[Record]) -> None:
    """Raises DatasetError if files are missing. A cache would hide this, and the export would fail later."""
    with thread_pool() as pool:
        there = list(pool.map(lambda record: dataset.file(record).is_file(), records))
    missing = [(record, "the file is missing") for record, found in zip(records, there, strict=True) if not found]
    if missing:
        raise _unusable(dataset, missing, records)


def _unusable(dataset: Dataset, faults: Sequence[tuple[Record, str]], records: Sequence[Record]) -> DatasetError:
    """An error with the number of unusable images per class, the first of them, and the remedy."""
    whole = Counter(record.class_name for record in records)
    broken = Counter(record.class_name for record, _ in faults)
    classes = first_few(f"'{name}' {count} of {whole[name]}" for name, count in broken.most_common())
    record, fault = min(faults, key=lambda one: one[0].path)
    check = command_line("pelagia", "dataset", "check", dataset.root)
    return DatasetError(
        f"{len(faults)} of {len(records)} images of {dataset.root} cannot be used (class {classes}), the first "
        f"{record.path}: {fault}; put them back (`{check}` lists all), or import the "
        "dataset again"
    )
