"""What people submitted -> a DATASET.

Invariant: every task of the project is accounted for: in the dataset, or in ``left_out`` with its reason. An image
enters only if its bytes are the ones that were pushed (their SHA-256 is in the task).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from pelagia.dataset.schema import MANIFEST_COLUMNS, Dataset, SplitMeta
from pelagia.dataset.splits import DEFAULT_FRACTIONS
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError, StudioError, did_you_mean
from pelagia.system.files import refuse_existing, sha256_of, sha256_of_file
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.consensus import DISPUTED, UNLABELLED, Verdict, decide
from pelagia_labeling.tasks.interface import parse_interface, taxonomy_of
from pelagia_labeling.tasks.project import Task, list_tasks, require_project
from pelagia_labeling.tasks.storage import RESERVED, SERVED, folder_name_of, stored_taxonomy

GROUP_COLUMNS = ("group", "station", "sample", "track")
"""Looked for in this order where no column is named."""

Progress = Callable[[int, int], None]


class Dispute(NamedTuple):
    """An image without a majority: its path, and who said what."""

    path: str
    votes: str


@dataclass(frozen=True)
class PullReport:
    """What a pull found.

    Attributes:
        left_out: reason -> images: skipped, unsure, unlabelled, disputed, and what `write_dataset` dropped.
        group_column: the column that groups came from; None where every image is its own group.
        by_annotator: votes a person that named a class.
    """

    dataset: Dataset
    tasks: int
    left_out: dict[str, int]
    disputed: tuple[Dispute, ...]
    group_column: str | None
    by_annotator: dict[str, int]


def pull(
    connection: Connection,
    project: str,
    out: Path,
    *,
    group_column: str | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
    min_agreement: float = 0.0,
    licence: str = "",
    join_near_duplicates: bool = True,
    progress: Progress = lambda done, total: None,
) -> PullReport:
    """Makes the dataset ``out`` of a project's submitted labels.

    Args:
        group_column: the task column whose values a split must not cut; the first of `GROUP_COLUMNS` by default.
        min_agreement: share of the votes that a label needs, besides more than half of them.
        licence: of the images whose task has no column of that name.
        progress: called with (tasks read, all tasks).

    Raises:
        InputError: ``out`` exists, or the tasks have no such column.
        StudioError: no such project, an interface that is not ours, or the server fails.
        DatasetError: no label, or no image that can be used.
    """
    refuse_existing(out, "dataset")
    found = require_project(connection, project)
    classes = parse_interface(found.config)
    if classes is None:
        raise StudioError(
            f"the project '{project}' has no choices named 'class' on an image named 'image': name one that push made"
        )
    names = _accounts(connection)
    judged = [
        (Task(task.id, task.data), decide(task.annotations, names, min_agreement))
        for task in list_tasks(connection, found, whole=True, progress=progress)
    ]
    labelled = [(task, verdict) for task, verdict in judged if verdict.class_name]
    left_out = Counter(verdict.reason for _, verdict in judged if not verdict.class_name)
    if not labelled:
        raise DatasetError(_nothing(project, left_out))
    group_column = _choose_group(group_column, [task for task, _ in judged])
    folder = next((name for task, _ in judged if (name := folder_name_of(task.data))), "")
    taxonomy = taxonomy_of(classes, stored_taxonomy(connection, folder), project)
    with tempfile.TemporaryDirectory(prefix="pelagia-pull-") as scratch:
        files = _fetch(connection, [task for task, _ in labelled], Path(scratch))
        candidates, lost = _candidates(labelled, files, taxonomy, group_column, licence)
        left_out += lost
        if not candidates:
            raise DatasetError(f"none of the {len(labelled)} labelled images of '{project}' can be used: {dict(lost)}")
        dataset = write_dataset(
            out,
            candidates,
            source={"kind": "label_studio", "url": connection.url, "project": found.title, "project_id": found.id},
            taxonomy=taxonomy,
            split=SplitMeta(
                group_column=group_column,
                fractions=fractions,
                seed=seed,
                join_near_duplicates=join_near_duplicates,
            ),
            left_out=dict(left_out),
            conflicts="drop",  # two tasks of one image, labelled as two classes: counted and listed
        )
    return PullReport(
        dataset=dataset,
        tasks=len(judged),
        left_out=dict(dataset.meta.left_out),
        disputed=tuple(Dispute(_path(task), verdict.spoken) for task, verdict in judged if verdict.reason == DISPUTED),
        group_column=group_column,
        by_annotator=dict(Counter(who for _, verdict in judged for who, _ in verdict.votes).most_common()),
    )


def _nothing(project: str, left_out: Mapping[str, int]) -> str:
    if not left_out:
        return f"the project '{project}' has no task: give it images with `pelagia label push`"
    if set(left_out) == {UNLABELLED}:
        return f"nobody has labelled anything in '{project}' yet ({left_out[UNLABELLED]} tasks): open it, and label"
    counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    return f"no task of '{project}' has a label that can be used: {counts}"


def _accounts(connection: Connection) -> dict[int, str]:
    """Account number -> e-mail address, or name where there is none."""
    with connection.doing("listing the accounts"):
        users = connection.client.users.list()
    return {int(user.id): str(user.email or user.username or "") for user in users}


def _choose_group(wanted: str | None, tasks: Sequence[Task]) -> str | None:
    present = Counter(key for task in tasks for key, value in task.data.items() if key not in RESERVED and _text(value))
    if wanted is not None:
        if wanted not in present:
            raise InputError(
                f"no task has a column '{wanted}'{did_you_mean(wanted, present)} (--group-column); "
                f"there are: {', '.join(sorted(present)) or 'none'}"
            )
        return wanted
    return next((column for column in GROUP_COLUMNS if present[column]), None)


def _fetch(connection: Connection, tasks: Sequence[Task], scratch: Path) -> list[Path | str]:
    """Each task's original image as a file, from the shared disk or through the server; or the reason why not."""
    root = connection.document_root

    def one(task: Task) -> Path | str:
        relative = str(task.data.get("file") or "")
        if root is not None and relative and ".." not in PurePosixPath(relative).parts and (root / relative).is_file():
            intact = sha256_of_file(root / relative) == task.sha256
            return root / relative if intact else "changed"
        return _download(connection, task, scratch)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, tasks))


