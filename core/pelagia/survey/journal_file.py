"""The SQLite file of a journal: its folder, its locks, its connection, and its errors in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pelagia.errors import SurveyError, newer_schema
from pelagia.survey.old_names import NAMES
from pelagia.system.locking import REMEDY, SCRATCH, locking_fault, sqlite_code
from pelagia.system.version import __version__


def make_folder(folder: Path, journal: Path) -> None:
    """Makes the folder of a survey. Raises SurveyError if it is a file, or holds other files and no survey."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not journal.exists() and any(not entry.name.startswith(SCRATCH) for entry in folder.iterdir()):
            raise SurveyError(f"{folder} holds other files but no survey: name a new folder")
    except (FileExistsError, NotADirectoryError):
        raise SurveyError(f"{folder} is a file, or is inside one: name a folder for the survey") from None
    except OSError as error:
        raise SurveyError(f"cannot make the survey {folder}: {error.strerror}; name another folder") from None


def require_locking(folder: Path) -> None:
    """Refuses a disk on which two runs could write at once. SQLite itself reports a folder that cannot be written."""
    try:
        fault = locking_fault(folder)
    except OSError:
        return
    if fault:
        with suppress(OSError):  # it fails if the folder holds a survey already
            folder.rmdir()
        raise SurveyError(f"cannot keep a survey in {folder}: {fault}, as on some network drives; {REMEDY}")


def connect(journal: Path, mode: str) -> sqlite3.Connection:
    """A connection without automatic transactions; ``mode`` is "ro" to read, "rwc" to write and create."""
    address = f"{journal.absolute().as_uri()}?mode=ro" if mode == "ro" else str(journal)
    try:
        return sqlite3.connect(address, uri=mode == "ro", timeout=1.0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise explain(error, journal) from None


def begin(db: sqlite3.Connection, meta: Mapping[str, str], tables: str) -> None:
    """Makes ``db`` a journal with one writer, and creates its ``tables`` if it has none."""
    reserve(db)
    db.execute("BEGIN EXCLUSIVE")
    if not has_tables(db):
        for statement in tables.split(";\n"):
            db.execute(statement)
        about = {**NAMES, "created": datetime.now(UTC).isoformat(timespec="seconds"), "pelagia": __version__}
        db.executemany("INSERT INTO meta VALUES (?, ?)", [*meta.items(), *about.items()])
    db.execute("COMMIT")


def reserve(db: sqlite3.Connection) -> None:
    """Makes ``db`` the only connection to its journal. Raises sqlite3.DatabaseError if another process uses it."""
    db.execute("PRAGMA locking_mode=EXCLUSIVE")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("COMMIT")


def has_tables(db: sqlite3.Connection) -> bool:
    """Whether a database has the tables of a journal."""
    query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('meta', 'images')"
    return bool(db.execute(query).fetchone()[0] == 2)


def require_same(folder: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raises SurveyError if a survey does not have the wanted values in its table meta."""
    for key, value in wanted.items():
        if found.get(key) == value:
            continue
        if key == "schema" and (fault := newer_schema(found.get(key), (1, 2))):
            raise SurveyError(f"the survey {folder} {fault}, or choose a new --out folder")
        raise SurveyError(
            f"the survey {folder} was made with another {_MEANINGS[key]} ({_short(found.get(key))}, this is "
            f"{_short(value)}): choose a new --out folder"
        )


_MEANINGS = {
    "schema": "version of Pelagia's survey format",
    "model_sha256": "model",
    "classes": "list of classes",
    "settings": "set of settings",
}


def _short(text: str | None) -> str:
    return "none" if text is None else text if len(text) <= 80 else f"{text[:77]}..."


def explain(error: sqlite3.DatabaseError, journal: Path) -> SurveyError:
    """An error of SQLite in words: what happened to the journal, and what to do."""
    code = sqlite_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SurveyError(f"another process is writing to {journal.parent}: wait for it, or stop it")
    if code == sqlite3.SQLITE_FULL:
        return SurveyError(
            f"the disk of {journal.parent} is full: free some space and run the same command again; "
            "it resumes where it stopped"
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR):  # ERROR: other tables
        return SurveyError(
            f"{journal} is damaged or not a survey of Pelagia ({error}): copy it again from a backup, or classify into "
            "a new folder"
        )
    return SurveyError(
        f"cannot use {journal}: {error}; check the disk and its permissions, then run the same command again"
    )
