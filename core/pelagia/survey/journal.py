"""The PREDICTIONS: one SQLite file in a survey folder, journal and result at once, and its only definition.

Invariant: rows and progress are the same thing and commit together, so a killed run loses at most the uncommitted
batch and a second start continues. A survey belongs to one model and one set of settings and refuses any other. EveryNth
image is one row, ``ok`` or ``failed`` with a reason of `pelagia.images.preprocess.REASONS`.

Schema 1, of a model that gives nothing but probabilities
    meta(key, value)      schema, model_sha256, settings (JSON), classes (JSON), origin, created, pelagia
    images(path PK, file, status, reason, message, sha256, class, probability, probabilities, columns)
        probabilities: float32, little-endian, one a class in the order of meta.classes
        columns: JSON object, what the input or the image's own EXIF says of it
Schema 2, of one that also decides
    images(..., decision, accepted_as, accepted_rank, unknown)
        the first three: `pelagia.model.decision.Verdict`; unknown: the score, or null

A model's file decides which it is, so a survey of either schema is continued as it was begun.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia import __version__
from pelagia.errors import SurveyError
from pelagia.model.decision import NO_VERDICT, Verdict
from pelagia.survey.columns import Columns
from pelagia.system.files import printable
from pelagia.system.locking import REMEDY, SCRATCH, locking_fault

SCHEMA, DECIDING_SCHEMA = "1", "2"
JOURNAL_FILE = "survey.sqlite"
TRANSIENT = ("missing", "unreadable", "timed_out")
"""Reasons that the disk may not give next time, when the drive is back: such rows do not count as done."""
NEXT_CLASSES = 2
"""How many classes after the first the CSV names."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    path TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    class TEXT NOT NULL,
    probability REAL,
    probabilities BLOB,
    columns TEXT NOT NULL
);
"""
_DECIDING = """
ALTER TABLE images ADD COLUMN decision TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN accepted_as TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN accepted_rank TEXT NOT NULL DEFAULT '';
ALTER TABLE images ADD COLUMN unknown REAL;
"""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What became of one image.

    Attributes:
        path: its name in the survey.
        file: where it lay, absolute; bytes that are not UTF-8 are spelled out.
        reason: why it failed; empty where it did not.
        sha256: of its bytes; empty where they could not be read.
        probabilities: float32, one a class, summing to 1; None where it failed.
        unknown: the score, higher where it is less like the known images; None where the model does not say.
        verdict: what is said of it: its class, a taxon, or nothing.
        columns: what the input says of it, or its own EXIF.
    """

    path: str
    file: str
    sha256: str = ""
    reason: str = ""
    message: str = ""
    probabilities: NDArray[np.float32] | None = None
    unknown: float | None = None
    verdict: Verdict = NO_VERDICT
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.probabilities is not None