def _download(connection: Connection, task: Task, scratch: Path) -> Path | str:
    relative, shown = str(task.data.get("file") or ""), str(task.data.get("image") or "")
    if not relative and not shown.startswith("/"):
        return "elsewhere"  # a task that somebody made by hand, with an image on another server
    try:
        if relative:
            data = connection.get(SERVED, {"d": relative}, what=f"fetching the image of task {task.id}")
        else:
            data = connection.get(shown, what=f"fetching the image of task {task.id}")
    except StudioError as error:
        if "answered 404" in str(error):
            return "missing"
        raise
    if task.sha256 and sha256_of(data) != task.sha256:
        return "changed"
    suffix = PurePosixPath(relative or shown.partition("?")[0]).suffix.lower()
    target = scratch / f"{task.id}{suffix}"
    target.write_bytes(data)
    return target


def _candidates(
    labelled: Sequence[tuple[Task, Verdict]],
    files: Sequence[Path | str],
    taxonomy: Taxonomy,
    group_column: str | None,
    licence: str,
) -> tuple[list[Candidate], Counter[str]]:
    candidates = []
    lost: Counter[str] = Counter()
    for (task, verdict), file in zip(labelled, files, strict=True):
        if isinstance(file, str):
            lost[f"image_{file}"] += 1
        elif group_column and not _text(task.data.get(group_column)).strip():
            lost["no_group"] += 1  # it may be of a station that stands on the other side of the split
        elif verdict.class_name not in taxonomy.names:
            lost["class_not_in_interface"] += 1
        else:
            candidates.append(_candidate(task, verdict, file, group_column, licence))
    return candidates, lost


def _candidate(task: Task, verdict: Verdict, file: Path, group_column: str | None, licence: str) -> Candidate:
    columns = {key: _text(value) for key, value in task.data.items() if key not in RESERVED}
    group = columns.get(group_column, "").strip() if group_column else ""
    licence = columns.pop("licence", "") or licence
    return Candidate(
        file=file,
        class_name=verdict.class_name,
        source=_path(task),
        group=group,
        annotators=verdict.annotators,
        agreement=f"{verdict.agreement:.2f}" if len(verdict.votes) > 1 else "",
        licence=licence,
        extra={f"survey_{key}" if key in MANIFEST_COLUMNS else key: value for key, value in columns.items() if key},
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _path(task: Task) -> str:
    return str(task.data.get("path") or task.data.get("image") or f"task {task.id}")
