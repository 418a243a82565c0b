"""The embeddings of a survey: one more table of its journal, made when they are asked for.

    vectors(path PK, vector)    vector: float16, little-endian, D numbers

Invariant: a vector is written in the transaction of its image's row, so a killed run leaves an image with both or with
none of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

HAS_VECTOR = "(status = 'failed' OR path IN (SELECT path FROM vectors))"
"""A condition on a row of images: it has its vector, or needs none."""


def has_vectors(db: sqlite3.Connection) -> bool:
    """Whether a journal has the table."""
    return bool(db.execute("SELECT COUNT(*) FROM sqlite_master WHERE name = 'vectors'").fetchone()[0])


def make_vectors(db: sqlite3.Connection) -> None:
    """Makes the table if the journal has none."""
    db.execute("CREATE TABLE IF NOT EXISTS vectors (path TEXT PRIMARY KEY, vector BLOB NOT NULL)")


def add_vectors(db: sqlite3.Connection, rows: Sequence[tuple[str, NDArray[np.float16]]]) -> None:
    """Writes paths with their vectors, float16, D. Those of a path that is there already are replaced."""
    encoded = ((path, vector.astype("<f2").tobytes()) for path, vector in rows)
    db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", encoded)


def vectors_of(db: sqlite3.Connection, path: str | None = None) -> Iterator[tuple[str, str, NDArray[np.float16]]]:
    """Path, SHA-256 and vector (float16, D) of each classified image that has one, or only of ``path``; sorted."""
    query = "SELECT path, sha256, vector FROM images JOIN vectors USING (path) WHERE status = 'ok'"
    only = ("", ()) if path is None else (" AND path = ?", (path,))
    for name, sha256, blob in db.execute(f"{query}{only[0]} ORDER BY path", only[1]):
        yield name, sha256, np.frombuffer(blob, "<f2").astype(np.float16, copy=False)