class Survey:
    """An open predictions file. Use as a context manager."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        self.meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
        self.classes: tuple[str, ...] = tuple(json.loads(self.meta.get("classes", "[]")))
        self.decides = self.meta.get("schema") == DECIDING_SCHEMA

    @classmethod
    def open_for_writing(
        cls,
        folder: Path,
        *,
        model_sha256: str,
        classes: Sequence[str],
        settings: Mapping[str, Any],
        origin: str = "",
        decides: bool = False,
    ) -> Survey:
        """Opens a survey to continue it, or makes it. ``origin``, where its images lay, is kept of the first time.

        ``decides``: the model gives verdicts.

        Raises:
            SurveyError: it belongs to another model or other settings (the message says what differs), another process
                is writing to it, its disk would let a second process write to it as well, or it is not a survey.
        """
        journal = folder / JOURNAL_FILE
        _make_folder(folder, journal)
        _require_locking(folder)
        meta = {
            "model_sha256": model_sha256,
            "schema": DECIDING_SCHEMA if decides else SCHEMA,
            "classes": json.dumps(list(classes)),
            "settings": json.dumps(dict(settings), sort_keys=True),
        }
        db = _connect(journal, "rwc")
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("BEGIN EXCLUSIVE")
            if not _has_tables(db):
                for statement in (_TABLES + _DECIDING if decides else _TABLES).split(";\n"):
                    db.execute(statement)
                made = {
                    "origin": origin,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "pelagia": __version__,
                }
                db.executemany("INSERT INTO meta VALUES (?, ?)", [*meta.items(), *made.items()])
            db.execute("COMMIT")
            survey = cls(folder, db)
            survey._require(meta)
        except sqlite3.DatabaseError as error:
            db.close()
            raise _explain(error, journal) from None
        except SurveyError:
            db.close()
            raise
        return survey

    @classmethod
    def open(cls, folder: Path) -> Survey:
        """Opens a survey to read it.

        Raises:
            SurveyError: there is none, or it is damaged or of another schema.
        """
        journal = folder / JOURNAL_FILE
        if folder.is_file():
            raise SurveyError(f"{folder} is a file: name the survey's folder, {folder.parent}")
        if not journal.is_file():
            raise SurveyError(
                f"there is no survey in {folder}: make one with `pelagia classify MODEL.onnx INPUT --out {folder}`"
            )
        db = _connect(journal, "ro")
        try:
            if not _has_tables(db):
                raise SurveyError(f"{journal} is no survey of Pelagia's")
            survey = cls(folder, db)
            if survey.meta.get("schema") not in (SCHEMA, DECIDING_SCHEMA):
                survey._require({"schema": f"{SCHEMA} or {DECIDING_SCHEMA}"})
        except sqlite3.DatabaseError as error:
            db.close()
            raise _explain(error, journal) from None
        except SurveyError:
            db.close()
            raise
        return survey

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves one file that can be copied, and read where nothing can be written, such as on a DVD."""
        with suppress(sqlite3.DatabaseError):  # a reader, or a full disk: then SQLite's own files stay, and are whole
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def _require(self, meta: Mapping[str, str]) -> None:
        for key, wanted in meta.items():
            if self.meta.get(key) != wanted:
                raise SurveyError(
                    f"the survey {self.folder} was made with another {_MEANINGS[key]} ({_short(self.meta.get(key))}, "
                    f"this is {_short(wanted)}): choose a new --out folder"
                )

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Writes rows in one transaction. A path that is there already is replaced.

        Raises:
            SurveyError: the disk is full or failing; nothing of the batch is kept.
        """
        rows = [self._row(prediction) for prediction in predictions]
        if not rows:
            return
        try:
            self._db.execute("BEGIN")
            self._db.executemany(f"INSERT OR REPLACE INTO images VALUES ({','.join('?' * len(rows[0]))})", rows)
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.folder / JOURNAL_FILE) from None
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _row(self, one: Prediction) -> tuple[Any, ...]:
        name, probability, blob = "", None, None
        if one.probabilities is not None:
            best = int(one.probabilities.argmax())
            name, probability = self.classes[best], float(one.probabilities[best])
            blob = one.probabilities.astype("<f4").tobytes()
        status = "ok" if one.ok else "failed"
        columns = json.dumps(dict(one.columns), ensure_ascii=False)
        path, file, message = (printable(text) for text in (one.path, one.file, one.message))
        row = path, file, status, one.reason, message, one.sha256, name, probability, blob, columns
        said = one.verdict
        return (*row, said.decision, said.name, said.rank, one.unknown) if self.decides else row

    def done(self, paths: Sequence[str], *, ok_only: bool = False) -> set[str]:
        """Those of ``paths`` that need not be done again; with ``ok_only``, not those either that failed for good."""
        only = " AND status = 'ok'" if ok_only else f" AND reason NOT IN {TRANSIENT}"
        found: set[str] = set()
        for start in range(0, len(paths), 500):
            part = paths[start : start + 500]
            query = f"SELECT path FROM images WHERE path IN ({','.join('?' * len(part))}){only}"
            found.update(path for (path,) in self._select(query, part))
        return found

    def forget_transient(self) -> None:
        """Drops the rows of what could not be read, which a run is to try again.

        Left where they are, one would outlast its cause: a folder that could not be listed is a row, and no image.

        Raises:
            SurveyError: the disk is full or failing.
        """
        try:
            self._db.execute(f"DELETE FROM images WHERE reason IN {TRANSIENT}")
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.folder / JOURNAL_FILE) from None

    def hashes(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256 of those of ``paths`` that were classified."""
        query = f"SELECT path, sha256 FROM images WHERE status = 'ok' AND path IN ({','.join('?' * len(paths))})"
        return dict(self._select(query, paths))

    def __iter__(self) -> Iterator[Prediction]:
        """All rows, by path."""
        said = ", unknown, decision, accepted_as, accepted_rank" if self.decides else ""
        query = f"SELECT path, file, sha256, reason, message, probabilities, columns{said} FROM images ORDER BY path"
        for path, file, sha256, reason, message, blob, columns, *decided in self._select(query):
            probabilities = None if blob is None else np.frombuffer(blob, "<f4")
            unknown, verdict = (decided[0], Verdict(*decided[1:])) if decided else (None, NO_VERDICT)
            own = json.loads(columns)
            yield Prediction(path, file, sha256, reason, message, probabilities, unknown, verdict, own)

    def __len__(self) -> int:
        return next(int(count) for (count,) in self._select("SELECT COUNT(*) FROM images"))

    def counts_by_class(self) -> Counter[str]:
        """Images that were classified, by class."""
        return Counter(dict(self._select("SELECT class, COUNT(*) FROM images WHERE status = 'ok' GROUP BY class")))

    def counts_by_verdict(self) -> Counter[Verdict]:
        """Images that were classified, by what is said of them; none where the model does not decide."""
        if not self.decides:
            return Counter()
        names = "decision, accepted_as, accepted_rank"
        query = f"SELECT {names}, COUNT(*) FROM images WHERE status = 'ok' GROUP BY {names}"
        return Counter({Verdict(*said): count for *said, count in self._select(query)})

    def counts_by_reason(self) -> Counter[str]:
        """Images that failed, by reason."""
        query = "SELECT reason, COUNT(*) FROM images WHERE status = 'failed' GROUP BY reason"
        return Counter(dict(self._select(query)))

    def _select(self, query: str, values: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise _explain(error, self.folder / JOURNAL_FILE) from None

    def columns(self) -> Columns:
        """The columns of its results, in every format."""
        return Columns(min(1 + NEXT_CLASSES, len(self.classes)), tuple(self._own_columns()), self.decides)

    def _own_columns(self) -> list[str]:
        """The manifest's columns, in its order."""
        query = "SELECT key FROM images, json_each(images.columns) GROUP BY key ORDER BY MIN(json_each.id), key"
        return [name for (name,) in self._select(query)]


_MEANINGS = {
    "schema": "version of Pelagia's survey format",
    "model_sha256": "model",
    "classes": "list of classes",
    "settings": "set of settings",
}


def _short(text: str | None) -> str:
    return "none" if text is None else text if len(text) <= 80 else f"{text[:77]}..."


def _make_folder(folder: Path, journal: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not journal.exists() and any(not one.name.startswith(SCRATCH) for one in folder.iterdir()):
            raise SurveyError(f"{folder} holds other files and no survey: name a new folder")
    except (FileExistsError, NotADirectoryError):
        raise SurveyError(f"{folder} is a file, or lies in one: name a folder for the survey") from None
    except OSError as error:
        raise SurveyError(f"cannot make the survey {folder}: {error.strerror}; name another folder") from None


def _require_locking(folder: Path) -> None:
    """Refuses a disk on which two runs could mix. A folder that nothing may be written to is left to SQLite to name."""
    try:
        fault = locking_fault(folder)
    except OSError:
        return
    if fault:
        with suppress(OSError):  # it was made for this survey, or holds one
            folder.rmdir()
        raise SurveyError(f"cannot keep a survey in {folder}: {fault}, as on some network drives; {REMEDY}")


def _connect(journal: Path, mode: str) -> sqlite3.Connection:
    """A connection that commits when told to; ``mode`` is "ro" to read, "rwc" to write and make."""
    address = f"{journal.absolute().as_uri()}?mode=ro" if mode == "ro" else str(journal)
    try:
        return sqlite3.connect(address, uri=mode == "ro", timeout=1.0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise _explain(error, journal) from None


def _has_tables(db: sqlite3.Connection) -> bool:
    query = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('meta', 'images')"
    return bool(db.execute(query).fetchone()[0] == 2)


def _explain(error: sqlite3.DatabaseError, journal: Path) -> SurveyError:
    text = str(error)
    if "locked" in text:
        return SurveyError(f"another process is writing to {journal.parent}: wait for it, or stop it")
    if "full" in text:
        return SurveyError(
            f"the disk of {journal.parent} is full: free some space and run the same command again; "
            "it goes on where it stopped"
        )
    if any(sign in text for sign in ("not a database", "malformed", "no such", "already exists")):
        return SurveyError(f"{journal} is damaged or no survey of Pelagia's ({text}): choose a new --out folder")
    return SurveyError(
        f"cannot use {journal}: {text}; check the disk and its permissions, then run the same command again"
    )
