"""Parquet tables, read a few thousand rows at a time. They need the extra ``parquet``."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, MissingExtra, first_line
from pelagia.tables.table import Rows, Table, refuse_twins

_ROWS = 4096


def open_parquet(path: Path, what: str) -> Table:
    """Reads the header of a Parquet table. Values become text: dates as ISO 8601, null as empty.

    Raises:
        MissingExtra: pyarrow is not installed.
        InputError: the file is not a Parquet file; ``rows`` raises it too.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra(f"the {what} {path.name}", "parquet", "pyarrow") from None

    def refusal(error: Exception) -> InputError:
        return InputError(f"{path} cannot be read as Parquet: {first_line(error)}; copy it again, or save it as CSV")

    def rows() -> Rows:
        number = 0
        try:
            with parquet.ParquetFile(path) as table:
                for batch in table.iter_batches(batch_size=_ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        texts = {name: _text(value) for name, value in row.items()}
                        if any(value.strip() for value in texts.values()):
                            yield number, texts
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise refusal(error) from None

    try:
        with parquet.ParquetFile(path) as table:
            columns = tuple(table.schema_arrow.names)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise refusal(error) from None
    refuse_twins(columns, str(path))
    return Table(str(path), columns, rows, "row")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
