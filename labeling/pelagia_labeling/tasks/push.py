"""Images (and what a model thinks of them) -> a Label Studio project.

Invariant: a project holds one task an image, whoever pushes how often: tasks are recognised by the image's SHA-256,
read from the server before anything is added, and counted afterwards, in case a push that was killed had an import
under way. So a push may be killed at any moment and repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, first_few
from pelagia.sources import SourceImage, list_images
from pelagia.survey.journal import Survey
from pelagia.system.cores import thread_pool
from pelagia.system.files import printable
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import ONCE, Connection
from pelagia_labeling.tasks.interface import build_interface, class_result, reconcile
from pelagia_labeling.tasks.project import Project, find_project, get_project, list_tasks
from pelagia_labeling.tasks.storage import Placed, open_storage, place, store_taxonomy

CHUNK = 1000
SHORTEST_TITLE, LONGEST_TITLE = 3, 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PushReport:
    """What a push did.

    Attributes:
        added: tasks made.
        present: images whose task was there already.
        duplicates: images equal to another of the same source; one task stands for all.
        bad: (path, why) of images that cannot be used.
        predictions_added: pre-labels attached, to new tasks and to old ones.
        created: the project was made.
    """

    project_id: int
    url: str
    added: int
    present: int
    duplicates: int
    bad: tuple[tuple[str, str], ...]
    predictions_added: int
    created: bool


@dataclass(frozen=True)
class Prelabels:
    """A survey as pre-labels: SHA-256 -> (class, probability)."""

    model_version: str
    by_sha256: dict[str, tuple[str, float]]


def push(
    connection: Connection,
    src: Path,
    project: str,
    taxonomy: Taxonomy,
    *,
    predictions: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> PushReport:
    """Makes or finds the project called ``project`` and gives it the images of ``src``.

    Args:
        src: any input of `pelagia.sources`.
        predictions: a survey folder; its classes become pre-labels of the images it holds.
        progress: called with (images done, all images).

    Raises:
        InputError: ``src`` or the name is wrong, or the survey's classes are not the taxonomy's.
        StudioError: the server refuses, the project has another interface, or no folder is shared.
    """
    project = project.strip()
    if not SHORTEST_TITLE <= len(project) <= LONGEST_TITLE:
        limits = f"{SHORTEST_TITLE} to {LONGEST_TITLE} characters"
        raise InputError(
            f"--project: a project's name has {limits}, and '{project}' has {len(project)}: choose another"
        )
    prelabels = read_prelabels(predictions, taxonomy) if predictions is not None else None
    total = sum(1 for _ in list_images([src]))  # counted first: held, the images of a compressed tar fill the memory
    target, created = _open_project(connection, project, taxonomy)
    folder = open_storage(connection, target)
    store_taxonomy(folder, taxonomy)
    known = {task.sha256: task.id for task in list_tasks(connection, target) if task.sha256}
    before = len(known)
    bad: list[tuple[str, str]] = []
    seen: set[str] = set()
    done = 0
    for chunk in _placed(list_images([src]), folder, printable(src.absolute().name)):
        bad += [(one.path, one.fault) for one in chunk if one.fault]
        fresh: dict[str, Placed] = {}
        for one in chunk:
            if not one.fault and one.sha256 not in known:
                fresh.setdefault(one.sha256, one)
        seen.update(one.sha256 for one in chunk if not one.fault)
        known.update(_import(connection, target, list(fresh.values())))
        done += len(chunk)
        progress(done, total)
    added = len(known) - before
    _remove_twins(connection, target, expected=len(known))
    attached = _attach(connection, target, prelabels) if prelabels is not None else 0
    good = done - len(bad)
    return PushReport(
        project_id=target.id,
        url=target.url(connection),
        added=added,
        present=len(seen) - added,
        duplicates=good - len(seen),
        bad=tuple(bad),
        predictions_added=attached,
        created=created,
    )


def read_prelabels(survey: Path, taxonomy: Taxonomy) -> Prelabels:
    """What a survey says of its images.

    Raises:
        InputError: it names classes that the taxonomy lacks.
        SurveyError: there is no survey.
    """
    with Survey.open(survey) as rows:
        unknown = [name for name in rows.classes if name not in taxonomy.names]
        if unknown:
            raise InputError(
                f"the survey {survey} has classes that the taxonomy '{taxonomy.name}' lacks: {first_few(unknown)}; give the "
                "taxonomy that its model was trained with"
            )
        version = f"{printable(survey.absolute().name)} {rows.meta['model_sha256'][:12]}"
        labels = {}
        for row in rows:
            if row.probabilities is not None and row.sha256:
                best = int(row.probabilities.argmax())
                labels[row.sha256] = (rows.classes[best], float(row.probabilities[best]))
    return Prelabels(version, labels)


def _open_project(connection: Connection, title: str, taxonomy: Taxonomy) -> tuple[Project, bool]:
    """The project with the taxonomy's interface, and whether it was made."""
    found = find_project(connection, title)
    if found is None:
        with connection.doing(f"making the project '{title}'"):
            made = connection.client.projects.create(
                title=title,
                description=f"Pelagia: classes of the taxonomy '{taxonomy.name}'",
                label_config=build_interface(taxonomy),
                enable_empty_annotation=False,
                show_collab_predictions=True,
                show_skip_button=True,
                request_options=ONCE,
            )
            _tidy_table(connection, made.id)
        return get_project(connection, made.id), True
    change = reconcile(found.config, taxonomy, used=found.annotations > 0, title=title)
    if change.update:
        with connection.doing(f"updating the labelling interface of '{title}'"):
            connection.client.projects.update(id=found.id, label_config=change.config, request_options=ONCE)
    return found, False


