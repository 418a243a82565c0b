"""Reads what people said in a project, and measures how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pelagia.system.console import ProgressCallback
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.agreement.cells import CellAgreement, cell_agreement
from pelagia_labeling.agreement.measure import Agreement, measure
from pelagia_labeling.agreement.table import read_ratings, tabulate
from pelagia_labeling.labels.pull import accounts, choose_group_column, project_taxonomy, require_classes
from pelagia_labeling.labels.ratings import DELETED, TimedVote, ratings_of, timed_votes, without_class
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.cells_field import is_count
from pelagia_labeling.tasks.project import ANNOTATIONS, Task, list_tasks, require_project


def project_agreement(
    connection: Connection,
    title: str,
    *,
    group_column: str | None = None,
    taxonomy: Taxonomy | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Agreement:
    """How far the people of a project agree.

    Args:
        connection: the connection to the server.
        title: title of the project.
        group_column: the column of the tasks that holds the group; by default as `label pull` chooses it.
        taxonomy: for the weighted alpha; by default the project's own.
        progress: called with (tasks read, total tasks).

    Raises:
        StudioError: there is no such project, its interface cannot be read, or the server fails.
        InputError: the tasks have no column ``group_column``.
    """
    project = require_project(connection, title)
    classes = require_classes(project)
    names = accounts(connection)
    voted, unsure = [], 0
    for task in list_tasks(connection, project, parts=ANNOTATIONS, named=True, progress=progress):
        voted.append((Task(task.id, task.data), timed_votes(task, names)))
        unsure += without_class(task, names)
    tasks = [task for task, _ in voted]
    column = choose_group_column(group_column, tasks)
    taxonomy = taxonomy or project_taxonomy(connection, project, classes, tasks)
    ratings = tabulate(ratings_of(voted, column), taxonomy.names)
    notes = _notes([vote for _, votes in voted for vote in votes], unsure, column)
    return replace(measure(ratings, taxonomy, notes=notes), cells=_cells(voted))


def _cells(voted: Sequence[tuple[Task, Sequence[TimedVote]]]) -> CellAgreement | None:
    """How far people agree on the number of cells. A planted repeat is no image of its own: it is left out."""
    counts = (
        [vote.cells for vote in votes if vote.cells is not None and is_count(vote.cells) and vote.annotator != DELETED]
        for task, votes in voted
        if not task.repeat_of
    )
    return cell_agreement(counts)


def _notes(votes: Sequence[TimedVote], unsure: int, group_column: str | None) -> list[str]:
    notes = []
    if unsure:
        notes.append(f"{unsure} times a person was unsure or skipped an image: these are left out of all figures.")
    accepted = sum(vote.from_prediction for vote in votes)
    if accepted:
        notes.append(
            f"{accepted} of {len(votes)} labels began as a pre-label of a model. People who see the same pre-label "
            "agree more often than people who see none: measure agreement on images without pre-labels."
        )
    deleted = sum(vote.annotator == DELETED for vote in votes)
    if deleted:
        notes.append(f"{deleted} labels of deleted accounts are left out: nobody knows how many people gave them.")
    if group_column is None:
        notes.append(
            "The images have no column of groups, such as station, so the intervals come from drawing single images "
            "and may be too narrow."
        )
    return notes


def table_agreement(path: Path, *, group_column: str = "", taxonomy: Taxonomy | None = None) -> Agreement:
    """How far the people of a table with one row per rating agree. Raises InputError if the table cannot be used."""
    ratings, without = read_ratings(path, group_column)
    notes = [f"{without} rows without a class are left out."] if without else []
    return measure(tabulate(ratings, taxonomy.names if taxonomy else ()), taxonomy, notes=notes)
