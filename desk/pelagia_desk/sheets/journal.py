"""The journal of the labels that a person confirmed on the desk, until Label Studio has them. One SQLite file a user.

Invariant: a label is in this file, flushed to the disk, before the page says that it is accepted. The row keeps a
random number, which becomes the ``unique_id`` of the annotation. Label Studio refuses a second annotation with the same
number, so a label that is sent again after a crash or a broken connection cannot be there twice.

    labels(id, owner, step, task, unique_id, class, kind, how, prediction, meta, wanted, state, annotation, fault)
        wanted: 1 if Label Studio shall have the label, 0 after an undo
        state: waiting (never sent), sending (sent, the answer is not known), sent, gone (taken back), refused
    asides(owner, step, task, class)     crops that the person said are not of this class
    steps(id, owner, kind, text, undone) what one confirmation did: undo takes back the last one
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from pelagia.errors import InputError
from pelagia.system.paths import folder_from_environment, user_folder

HOME_VARIABLE = "PELAGIA_DESK_HOME"
WAITING, SENDING, SENT, GONE, REFUSED = "waiting", "sending", "sent", "gone", "refused"

_TABLES = """
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0, made_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT NOT NULL, step INTEGER NOT NULL, task INTEGER NOT NULL,
    unique_id TEXT NOT NULL UNIQUE, class TEXT NOT NULL, kind TEXT NOT NULL, how TEXT NOT NULL, prediction INTEGER,
    meta TEXT NOT NULL, wanted INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL DEFAULT 'waiting', annotation INTEGER,
    fault TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS open_labels ON labels (owner, state, wanted);
CREATE TABLE IF NOT EXISTS asides (
    owner TEXT NOT NULL, step INTEGER NOT NULL, task INTEGER NOT NULL, class TEXT NOT NULL
);
"""
_OPEN = "((wanted = 1 AND state IN ('waiting', 'sending')) OR (wanted = 0 AND state IN ('sending', 'sent')))"


@dataclass(frozen=True)
class Label:
    """A label that the person confirmed.

    Attributes:
        task: number of the task.
        class_name: the class; empty unless ``kind`` is "named".
        kind: "named" or "unsure".
        how: "seen" (accepted with its page), "chosen" (named alone) or "bisection" (accepted without being shown).
        prediction: number of the pre-label that was accepted; None if the person chose another class.
        meta: what else the annotation says of how it came to be.
    """

    task: int
    class_name: str
    kind: str = "named"
    how: str = "seen"
    prediction: int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A label in the journal, with what is known of its annotation."""

    id: int
    label: Label
    unique_id: str
    wanted: bool
    state: str
    annotation: int | None


@dataclass(frozen=True)
class Outcome:
    """What became of a label: its new state, the number of its annotation if it is known, why it was refused."""

    entry: Entry
    state: str
    annotation: int | None = None
    fault: str = ""


@dataclass(frozen=True)
class Step:
    """What one confirmation did, in words; and its tasks, labeled and set aside."""

    id: int
    kind: str
    text: str
    labeled: tuple[int, ...]
    asides: tuple[tuple[int, str], ...]


def default_file() -> Path:
    """The journal of this user: in the folder that ``PELAGIA_DESK_HOME`` names, or in the user's data folder."""
    return (folder_from_environment(HOME_VARIABLE) or user_folder("data") / "desk") / "labels.sqlite"


def waiting_in(file: Path) -> int:
    """How many labels wait in a journal, of all projects; 0 if there is no journal that can be read."""
    if not file.is_file():
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute(f"SELECT COUNT(*) FROM labels WHERE {_OPEN}").fetchone()[0])
    return 0


