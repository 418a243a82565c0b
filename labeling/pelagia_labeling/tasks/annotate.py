"""Submits labels through the API, as a person does with the button Submit: one annotation per request.

The demo, the tests and `pelagia label submit` use it. Invariant: an annotation made here is the same as an annotation
made on the labeling page (`pelagia_labeling.tasks.interface`), so pull treats both alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError, StudioError, did_you_mean
from pelagia.sources import Listing, ListingOptions
from pelagia.sources.manifest import PATH_COLUMNS, path_column_of
from pelagia.sources.named import clean
from pelagia.system.console import ProgressCallback
from pelagia.system.files import printable
from pelagia.tables.reader import is_missing, open_table
from pelagia.tables.values import find_column, plain_name
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.interface import class_names, class_result, parse_interface, unsure_result
from pelagia_labeling.tasks.project import ANNOTATIONS, Project, Task, list_tasks, require_project
from pelagia_labeling.tasks.sheet_crops import refuse_sheets


@dataclass(frozen=True)
class SubmitReport:
    """What `submit_csv` did.

    Attributes:
        submitted: number of annotations that were made.
        present: number of tasks that already had an annotation; they keep it.
        unknown: number of rows whose path is not in the project.
        warnings: what was assumed while the table was read, one sentence each.
    """

    submitted: int
    present: int
    unknown: int
    warnings: tuple[str, ...] = ()


def submit(
    connection: Connection,
    task_id: int,
    class_name: str = "",
    *,
    unsure: bool = False,
    skip: bool = False,
    seconds: float = 1.0,
) -> int:
    """Submits one annotation and returns its number.

    Args:
        connection: the connection to the server.
        task_id: the number of the task.
        class_name: the class; empty for no class, if only ``unsure`` or ``skip`` is set.
        unsure: whether to tick the box "Unsure".
        skip: whether to make a canceled annotation, as the button Skip does.
        seconds: the time that labeling took, for Label Studio's statistics.

    Raises:
        StudioError: the server refuses the annotation.
    """
    result = (class_result(class_name) if class_name else []) + (unsure_result() if unsure else [])
    with connection.doing(f"submitting a label for task {task_id}"):
        made = connection.client.annotations.create(
            id=task_id, result=result, was_cancelled=skip, lead_time=seconds, request_options=WRITE_OPTIONS
        )
    return int(made.id)


def submit_many(
    connection: Connection,
    labels: Sequence[tuple[int, str]],
    *,
    workers: int = 4,
    progress: ProgressCallback = lambda done, total: None,
) -> int:
    """Submits (number of a task, class) pairs, ``workers`` at a time, and returns the number of pairs."""
    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(lambda pair: submit(connection, *pair), labels), start=1):
            progress(done, len(labels))
    return len(labels)


def submit_csv(
    connection: Connection,
    project: str,
    labels: Path,
    *,
    class_column: str = "class",
    path_column: str = "",
    progress: ProgressCallback = lambda done, total: None,
) -> SubmitReport:
    """Submits the labels of a table with columns of paths and classes. A task with a label keeps that label.

    Args:
        connection: the connection to the server.
        project: title of the project.
        labels: the table.
        class_column: the column of labels.
        path_column: the column of paths; by default the first of `PATH_COLUMNS` that the table has.
        progress: called with (labels submitted, labels to submit).

    Raises:
        InputError: the CSV cannot be read, its paths do not fit the project, or the project lacks one of its classes.
        StudioError: there is no such project, or the server refuses a label.
    """
    listing = Listing(ListingOptions(path_column=path_column))
    wanted = _read_labels(labels, class_column, listing)
    found = require_project(connection, project)
    refuse_sheets(project, found.config, "label the sheets on the page of Label Studio")
    stored = {name: former for former, name in class_names(found.config).items()}
    wanted = {path: stored.get(name, name) for path, name in wanted.items()}
    _check_classes(labels, set(wanted.values()), found)
    tasks = _find_tasks(connection, found, labels, wanted)
    pairs = [(task.id, wanted[path]) for path, task in tasks.items() if not task.annotations]
    submit_many(connection, pairs, progress=progress)
    return SubmitReport(len(pairs), len(tasks) - len(pairs), len(wanted) - len(tasks), listing.warning_texts())


def _check_classes(labels: Path, class_names: set[str], project: Project) -> None:
    """Raises StudioError or InputError if the project's interface lacks a class of the CSV."""
    offered = [entry.name for entry in parse_interface(project.config) or ()]
    if not offered:
        raise StudioError(
            f"the project '{project.title}' has no choices named 'class' on an image: name a project that "
            "`pelagia label push` made"
        )
    for name in sorted(class_names - set(offered)):
        guess = did_you_mean(name, offered)
        raise InputError(f"{labels}: the project '{project.title}' has no class '{name}'{guess}")


def _find_tasks(connection: Connection, project: Project, labels: Path, paths: Mapping[str, str]) -> dict[str, Task]:
    """Path -> task, for the paths of ``paths`` that the project has, in the order of ``paths``.

    Raises:
        InputError: several tasks have the same path, or the project has none of the paths.
    """
    by_path: dict[str, list[Task]] = defaultdict(list)
    for task in list_tasks(connection, project, parts=ANNOTATIONS):
        if not task.repeat_of:
            by_path[str(task.data.get("path"))].append(task)
    ambiguous = [path for path in paths if len(by_path.get(path, ())) > 1]
    if ambiguous:
        raise InputError(
            f"{len(ambiguous)} paths of {labels} are each the path of several images in '{project.title}' (the first: "
            f"'{ambiguous[0]}'), which were pushed from several sources: push each source to its own project"
        )
    found = {path: by_path[path][0] for path in paths if path in by_path}
    if paths and not found:
        in_csv, in_project = next(iter(paths)), next(iter(by_path), "no image")
        raise InputError(
            f"none of the {len(paths)} paths of {labels} is in the project '{project.title}': the first is '{in_csv}', "
            f"the first of the project is '{in_project}'; push the folder or manifest to which the CSV's paths are "
            "relative"
        )
    return found


def _read_labels(labels: Path, class_column: str, listing: Listing) -> dict[str, str]:
    """Path -> class; rows without a class are left out. The images need not be on this computer."""
    wanted = listing.options.path_column
    known = {plain_name(name) for name in ([wanted] if wanted else PATH_COLUMNS)}
    table = open_table(labels, what="table of labels", warn=listing.warn, known=known)
    column = path_column_of(table, wanted, listing)
    label = find_column(table.columns, (class_column,), table.name, "--class-column")
    if label is None:
        guess = did_you_mean(class_column, table.columns)
        raise InputError(f"{labels} has no column '{class_column}'{guess}; it has: {', '.join(table.columns)}")
    found: dict[str, str] = {}
    for number, row in table.rows():
        path, name = printable(clean(row[column])), row[label].strip()
        if not path:
            raise InputError(f"{labels}, {table.place} {number}: the column '{column}' is empty")
        if is_missing(name):
            continue
        if found.setdefault(path, name) != name:
            both = f"'{found[path]}' and '{name}'"
            raise InputError(f"{labels}, {table.place} {number}: '{path}' has two classes, {both}: correct one")
    return found
