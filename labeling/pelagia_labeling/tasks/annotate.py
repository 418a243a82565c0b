"""Labels given through the API, each as a person's click on Submit would: one request, one annotation, one account.

For the demo, for tests, and for whoever moves labels in from elsewhere. Invariant: what is written is what the
labelling page writes (`pelagia_labeling.tasks.interface`), so pull cannot tell the two apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError, StudioError, did_you_mean
from pelagia.sources import read_manifest
from pelagia_labeling.studio.connection import ONCE, Connection
from pelagia_labeling.tasks.interface import class_result, parse_interface, unsure_result
from pelagia_labeling.tasks.project import Task, list_tasks, require_project

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SubmitReport:
    """What `submit_csv` did.

    Attributes:
        submitted: annotations made.
        present: tasks that had one already, and kept it.
        unknown: rows whose path is no task of the project.
    """

    submitted: int
    present: int
    unknown: int


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
        class_name: empty for none, as with ``unsure`` or ``skip`` alone.
        skip: what the button Skip does: a cancelled annotation.
        seconds: the time it took, for Label Studio's statistics.
    """
    result = (class_result(class_name) if class_name else []) + (unsure_result() if unsure else [])
    with connection.doing(f"submitting a label for task {task_id}"):
        made = connection.client.annotations.create(
            id=task_id, result=result, was_cancelled=skip, lead_time=seconds, request_options=ONCE
        )
    return int(made.id)


def submit_many(
    connection: Connection,
    labels: Sequence[tuple[int, str]],
    *,
    workers: int = 4,
    progress: Progress = lambda done, total: None,
) -> int:
    """Submits (task, class) pairs, ``workers`` at a time, and returns how many."""
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
    progress: Progress = lambda done, total: None,
) -> SubmitReport:
    """Submits the labels of a CSV with the columns ``path`` and ``class_column``; a task that has a label keeps it.

    Raises:
        InputError: the CSV is wrong, or names a class that the project's interface lacks.
        StudioError: no such project, or the server refuses.
    """
    wanted = _read_labels(labels, class_column)
    found = require_project(connection, project)
    offered = [entry.name for entry in parse_interface(found.config) or ()]
    if not offered:
        raise StudioError(f"the project '{project}' has no choices named 'class' on an image: name one that push made")
    for name in sorted(set(wanted.values()) - set(offered)):
        raise InputError(f"{labels}: the project '{project}' has no class '{name}'{did_you_mean(name, offered)}")
    by_path: dict[str, list[Task]] = defaultdict(list)
    for task in list_tasks(connection, found, whole=True):
        by_path[str(task.data.get("path"))].append(task)
    twice = [path for path in wanted if len(by_path.get(path, ())) > 1]
    if twice:
        raise InputError(
            f"{len(twice)} paths of {labels} mean several images of '{project}' (the first: '{twice[0]}'), which were "
            "pushed from several sources: give those a project of their own"
        )
    tasks = {path: found_tasks[0] for path, found_tasks in by_path.items()}
    pairs = [(tasks[path].id, name) for path, name in wanted.items() if path in tasks and not tasks[path].annotations]
    unknown = sum(path not in tasks for path in wanted)
    if unknown and unknown == len(wanted):
        ours, theirs = next(iter(wanted)), next(iter(tasks), "no task at all")
        raise InputError(
            f"none of the {unknown} paths of {labels} is a task of '{project}': the first is '{ours}', the project's "
            f"first is '{theirs}'; push the same folder or manifest that the CSV's paths are relative to"
        )
    submit_many(connection, pairs, progress=progress)
    return SubmitReport(len(pairs), len(wanted) - unknown - len(pairs), unknown)


def _read_labels(labels: Path, class_column: str) -> dict[str, str]:
    """Path -> class; rows without a class are left out."""
    found: dict[str, str] = {}
    for row in read_manifest(labels):
        if class_column not in row.columns:
            guess = did_you_mean(class_column, row.columns)
            raise InputError(f"{labels} has no column '{class_column}'{guess}; it has: {', '.join(row.columns)}")
        if name := row.columns[class_column].strip():
            found[row.path] = name
    return found