_HIDDEN = """
data.sha256 data.file data.source data.survey_source data.path data.label data.predicted data.probability
data.label_probability inner_id annotations_results annotations_ids predictions_results predictions_score
predictions_model_versions file_upload storage_filename created_at updated_at updated_by avg_lead_time draft_exists
"""


def _tidy_table(connection: Connection, project_id: int) -> None:
    """Hides the columns of the project's table that mean nothing to a biologist."""
    hidden = [f"tasks:{name}" for name in _HIDDEN.split()]
    table = {"title": "Images", "hiddenColumns": {"explore": hidden, "labeling": hidden}}
    connection.client.views.create(project=project_id, data=table, request_options=ONCE)


def _placed(images: Iterable[SourceImage], folder: Path, source: str) -> Iterator[list[Placed]]:
    """The images on the server's disk, a chunk at a time."""
    with thread_pool() as pool:
        queue = iter(images)
        while chunk := list(islice(queue, CHUNK)):
            yield list(pool.map(lambda image: place(image, folder, source), chunk))


def _import(connection: Connection, project: Project, fresh: Sequence[Placed]) -> dict[str, int]:
    """Makes the tasks in one call, which the server carries out whole or not at all."""
    if not fresh:
        return {}
    with connection.doing(f"importing {len(fresh)} images"):
        answer = connection.client.projects.import_tasks(
            id=project.id,
            request=[{"data": dict(one.data)} for one in fresh],
            return_task_ids=True,
            request_options=ONCE,
        )
    numbers = answer.task_ids or [0] * len(fresh)
    return {one.sha256: number for one, number in zip(fresh, numbers, strict=True)}


def _remove_twins(connection: Connection, project: Project, expected: int) -> None:
    """Removes unlabelled tasks whose image has another: what an import that outlived its caller leaves."""
    if get_project(connection, project.id).tasks <= expected:
        return
    same: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    for task in list_tasks(connection, project, whole=True):
        if task.sha256:
            same[task.sha256].append((not task.annotations, task.id))
    spare = [number for twins in same.values() for unlabelled, number in sorted(twins)[1:] if unlabelled]
    if spare:
        with connection.doing(f"removing {len(spare)} tasks that were imported twice"):
            connection.client.actions.create(
                id="delete_tasks",
                project=project.id,
                selected_items={"all": False, "included": spare},
                request_options=ONCE,
            )


def _attach(connection: Connection, project: Project, prelabels: Prelabels) -> int:
    """Gives each task that lacks this model's pre-label one, and shows them to annotators."""
    waiting: list[dict[str, Any]] = []
    added = 0
    for task in list_tasks(connection, project, whole=True):
        label = prelabels.by_sha256.get(task.sha256)
        if label is None or any(entry.get("model_version") == prelabels.model_version for entry in task.predictions):
            continue
        waiting.append(
            {
                "task": task.id,
                "result": class_result(label[0]),
                "score": round(label[1], 6),
                "model_version": prelabels.model_version,
            }
        )
    for start in range(0, len(waiting), CHUNK):
        part = waiting[start : start + CHUNK]
        with connection.doing(f"attaching {len(part)} pre-labels"):
            connection.client.projects.import_predictions(id=project.id, request=part, request_options=ONCE)
        added += len(part)
    with connection.doing("showing the pre-labels"):
        connection.client.projects.update(
            id=project.id, model_version=prelabels.model_version, show_collab_predictions=True, request_options=ONCE
        )
    return added
