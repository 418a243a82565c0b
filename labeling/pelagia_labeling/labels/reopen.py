"""Sends submitted sheets back, so that they are shown to people again.

Invariant: what was chosen on a sheet is not lost. It becomes the sheet's pre-label before its annotation is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pelagia_labeling.labels.consensus import UNLABELLED, Consensus
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.project import Project, Task
from pelagia_labeling.tasks.sheet_crops import RefusedSheet

SHEET_REFUSED = "sheet_refused"
"""Why an image has no label, if the submission of its sheet does not count."""

SENT_BACK = "sent back"
"""Name of the pre-labels of a project that has no predictions of a model."""


def refused_submissions(tasks: Iterable[Task]) -> tuple[RefusedSheet, ...]:
    """The submissions that were refused, each once, from the crops of their sheets."""
    return tuple({int(one.annotation["id"]): one for task in tasks for one in task.refused}.values())


def explained(task: Task, consensus: Consensus) -> tuple[Task, Consensus]:
    """The task without its annotations; the reason is `SHEET_REFUSED` if a refused sheet is why it has no label."""
    if task.refused and consensus.reason == UNLABELLED:
        consensus = replace(consensus, reason=SHEET_REFUSED)
    return Task(task.id, task.data, crop=task.crop, refused=task.refused), consensus


def reopen_sheets(connection: Connection, project: Project, sheets: Sequence[RefusedSheet]) -> int:
    """Makes the annotations of refused sheets pre-labels again, and returns the number of these annotations.

    Args:
        connection: the connection to the server.
        project: the project of the sheets.
        sheets: the submissions to send back.

    Raises:
        StudioError: the server refuses a request.
    """
    version = project.model_version or SENT_BACK
    client = connection.client
    made: set[int] = set()  # of another submission of the same sheet
    for sheet in sheets:
        with connection.doing(f"sending sheet {sheet.task} back"):
            present = client.predictions.list(task=sheet.task)
            old = [one.id for one in present if one.model_version == version and one.id not in made]
            new = client.predictions.create(
                task=sheet.task,
                result=sheet.annotation["result"],
                model_version=version,
                request_options=WRITE_OPTIONS,
            )
            if not made and not project.model_version:  # the server refuses a name that no pre-label has yet
                client.projects.update(id=project.id, model_version=version, request_options=WRITE_OPTIONS)
            made.add(int(new.id))
            client.annotations.delete(id=int(sheet.annotation["id"]), request_options=WRITE_OPTIONS)
            for number in old:
                client.predictions.delete(id=number, request_options=WRITE_OPTIONS)
    return len(sheets)
