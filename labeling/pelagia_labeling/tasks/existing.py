"""The tasks that a project has, as a push needs them: which images have a task, and which tasks lack a pre-label.

Invariant: the answer is what the server holds now. Nothing is remembered from an earlier push, because tasks can be
deleted and backups restored meanwhile. The API takes 0.3 ms to list a task, a quarter of the time of adding one. So if
the server was started here, its SQLite database is read instead, in 0.002 ms a task, without changing it; the API
confirms the number of tasks and the latest of them. If they differ, or the database is not as expected, all tasks are
listed through the API.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from pelagia_labeling.studio.backup import database_of
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.studio.server import read_studio
from pelagia_labeling.tasks.prelabels import Prelabels, lacks, part_to_list
from pelagia_labeling.tasks.project import Project, count_tasks, list_tasks
from pelagia_labeling.tasks.sheet_crops import CROPS

_TASKS = f"""
SELECT id, coalesce(json_extract(data, '$.sha256'), ''), coalesce(json_type(data, '$.{CROPS}'), '') = 'array'
FROM task WHERE project_id = ? ORDER BY id
"""
_WITH_PRELABEL = """
SELECT prediction.task_id FROM prediction JOIN task ON task.id = prediction.task_id
WHERE task.project_id = ? AND prediction.model_version = ?
"""


@dataclass(frozen=True)
class ExistingTasks:
    """The tasks that a project has.

    Attributes:
        known: SHA-256 of the images that have a task.
        others: number of tasks that push did not make.
        without_prelabel: (number, SHA-256) of the tasks that lack a pre-label that the survey has.
    """

    known: set[str] = field(default_factory=set)
    others: int = 0
    without_prelabel: list[tuple[int, str]] = field(default_factory=list)


def read_tasks(connection: Connection, project: Project, prelabels: Prelabels | None) -> ExistingTasks:
    """The tasks of a project of single crops.

    Args:
        connection: the connection to the server.
        project: the project.
        prelabels: the pre-labels that its tasks are to have; None if there are none.
    """
    found = _from_database(connection, project, prelabels)
    return _from_api(connection, project, prelabels) if found is None else found


def _from_api(connection: Connection, project: Project, prelabels: Prelabels | None) -> ExistingTasks:
    tasks = list_tasks(connection, project, parts=part_to_list(prelabels) if prelabels else ())
    return _collect((task.id, task.sha256, prelabels is not None and lacks(task, prelabels)) for task in tasks)[0]


def _from_database(connection: Connection, project: Project, prelabels: Prelabels | None) -> ExistingTasks | None:
    """The tasks, read from the database of a server that was started here; None if it cannot be relied on."""
    known = connection.address.studio
    studio = read_studio(known.home) if known else None  # it may have been started again since
    if studio is None or not studio.running:
        return None
    address = f"{database_of(studio.home).absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as database:
            database.execute("BEGIN")  # both queries see the same moment
            found, number_and_last = _collect(_rows(database, project, prelabels))
    except (sqlite3.Error, _SheetError):  # another version of Label Studio may have other tables
        return None
    return found if number_and_last == count_tasks(connection, project) else None


class _SheetError(Exception):
    """A task shows several images."""


def _rows(
    database: sqlite3.Connection, project: Project, prelabels: Prelabels | None
) -> Iterator[tuple[int, str, bool]]:
    """The number of each task, the SHA-256 of its image, and whether it lacks a pre-label that the survey has."""
    wanted = prelabels.by_sha256 if prelabels else {}
    version = prelabels.model_version if prelabels else ""
    having = {int(row[0]) for row in database.execute(_WITH_PRELABEL, (project.id, version))}
    for number, sha256, is_sheet in database.execute(_TASKS, (project.id,)):
        if is_sheet:
            raise _SheetError
        yield int(number), str(sha256), str(sha256) in wanted and number not in having


def _collect(rows: Iterable[tuple[int, str, bool]]) -> tuple[ExistingTasks, tuple[int, int]]:
    """The tasks of ``rows``, and how many there are with the greatest number of one; see `_rows`."""
    known: set[str] = set()
    without_prelabel: list[tuple[int, str]] = []
    count = others = last = 0
    for number, sha256, lacking in rows:
        count += 1
        last = max(last, number)
        others += not sha256
        known.add(sha256)
        if lacking:
            without_prelabel.append((number, sha256))
    return ExistingTasks(known - {""}, others, without_prelabel), (count, last)
