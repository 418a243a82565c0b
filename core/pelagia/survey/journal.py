"""The rows of a SURVEY: one SQLite file in a survey folder, which is both the journal of a run and its result.

Invariant: a row is both a result and a mark of progress. So a killed run loses only the batch that was not committed,
and the same command resumes it. A survey belongs to one model and one set of settings and refuses any other. Every
image is one row: ``ok``, or ``failed`` with a reason of `pelagia.images.preprocess.REASONS`. No other module knows the
form of the file.

Schema 1, for a model without a decision rule
    meta(key, value)      schema, model_sha256, settings (JSON), classes (JSON), origin, model, created, pelagia, names
        model: `pelagia.model.card.ModelCard` as JSON; older surveys lack it
    images(path PK, file, status, reason, message, sha256, class, probability, probabilities, columns)
        probabilities: float32, little-endian, one for each class in the order of meta.classes
        columns: JSON object, the columns of the input or the EXIF values of the image
Schema 2, for a model with a decision rule
    images(..., decision, accepted_as, accepted_rank, unknown)
        the first three: `pelagia.model.decision.Verdict`; unknown: the out-of-distribution score, or null

A survey may have further tables, which programs that do not know them leave alone: `pelagia.survey.vectors`,
`pelagia.survey.additions` and `pelagia.survey.signatures`.

The model determines the schema, so a survey is resumed with the schema that it was started with.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import SurveyError
from pelagia.images.remarks import RemarkCounts
from pelagia.model.decision import NO_VERDICT, Verdict
from pelagia.shell import command_line
from pelagia.survey.columns import ResultColumns
from pelagia.survey.journal_file import (
    begin,
    connect,
    explain,
    has_tables,
    make_folder,
    require_locking,
    require_same,
    reserve,
)
from pelagia.survey.old_names import escape_old_names
from pelagia.survey.vectors import HAS_VECTOR, add_vectors, has_vectors, make_vectors, vectors_of
from pelagia.system.files import printable
from pelagia.system.paths import StrPath

SCHEMA, DECIDING_SCHEMA = "1", "2"
JOURNAL_FILE = "survey.sqlite"
TRANSIENT = ("missing", "unreadable", "timed_out")
"""Reasons that may not apply in the next run, if the drive is connected again. Rows with them do not count as done."""
NEXT_CLASSES = 2
"""Number of classes after the most likely one that the CSV names."""

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
    """The result of one image.

    Attributes:
        path: the name of the image in the survey.
        file: the absolute path of its file; bytes that are not UTF-8 are escaped.
        reason: the reason why it failed, a key of `pelagia.images.preprocess.REASONS`; empty if it did not fail.
        message: the reason in words; if it did not fail, the remarks on it (`pelagia.images.remarks`), mostly empty.
        sha256: the SHA-256 of its bytes, 64 hex digits; empty if they could not be read.
        probabilities: float32, one for each class, summing to 1; None if it failed.
        unknown: the out-of-distribution score, higher if less like the training images; None: the model has none.
        verdict: what the model decided: the class, a higher taxon, or unknown.
        columns: the columns of the input for this image, or its EXIF values.
        embedding: float16, D; None if it was not asked for, and in rows that are read: `Survey.embeddings` reads it.
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
    embedding: NDArray[np.float16] | None = None

    @property
    def ok(self) -> bool:
        """Whether it was classified."""
        return self.probabilities is not None


