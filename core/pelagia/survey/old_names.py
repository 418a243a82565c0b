"""Renames the rows of older surveys, whose paths hold control characters as they are.

Invariant: the names in an open survey are those that the same input has now (`pelagia.system.files.printable`), so that
no image is classified twice.
"""

from __future__ import annotations

import sqlite3

from pelagia.system.files import printable

NAMES = {"names": "printable"}
"""The entry of ``meta`` that says that the names of a survey are as `printable` writes them."""


def escape_old_names(db: sqlite3.Connection, meta: dict[str, str]) -> None:
    """Escapes the paths of a survey that has no entry `NAMES`, and adds the entry to its ``meta``, open for writing."""
    if NAMES.items() <= meta.items():
        return
    db.create_function("printable", 1, printable, deterministic=True)
    db.execute("BEGIN")
    db.execute("UPDATE OR IGNORE images SET path = printable(path) WHERE path <> printable(path)")
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", NAMES.items())
    db.execute("COMMIT")
    meta.update(NAMES)