class Journal:
    """The labels of one person in one project. Every thread may use it.

    Args:
        file: the journal's file; it is made if needed.
        owner: the server, the project and the account, as one text.

    Raises:
        InputError: the file is no journal.
    """

    def __init__(self, file: Path, owner: str) -> None:
        self._owner = owner
        self._lock = threading.RLock()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._db = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"the journal {file} cannot be used ({error}): move it away, or name another folder in {HOME_VARIABLE}"
            ) from None
        if os.name == "posix":
            file.chmod(0o600)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction, flushed to the disk at its end."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def add(self, kind: str, text: str, labels: Sequence[Label], asides: Sequence[tuple[int, str]] = ()) -> int:
        """Writes what one confirmation did, in one transaction, and returns the number of the step.

        Args:
            kind: what the person did, for the page.
            text: the same in words, such as "96 labels 'copepod'".
            labels: the labels that were confirmed.
            asides: (task, class) of crops that the person said are not of this class.
        """
        with self._change() as db:
            step = int(
                db.execute(
                    "INSERT INTO steps (owner, kind, text) VALUES (?, ?, ?)", (self._owner, kind, text)
                ).lastrowid
                or 0
            )
            db.executemany(
                "INSERT INTO labels (owner, step, task, unique_id, class, kind, how, prediction, meta) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [self._row(step, label) for label in labels],
            )
            db.executemany(
                "INSERT INTO asides (owner, step, task, class) VALUES (?, ?, ?, ?)",
                [(self._owner, step, task, class_name) for task, class_name in asides],
            )
        return step

    def _row(self, step: int, label: Label) -> tuple[Any, ...]:
        meta = json.dumps({**label.meta, "step": step})
        number = str(uuid4())
        return self._owner, step, label.task, number, label.class_name, label.kind, label.how, label.prediction, meta

    def last_step(self) -> Step | None:
        """The last step that was not undone."""
        found = self._rows(
            "SELECT id, kind, text FROM steps WHERE owner = ? AND undone = 0 ORDER BY id DESC LIMIT 1", self._owner
        )
        if not found:
            return None
        number, kind, text = found[0]
        labeled = self._rows("SELECT task FROM labels WHERE step = ? AND state != ?", number, REFUSED)
        asides = self._rows("SELECT task, class FROM asides WHERE step = ?", number)
        return Step(number, kind, text, tuple(task for (task,) in labeled), tuple((row[0], row[1]) for row in asides))

    def undo(self, step: int) -> None:
        """Takes a step back: what was never sent is gone at once, what was sent is to be deleted in Label Studio."""
        with self._change() as db:
            db.execute("UPDATE steps SET undone = 1 WHERE id = ? AND owner = ?", (step, self._owner))
            db.execute("UPDATE labels SET wanted = 0 WHERE step = ? AND owner = ?", (step, self._owner))
            db.execute("UPDATE labels SET state = 'gone' WHERE step = ? AND state = 'waiting'", (step,))
            db.execute("DELETE FROM asides WHERE step = ? AND owner = ?", (step, self._owner))

    def to_send(self, limit: int) -> list[Entry]:
        """The next labels that Label Studio has not, and undone ones that it still has, the oldest first."""
        rows = self._rows(
            "SELECT id, task, unique_id, class, kind, how, prediction, meta, wanted, state, annotation FROM labels "
            f"WHERE owner = ? AND {_OPEN} ORDER BY id LIMIT ?",
            self._owner,
            limit,
        )
        return [
            Entry(
                row[0],
                Label(row[1], row[3], row[4], row[5], row[6], json.loads(row[7])),
                row[2],
                bool(row[8]),
                *row[9:],
            )
            for row in rows
        ]

    def start(self, entries: Sequence[Entry]) -> list[Entry]:
        """Marks labels as being sent, and returns those that are still wanted: an undo may have come between."""
        with self._change() as db:
            for entry in entries:
                db.execute(
                    "UPDATE labels SET state = 'sending' WHERE id = ? AND wanted = 1 AND state = 'waiting'", (entry.id,)
                )
            wanted = {
                row[0]
                for row in db.execute(
                    "SELECT id FROM labels WHERE owner = ? AND wanted = 1 AND state = 'sending'", (self._owner,)
                )
            }
        return [entry for entry in entries if entry.id in wanted]

    def finish(self, entry: Entry, state: str, annotation: int | None = None, fault: str = "") -> None:
        """Writes what became of a label."""
        self.finish_all([Outcome(entry, state, annotation, fault)])

    def finish_all(self, outcomes: Sequence[Outcome]) -> None:
        """Writes what became of labels, in one transaction: each one waits for the disk."""
        with self._change() as db:
            db.executemany(
                "UPDATE labels SET state = ?, annotation = COALESCE(?, annotation), fault = ? WHERE id = ?",
                [(one.state, one.annotation, one.fault, one.entry.id) for one in outcomes],
            )

    def waiting(self) -> int:
        """How many labels, or deletions, Label Studio does not know yet."""
        return int(self._rows(f"SELECT COUNT(*) FROM labels WHERE owner = ? AND {_OPEN}", self._owner)[0][0])

    def refused(self) -> list[tuple[int, str, str]]:
        """(task, class, reason) of the labels that Label Studio refused, and of those that were there already."""
        rows = self._rows("SELECT task, class, fault FROM labels WHERE owner = ? AND state = 'refused'", self._owner)
        return [(row[0], row[1], row[2]) for row in rows]

    def pending(self) -> dict[int, tuple[str, str] | None]:
        """Task -> (kind, class) of a label that Label Studio does not have yet; None for one that is to be deleted."""
        rows = self._rows(
            f"SELECT task, kind, class, wanted FROM labels WHERE owner = ? AND {_OPEN} ORDER BY id", self._owner
        )
        return {row[0]: (row[1], row[2]) if row[3] else None for row in rows}

    def undone(self) -> set[int]:
        """The tasks of which a label was taken back."""
        rows = self._rows("SELECT DISTINCT task FROM labels WHERE owner = ? AND wanted = 0", self._owner)
        return {task for (task,) in rows}

    def asides(self) -> list[tuple[int, str]]:
        """(task, class) of all crops that the person said are not of this class."""
        return [(row[0], row[1]) for row in self._rows("SELECT task, class FROM asides WHERE owner = ?", self._owner)]
