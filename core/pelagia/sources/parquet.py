"""Parquet manifests, read a few thousand rows at a time.

They need the extra ``parquet``; pyarrow is imported when a manifest is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, MissingExtra
from pelagia.sources.image import Kind, SourceImage
from pelagia.sources.listing import Listing
from pelagia.sources.manifest import PATH_COLUMN, Rows, Table, folder_name, images_of, require_columns

_ROWS = 4096


def images(manifest: Path, _: Listing) -> Iterator[SourceImage]:
    """The images listed in the column ``path`` of a Parquet table. Paths are relative to the table's folder.

    Raises:
        MissingExtra: pyarrow is not installed.
        InputError: the file is not a Parquet file, or the table has a fault that `read_manifest` refuses in a CSV file.
    """
    return images_of(Table(manifest, lambda: _rows(manifest), "row"))


def _rows(manifest: Path) -> Rows:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra(f"the manifest {manifest.name}", "parquet", "pyarrow") from None
    try:
        with parquet.ParquetFile(manifest) as table:
            require_columns(table.schema_arrow.names, PATH_COLUMN, manifest)
            number = 0
            for batch in table.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    texts = {name: _text(value) for name, value in row.items()}
                    if any(value.strip() for value in texts.values()):
                        yield number, texts
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{manifest} cannot be read as Parquet: {str(error).splitlines()[0]}; copy it again, or save it as CSV"
        ) from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def _claims(path: Path) -> bool:
    return path.suffix.lower() in {".parquet", ".pq"} and path.is_file()


KIND = Kind(claims=_claims, images=images, label=folder_name)
