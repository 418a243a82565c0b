"""`pelagia label adjudicate`: sends the images that people disagree on to a project where one person decides.

The adjudication project has the classes of the project, and shows below each image who said what. Its tasks have the
same data, so `label pull --adjudicated` finds each verdict by the SHA-256 of the image.

Invariant: an image has one task in the adjudication project, however often the command is repeated.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pelagia.errors import StudioError
from pelagia.system.console import ProgressCallback
from pelagia.taxonomy import LabelClass
from pelagia_labeling.labels.consensus import DISPUTED, Consensus, decide
from pelagia_labeling.labels.pull import accounts, project_taxonomy, require_classes
from pelagia_labeling.labels.together import decide_together
from pelagia_labeling.labels.votes import MIN_SECONDS
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.interface import CAPTION, TO_IMAGE, build_interface
from pelagia_labeling.tasks.project import (
    ANNOTATIONS,
    Project,
    Task,
    find_project,
    get_project,
    list_tasks,
    require_project,
)
from pelagia_labeling.tasks.push import CHUNK, check_title, hide_columns
from pelagia_labeling.tasks.sheet_crops import is_sheet_interface

SAID = "said"
"""Key in the data of an adjudication task: who said what, as the page shows it."""


@dataclass(frozen=True)
class Adjudication:
    """What `send_disputes` did.

    Attributes:
        url: the address of the adjudication project's page.
        disputed: number of images that people disagree on.
        added: number of tasks that were made.
        present: number of disputed images that already had a task.
        created: whether the adjudication project was made.
    """

    url: str
    disputed: int
    added: int
    present: int
    created: bool


def send_disputes(
    connection: Connection,
    title: str,
    to: str,
    *,
    min_agreement: float = 0.0,
    weighed: bool = False,
    progress: ProgressCallback = lambda done, total: None,
) -> Adjudication:
    """Adds the disputed images of a project to the project ``to``, which is made if there is none.

    Args:
        connection: the connection to the server.
        title: title of the project.
        to: title of the adjudication project.
        min_agreement: least share of the votes for a label that is not disputed, 0..1.
        weighed: whether the labels are decided by Dawid-Skene (`decide_together`) rather than by majority.
        progress: called with (tasks read, total tasks).

    Raises:
        InputError: ``to`` is no title for a project.
        StudioError: there is no such project, no image is disputed, or the server refuses a request.
    """
    to = check_title(to.strip())
    project = require_project(connection, title)
    classes = require_classes(project)
    if to == project.title:
        raise StudioError(f"--to names the project itself, '{to}': name another project")
    disputed = _disputed(connection, project, min_agreement, weighed, progress)
    found = find_project(connection, to)
    if not disputed and found is None:
        raise StudioError(f"no image of '{title}' is disputed: nobody has to decide anything")
    target = found or _make(connection, project, classes, [task for task, _ in disputed], to)
    known = {task.sha256 for task in list_tasks(connection, target)}
    missing = [pair for pair in disputed if pair[0].sha256 not in known]
    _add(connection, target, missing, {entry.name: entry.title or entry.name for entry in classes})
    present = len(disputed) - len(missing)
    return Adjudication(target.url(connection), len(disputed), len(missing), present, found is None)


def _disputed(
    connection: Connection, project: Project, min_agreement: float, weighed: bool, progress: ProgressCallback
) -> list[tuple[Task, Consensus]]:
    names = accounts(connection)
    results = [
        (Task(task.id, task.data), decide(task.annotations, names, min_agreement, MIN_SECONDS))
        for task in list_tasks(connection, project, parts=ANNOTATIONS, named=True, progress=progress)
        if task.sha256
    ]
    if weighed:
        together = decide_together([consensus for _, consensus in results], min_agreement)
        results = [(task, consensus) for (task, _), (consensus, _) in zip(results, together, strict=True)]
    return [(task, consensus) for task, consensus in results if consensus.reason == DISPUTED]


def _add(
    connection: Connection,
    target: Project,
    disputed: Sequence[tuple[Task, Consensus]],
    titles: Mapping[str, str],
) -> None:
    """Makes a task of each image; ``titles``: class -> what people read. All tasks of a request are made or none."""
    for start in range(0, len(disputed), CHUNK):
        chunk = disputed[start : start + CHUNK]
        request = [{"data": dict(task.data) | {SAID: _said(consensus, titles)}} for task, consensus in chunk]
        with connection.doing(f"adding {len(request)} disputed images"):
            connection.client.projects.import_tasks(id=target.id, request=request, request_options=WRITE_OPTIONS)


def _said(consensus: Consensus, titles: Mapping[str, str]) -> str:
    return ", ".join(f"{annotator}: {titles.get(name, name)}" for annotator, name in consensus.votes)


def _make(
    connection: Connection, project: Project, classes: Sequence[LabelClass], tasks: Sequence[Task], title: str
) -> Project:
    """The adjudication project, with the interface of ``project`` and a line that shows who said what.

    If the project has sheets, the interface is that of single crops with the same classes.
    """
    config = project.config
    if is_sheet_interface(config):
        taxonomy = project_taxonomy(connection, project, classes, tasks)
        config = build_interface(taxonomy, caption=all(CAPTION in task.data for task in tasks))
    with connection.doing(f"making the project '{title}'"):
        made = connection.client.projects.create(
            title=title,
            description=f"Pelagia: images of '{project.title}' that people disagree on",
            label_config=with_votes(config),
            enable_empty_annotation=False,
            show_skip_button=True,
            request_options=WRITE_OPTIONS,
        )
    hide_columns(connection, made.id)
    return get_project(connection, made.id)


def with_votes(config: str) -> str:
    """A labeling configuration that also shows, below the image, the text `SAID` of a task."""
    root = ET.fromstring(config)  # noqa: S314 - the server's own text, and expat expands no external entities
    for parent in root.iter():
        for place, node in enumerate(list(parent)):
            if node.tag == "Image" and node.get("name") == TO_IMAGE:
                parent.insert(place + 1, ET.Element("Header", {"value": f"${SAID}", "size": "5"}))
                return ET.tostring(root, encoding="unicode")
    return config
