"""Embeddings: one vector per image, in one Parquet file. Similar images have similar vectors.

They come from the output ``embedding`` of a model. Labelling uses them to put similar images beside each other, and to
choose what to label next. Reading and writing need the extra ``parquet``.

Invariant: a file is complete or absent. All rows have vectors of one length, of one model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError, MissingExtra, first_line
from pelagia.system.files import new_file

EMBEDDINGS_FILE = "embeddings.parquet"
"""Name of the file in a survey folder."""
EMBEDDING_TOLERANCE = 1e-3
"""Largest allowed `relative_distance` between the embeddings that two programs or machines compute. It is the precision
of float16, in which embeddings are stored."""

_MODEL = b"pelagia.model_sha256"


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of some images.

    Attributes:
        model_sha256: SHA-256 of the model that computed them, 64 hex digits.
        paths: path of each image, as in the survey or the dataset.
        sha256: SHA-256 of the bytes of each image, 64 hex digits. Images are recognized by it.
        vectors: float16, N x D, of any length (not normalized).
    """

    model_sha256: str
    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    vectors: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.paths)

    def index(self) -> dict[str, int]:
        """SHA-256 -> row of the image; the first row, if several images have the same bytes."""
        rows: dict[str, int] = {}
        for row, sha256 in enumerate(self.sha256):
            rows.setdefault(sha256, row)
        return rows


def relative_distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest distance between two rows, as a share of the length of the expected one; both float32, N x D."""
    lengths = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    return float((np.linalg.norm(found - expected, axis=1) / lengths).max())


def read_embeddings(path: Path) -> Embeddings:
    """Reads embeddings from a file, or from the file `EMBEDDINGS_FILE` of a survey folder.

    Raises:
        MissingExtra: pyarrow is not installed.
        InputError: there is no such file, or it does not hold embeddings.
    """
    file = path / EMBEDDINGS_FILE if path.is_dir() else path
    pyarrow = _pyarrow(f"the embeddings {file.name}")
    from pyarrow import parquet

    if not file.is_file():
        raise InputError(f"there are no embeddings at {file}: make them with `pelagia embed`")
    try:
        table = parquet.read_table(file, memory_map=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        problem = first_line(error)
        raise InputError(
            f"{file} is no file of embeddings, or is damaged: make one with `pelagia embed` ({problem})"
        ) from None
    model = (table.schema.metadata or {}).get(_MODEL)
    if model is None or table.schema.names != ["path", "sha256", "embedding"]:
        raise InputError(f"{file} does not hold embeddings: make them with `pelagia embed`")
    length = table.schema.field("embedding").type.list_size
    column = table.column("embedding").combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False) if len(table) else np.empty(0, np.float16)
    return Embeddings(
        model.decode(),
        tuple(table.column("path").to_pylist()),
        tuple(table.column("sha256").to_pylist()),
        flat.reshape(len(table), length),
    )


class EmbeddingsWriter:
    """Appends rows to a file of embeddings. `writing_embeddings` makes one."""

    def __init__(self, pyarrow: ModuleType, file: Any, model_sha256: str) -> None:
        self._pyarrow, self._file, self._model = pyarrow, file, model_sha256
        self._writer: Any = None
        self._schema: Any = None

    def add(self, paths: Sequence[str], sha256: Sequence[str], vectors: NDArray[np.floating[Any]]) -> None:
        """Appends images; ``vectors`` is N x D, of any floating type, and D is the same in each call."""
        pa = self._pyarrow
        if self._writer is None:
            self._open(vectors.shape[1])
        flat = pa.array(np.ascontiguousarray(vectors, np.float16).reshape(-1))
        embedding = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        columns = [pa.array(paths, pa.string()), pa.array(sha256, pa.string()), embedding]
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        if self._writer is None:
            self._open(1)
        self._writer.close()

    def _open(self, length: int) -> None:
        from pyarrow import parquet

        pa = self._pyarrow
        fields = [("path", pa.string()), ("sha256", pa.string()), ("embedding", pa.list_(pa.float16(), length))]
        self._schema = pa.schema(fields, metadata={_MODEL: self._model.encode()})
        self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")


@contextmanager
def writing_embeddings(file: Path, model_sha256: str) -> Iterator[EmbeddingsWriter]:
    """Writes a file of embeddings. If the ``with`` block raises, no file is left and an old one stays.

    Raises:
        MissingExtra: pyarrow is not installed.
    """
    pyarrow = _pyarrow("writing embeddings")
    with new_file(file) as sink:
        writer = EmbeddingsWriter(pyarrow, sink, model_sha256)
        try:
            yield writer
        finally:
            writer.close()


def _pyarrow(what: str) -> ModuleType:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtra(what, "parquet", "pyarrow") from None
    module: ModuleType = pyarrow
    return module