class Survey:
    """The open journal of a survey. Use it as a context manager.

    Attributes:
        folder: the survey folder.
        meta: the table ``meta``, as text.
        classes: the class names, in the order of the probabilities.
        decides: whether the rows hold verdicts (schema 2).
        keeps_embeddings: whether it has a place for the embeddings of its images.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._db = connection
        self.meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
        self.classes: tuple[str, ...] = tuple(json.loads(self.meta.get("classes", "[]")))
        self.decides = self.meta.get("schema") == DECIDING_SCHEMA
        self.keeps_embeddings = has_vectors(connection)

    @classmethod
    def open_for_writing(
        cls,
        folder: StrPath,
        *,
        model_sha256: str,
        classes: Sequence[str],
        settings: Mapping[str, Any],
        origin: str = "",
        decides: bool = False,
        model: str = "",
    ) -> Survey:
        """Opens a survey to resume it, or makes a new one.

        Args:
            origin: the place of the images; a survey keeps its first origin.
            decides: whether the model gives verdicts.
            model: the card of the model as JSON; a survey keeps its first card.

        Raises:
            SurveyError: it belongs to another model or to other settings (the message says what differs), another
                process writes to it, locks do not work on its disk, or it is not a survey.
        """
        folder = Path(folder)
        journal = folder / JOURNAL_FILE
        make_folder(folder, journal)
        require_locking(folder)
        meta = {
            "model_sha256": model_sha256,
            "schema": DECIDING_SCHEMA if decides else SCHEMA,
            "classes": json.dumps(list(classes)),
            "settings": json.dumps(dict(settings), sort_keys=True),
        }
        db = connect(journal, "rwc")
        try:
            begin(db, {**meta, "origin": origin, "model": model}, _TABLES + _DECIDING if decides else _TABLES)
            survey = cls(folder, db)
            require_same(folder, survey.meta, meta)
            escape_old_names(db, survey.meta)
        except (sqlite3.DatabaseError, SurveyError) as error:
            db.close()
            raise (error if isinstance(error, SurveyError) else explain(error, journal)) from None
        return survey

    @classmethod
    def open(cls, folder: StrPath, *, to_add: bool = False) -> Survey:
        """Opens a survey to read it.

        Args:
            to_add: whether something is added to it, by `pelagia.survey.additions`; no other process may use it then.

        Raises:
            SurveyError: there is no survey, it is damaged or of another schema, or is in use.
        """
        folder = Path(folder)
        journal = folder / JOURNAL_FILE
        if folder.is_file():
            raise SurveyError(f"{folder} is a file: name the survey's folder, {folder.parent}")
        if not journal.is_file():
            make = command_line("pelagia", "classify", "MODEL.onnx", "INPUT", "--out", folder)
            raise SurveyError(f"there is no survey in {folder}: make one with `{make}`")
        db = connect(journal, "rwc" if to_add else "ro")
        try:
            if to_add:
                reserve(db)
            if not has_tables(db):
                raise SurveyError(f"{journal} is not a survey of Pelagia: choose another folder")
            survey = cls(folder, db)
            if survey.meta.get("schema") not in (SCHEMA, DECIDING_SCHEMA):
                require_same(folder, survey.meta, {"schema": f"{SCHEMA} or {DECIDING_SCHEMA}"})
        except sqlite3.DatabaseError as error:
            db.close()
            raise explain(error, journal) from None
        except SurveyError:
            db.close()
            raise
        return survey

    def __enter__(self) -> Survey:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the journal. It is then one file, which can be copied, and read from a disk like a DVD."""
        with suppress(sqlite3.DatabaseError):  # another reader or a full disk: then SQLite's files stay; they are valid
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Writes rows in one transaction. The row of a path that is in the survey already is replaced.

        A classified image that fails when it is read again for its embedding keeps its row.

        Raises:
            SurveyError: the disk is full or failing; no row of the batch is kept.
        """
        predictions = self._without_lost(list(predictions)) if self.keeps_embeddings else list(predictions)
        rows = [self._row(prediction) for prediction in predictions]
        if not rows:
            return
        vectors = [(row[0], one.embedding) for row, one in zip(rows, predictions, strict=True)]
        with self._transaction():
            self._db.executemany(f"INSERT OR REPLACE INTO images VALUES ({','.join('?' * len(rows[0]))})", rows)
            if self.keeps_embeddings:
                add_vectors(self._db, [(path, vector) for path, vector in vectors if vector is not None])

    def _without_lost(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """The predictions without failed images whose row is classified."""
        failed = [printable(prediction.path) for prediction in predictions if not prediction.ok]
        kept = self.hashes(failed) if failed else {}
        return [one for one in predictions if one.ok or printable(one.path) not in kept]

    def _row(self, prediction: Prediction) -> tuple[Any, ...]:
        name, probability, blob = "", None, None
        if prediction.probabilities is not None:
            best = int(prediction.probabilities.argmax())
            name, probability = self.classes[best], float(prediction.probabilities[best])
            blob = prediction.probabilities.astype("<f4").tobytes()
        status = "ok" if prediction.ok else "failed"
        columns = json.dumps(dict(prediction.columns), ensure_ascii=False)
        path, file, message = map(printable, (prediction.path, prediction.file, prediction.message))
        row = path, file, status, prediction.reason, message, prediction.sha256, name, probability, blob, columns
        verdict = prediction.verdict
        return (*row, verdict.decision, verdict.name, verdict.rank, prediction.unknown) if self.decides else row

    def keep_embeddings(self) -> None:
        """Makes a place for embeddings. From then on, an image without one is not done. Raises SurveyError."""
        with self._explained():
            make_vectors(self._db)
        self.keeps_embeddings = True

    def embeddings(self, path: str | None = None) -> Iterator[tuple[str, str, NDArray[np.float16]]]:
        """Path, SHA-256 and embedding (float16, D) of each classified image that has one, or only of ``path``."""
        with self._explained():
            yield from vectors_of(self._db, path)

    def done(self, paths: Sequence[str], *, ok_only: bool = False) -> set[str]:
        """The paths that no run needs to try again; with ``ok_only``, only the paths that are classified."""
        only = " AND status = 'ok'" if ok_only else f" AND reason NOT IN {TRANSIENT}"
        only += f" AND {HAS_VECTOR}" if self.keeps_embeddings else ""
        found: set[str] = set()
        for start in range(0, len(paths), 500):
            part = paths[start : start + 500]
            query = f"SELECT path FROM images WHERE path IN ({','.join('?' * len(part))}){only}"
            found.update(path for (path,) in self.read(query, part))
        return found

    def forget_transient(self) -> None:
        """Deletes the rows of images that could not be read, so that a run tries them again.

        A folder that could not be listed is a row too, but not an image: no later row would replace it.

        Raises:
            SurveyError: the disk is full or failing.
        """
        with self._explained():
            self._db.execute(f"DELETE FROM images WHERE reason IN {TRANSIENT}")

    def hashes(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> SHA-256, for the paths that were classified."""
        query = f"SELECT path, sha256 FROM images WHERE status = 'ok' AND path IN ({','.join('?' * len(paths))})"
        return dict(self.read(query, paths))

    def __iter__(self) -> Iterator[Prediction]:
        """All rows, sorted by path."""
        return self.rows("TRUE")

    def rows_of(self, paths: Sequence[str]) -> Iterator[Prediction]:
        """The rows of these paths, at most some hundreds, sorted by path. A path that the survey lacks has none."""
        return self.rows(f"path IN ({','.join('?' * len(paths))})", paths)

    def rows(self, condition: str, values: Sequence[str] = ()) -> Iterator[Prediction]:
        """The rows for which an SQL condition holds, sorted by path."""
        names = "path, file, sha256, reason, message, probabilities, columns"
        names += ", unknown, decision, accepted_as, accepted_rank" if self.decides else ""
        query = f"SELECT {names} FROM images WHERE {condition} ORDER BY path"
        for path, file, sha256, reason, message, blob, columns, *decided in self.read(query, values):
            probabilities = None if blob is None else np.frombuffer(blob, "<f4")
            unknown, verdict = (decided[0], Verdict(*decided[1:])) if decided else (None, NO_VERDICT)
            own = json.loads(columns)
            yield Prediction(path, file, sha256, reason, message, probabilities, unknown, verdict, own)

    def __len__(self) -> int:
        return next(int(count) for (count,) in self.read("SELECT COUNT(*) FROM images"))

    def counts_by_class(self) -> Counter[str]:
        """Number of classified images by class."""
        return Counter(dict(self.read("SELECT class, COUNT(*) FROM images WHERE status = 'ok' GROUP BY class")))

    def counts_by_verdict(self) -> Counter[Verdict]:
        """Number of classified images by verdict; empty if the model does not decide."""
        if not self.decides:
            return Counter()
        names = "decision, accepted_as, accepted_rank"
        query = f"SELECT {names}, COUNT(*) FROM images WHERE status = 'ok' GROUP BY {names}"
        return Counter({Verdict(*verdict): count for *verdict, count in self.read(query)})

    def counts_by_reason(self) -> Counter[str]:
        """Number of failed images by reason."""
        query = "SELECT reason, COUNT(*) FROM images WHERE status = 'failed' GROUP BY reason"
        return Counter(dict(self.read(query)))

    def remarks(self) -> RemarkCounts:
        """The remarks on the images that were classified."""
        counts = RemarkCounts()
        only = "status = 'ok' AND message != ''"
        query = f"SELECT message, MIN(path), COUNT(*) FROM images WHERE {only} GROUP BY message ORDER BY MIN(path)"
        for message, first, images in self.read(query):
            counts.add(message, first, images)
        return counts

    def has_table(self, name: str) -> bool:
        """Whether the journal has a table."""
        return bool(list(self.read("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))))

    def write(self, first: Sequence[str], *inserts: tuple[str, Iterable[Sequence[Any]]]) -> None:
        """Runs the first statements, then each other one once for each of its rows, in one transaction.

        Raises:
            SurveyError: the disk is full or failing; nothing is changed.
        """
        with self._transaction():
            for statement in first:
                self._db.execute(statement)
            for statement, rows in inserts:
                self._db.executemany(statement, rows)

    def read(self, query: str, values: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows that a query finds. Raises SurveyError if the journal is damaged."""
        with self._explained():
            yield from self._db.execute(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Keeps all changes of the block, or none if it fails; an error of SQLite becomes a SurveyError."""
        with self._explained():
            try:
                self._db.execute("BEGIN")
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns an error of SQLite inside the block into a SurveyError."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise explain(error, self.folder / JOURNAL_FILE) from None

    def columns(self) -> ResultColumns:
        """The columns of its results, the same in every format; those of the input are in the order of the input."""
        query = "SELECT key FROM images, json_each(images.columns) GROUP BY key ORDER BY MIN(json_each.id), key"
        own = tuple(name for (name,) in self.read(query))
        rules = self.decides and bool(self.meta.get("model"))
        return ResultColumns(min(1 + NEXT_CLASSES, len(self.classes)), own, self.decides, rules)
