"""Notices images that were changed after the dataset was made, although the cache holds their decoded pixels.

Invariant: a file that passes has the SHA-256 of the manifest, or had it when it was last read and has the same size and
time of change since. So an unchanged dataset costs one `stat` per image, and no image is read twice.

    FOLDER/NAME-XXXXXXXX.seen   one row per image: hash of its path, SHA-256, size, time of change; X: hash of the root
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pelagia.dataset.schema import Dataset, Record
from pelagia.system.cores import thread_pool
from pelagia.system.files import new_file, sha256_of_file, slug

_ROW = np.dtype([("path", "V16"), ("sha256", "V32"), ("size", "<i8"), ("time", "<i8")])


def rows_of(dataset: Dataset, records: Sequence[Record]) -> NDArray[np.void]:
    """What identifies the files of ``records`` now: one row per record. Raises OSError if a file is missing."""

    def row(record: Record) -> tuple[bytes, bytes, int, int]:
        found = dataset.file(record).stat()
        name = blake2b(record.path.encode(), digest_size=16).digest()
        return name, bytes.fromhex(record.sha256), found.st_size, found.st_mtime_ns

    with thread_pool() as pool:
        return np.array(list(pool.map(row, records)), _ROW)


def changed(
    dataset: Dataset, records: Sequence[Record], rows: NDArray[np.void], folder: Path, verified: Collection[str]
) -> list[Record]:
    """The records whose files no longer have the SHA-256 of the manifest. Remembers the others in ``folder``.

    Args:
        rows: the result of `rows_of` for ``records``.
        folder: the folder of the cache.
        verified: paths of records that were read and compared just now.

    Raises:
        OSError: a file cannot be read.
    """
    file = folder / f"{slug(dataset.meta.name)}-{_place(dataset.root)}.seen"
    seen = {row.tobytes() for row in _read(file)}
    unsure = [
        record
        for record, row in zip(records, rows, strict=True)
        if row.tobytes() not in seen and record.path not in verified
    ]
    with thread_pool() as pool:
        found = list(pool.map(lambda record: sha256_of_file(dataset.file(record)), unsure))
    wrong = [record for record, sha256 in zip(unsure, found, strict=True) if sha256 != record.sha256]
    if not wrong:
        current = {row.tobytes() for row in rows}
        if not current <= seen:
            paths = {row["path"].tobytes() for row in rows}
            others = [row.tobytes() for row in _read(file) if row["path"].tobytes() not in paths]
            _write(file, b"".join([*others, *sorted(current)]))
    return wrong


def _place(root: Path) -> str:
    return blake2b(str(root.resolve()).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _read(file: Path) -> NDArray[np.void]:
    try:
        return np.fromfile(file, _ROW)
    except (OSError, ValueError):
        return np.empty(0, _ROW)


def _write(file: Path, rows: bytes) -> None:
    with suppress(OSError):  # then the images are read again the next time
        file.parent.mkdir(parents=True, exist_ok=True)
        with new_file(file) as target:
            target.write(rows)
