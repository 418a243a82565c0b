"""`pelagia label repeats`: shows some images a second time, to measure how far people agree with themselves.

A repeat is a second task of an image, with the same picture and pre-labels. Its data hold the image's SHA-256 under
`REPEAT_OF` and not under ``sha256``, so push does not take it for the image's task, and pull counts it and makes no
image of it. The column is hidden in the table of the project, so nobody notices a repeat.

Invariant: an image has at most one repeat. The repeats of a share and a seed are always the same images, so the command
can be stopped at any moment and repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from pelagia.errors import InputError, StudioError
from pelagia.system.console import ProgressCallback
from pelagia_labeling.labels.consensus import decide
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.project import REPEAT_OF, Project, Task, list_tasks, require_project
from pelagia_labeling.tasks.push import CHUNK
from pelagia_labeling.tasks.sheet_crops import is_sheet_interface

_PREDICTION_KEYS = ("result", "score", "model_version")


@dataclass(frozen=True)
class Planted:
    """What `plant_repeats` did.

    Attributes:
        url: the address of the project's page.
        labeled: number of images that somebody labeled.
        added: number of repeats that were added.
        present: number of repeats that were there already.
    """

    url: str
    labeled: int
    added: int
    present: int


def parse_share(text: str) -> float:
    """A share such as ``5%`` or ``0.05`` as a number. Raises InputError if it is not between 0 and 1."""
    percent = text.strip().endswith("%")
    try:
        share = float(text.strip().removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise InputError(f"--share {text} is not a share: write a percentage such as 5%")
    return share


def plant_repeats(
    connection: Connection,
    title: str,
    share: float = 0.05,
    *,
    seed: int = 0,
    progress: ProgressCallback = lambda done, total: None,
) -> Planted:
    """Adds repeats until the project has one for ``share`` of its labeled images, chosen at random.

    Args:
        connection: the connection to the server.
        title: title of the project.
        share: share of the labeled images, 0..1; at least one image.
        seed: seed of the choice.
        progress: called with (tasks read, total tasks).

    Raises:
        StudioError: there is no such project, it has sheets, no image of it is labeled, or the server refuses a
            request.
    """
    project = require_project(connection, title)
    if is_sheet_interface(project.config):
        raise StudioError(
            f"the project '{title}' has sheets of crops, and a repeat is a task of one crop: plant repeats in a "
            "project of single crops"
        )
    labeled: list[Task] = []
    repeated: set[str] = set()
    for task in list_tasks(connection, project, whole=True, progress=progress):
        repeated |= {task.repeat_of} - {""}
        if task.sha256 and decide(task.annotations, {}).votes:
            labeled.append(Task(task.id, task.data, [], task.predictions))
    if not labeled:
        raise StudioError(f"no image of '{title}' is labeled yet: repeats are second looks at labeled images")
    missing = _choose(labeled, repeated, max(1, round(share * len(labeled))), seed)
    if missing:
        _hide_column(connection, project)
        _add(connection, project, missing)
    return Planted(project.url(connection), len(labeled), len(missing), len(repeated))


def _choose(labeled: Sequence[Task], repeated: Collection[str], wanted: int, seed: int) -> list[Task]:
    """The images to repeat, chosen at random, so that ``wanted`` images have a repeat."""
    order = np.random.default_rng(seed).permutation(len(labeled))
    chosen = [labeled[index] for index in order if labeled[index].sha256 not in repeated]
    return chosen[: max(0, wanted - len(repeated))]


def _add(connection: Connection, project: Project, originals: Sequence[Task]) -> None:
    """Makes a repeat of each task. The server makes all repeats of a request or none."""
    for start in range(0, len(originals), CHUNK):
        request = [_repeat(task) for task in originals[start : start + CHUNK]]
        with connection.doing(f"adding {len(request)} repeats"):
            connection.client.projects.import_tasks(id=project.id, request=request, request_options=WRITE_OPTIONS)


def _repeat(task: Task) -> dict[str, Any]:
    data = {key: value for key, value in task.data.items() if key != "sha256"}
    predictions = [{key: one[key] for key in _PREDICTION_KEYS if key in one} for one in task.predictions]
    return {"data": data | {REPEAT_OF: task.sha256}, "predictions": predictions}


def _hide_column(connection: Connection, project: Project) -> None:
    """Hides the column that tells a repeat, in every table of the project."""
    name = f"tasks:data.{REPEAT_OF}"
    with connection.doing("listing the tables of the project"):
        views = connection.client.views.list(project=project.id)
    for view in views:
        table = dict(view.data or {})
        columns = dict(table.get("hiddenColumns") or {})
        for place in ("explore", "labeling"):
            columns[place] = [*dict.fromkeys([*columns.get(place, []), name])]
        table["hiddenColumns"] = columns
        with suppress(KeyError), connection.doing("hiding a column"):
            connection.client.views.update(
                id=str(view.id), project=project.id, data=table, request_options=WRITE_OPTIONS
            )
