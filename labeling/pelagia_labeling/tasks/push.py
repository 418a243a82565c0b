"""`pelagia label push`: adds images, and the predictions of a model, to a Label Studio project.

Invariant: a project has one task per image, even if several people push the same image several times. Tasks are
recognized by the SHA-256 of their image. A push reads the existing tasks and adds the missing ones. Afterwards it
counts them and removes duplicates, because the server may still complete an import of a push that was killed. So a push
can be killed at any moment and repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pelagia.errors import InputError, first_few
from pelagia.images.remarks import RemarkCounts
from pelagia.sources import Listing, ListingOptions, SourceImage, list_images
from pelagia.survey.journal import Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.cores import thread_pool
from pelagia.system.files import printable
from pelagia.system.paths import StrPath
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.interface import build_interface, class_result, reconcile
from pelagia_labeling.tasks.project import Project, find_project, get_project, list_tasks
from pelagia_labeling.tasks.storage import StoredImage, open_storage, store_image, store_taxonomy

CHUNK = 1000
"""Number of images, or of pre-labels, that one request adds."""

SHORTEST_TITLE, LONGEST_TITLE = 3, 50


@dataclass(frozen=True)
class PushReport:
    """What a push did.

    Attributes:
        project_id: the number of the project.
        url: the address of the project's page.
        added: number of tasks that were made.
        present: number of images that already had a task.
        duplicates: number of images with the same bytes as another image of the source; both have the same task.
        bad: (path, reason) of images that cannot be used.
        predictions_added: number of pre-labels that were attached, to new and to old tasks.
        created: whether this push made the project.
        left_out: number of things in the source that are not listed as images, by a key of `Listing.left_out`.
        warnings: what was assumed while the source was listed, and the remarks on its images, one sentence each.
    """

    project_id: int
    url: str
    added: int
    present: int
    duplicates: int
    bad: tuple[tuple[str, str], ...]
    predictions_added: int
    created: bool
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prelabels:
    """The predictions of a survey, as pre-labels.

    Attributes:
        model_version: name of the survey and first digits of its model's SHA-256; Label Studio shows this text.
        by_sha256: SHA-256 of an image -> (most probable class, its probability).
    """

    model_version: str
    by_sha256: dict[str, tuple[str, float]]


def push(
    connection: Connection,
    src: StrPath,
    project: str,
    taxonomy: Taxonomy,
    *,
    predictions: StrPath | None = None,
    options: ListingOptions = ListingOptions(),
    progress: ProgressCallback = lambda done, total: None,
) -> PushReport:
    """Finds or makes the project with the title ``project``, and adds the images of ``src`` to it.

    Args:
        connection: the connection to the server.
        src: any input that `pelagia.sources` can read.
        project: title of the project.
        taxonomy: the classes to choose from.
        predictions: a survey folder; the most probable class of each of its images becomes the pre-label of that image.
        options: what decides how the images of ``src`` are listed.
        progress: called with (images pushed, total images).

    Raises:
        InputError: ``src`` or ``project`` is wrong, or the survey has classes that the taxonomy lacks.
        StudioError: the server refuses a request, the project has another interface, or there is no shared folder.
    """
    title = _check_title(project.strip())
    src = Path(src)
    prelabels = read_prelabels(Path(predictions), taxonomy) if predictions is not None else None
    # the images are not kept: those of a compressed tar would fill the memory
    total = sum(1 for _ in list_images([src], Listing(options)))
    target, created = _open_project(connection, title, taxonomy)
    folder = open_storage(connection, target)
    store_taxonomy(folder, taxonomy)
    listing = Listing(options)
    images = _push_images(connection, target, src, folder, listing, total, progress)
    _remove_duplicate_tasks(connection, target, expected=images.tasks)
    return PushReport(
        project_id=target.id,
        url=target.url(connection),
        added=images.added,
        present=images.present,
        duplicates=images.duplicates,
        bad=images.bad,
        predictions_added=_attach(connection, target, prelabels) if prelabels is not None else 0,
        created=created,
        left_out=dict(listing.left_out),
        warnings=(*listing.warning_texts(), *images.warnings),
    )


def _check_title(title: str) -> str:
    if not SHORTEST_TITLE <= len(title) <= LONGEST_TITLE:
        limits = f"{SHORTEST_TITLE} to {LONGEST_TITLE} characters"
        raise InputError(f"--project: a name has {limits}, and '{title}' has {len(title)}: choose another name")
    return title


@dataclass(frozen=True)
class _PushedImages:
    """The counts of `PushReport`, and the number of tasks that the project has after the push."""

    tasks: int
    added: int
    present: int
    duplicates: int
    bad: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def _push_images(
    connection: Connection,
    project: Project,
    src: Path,
    folder: Path,
    listing: Listing,
    total: int,
    progress: ProgressCallback,
) -> _PushedImages:
    """Stores the images of ``src`` in ``folder``, and makes a task for each image that has no task."""
    known = {task.sha256 for task in list_tasks(connection, project) if task.sha256}
    before = len(known)
    bad: list[tuple[str, str]] = []
    remarks = RemarkCounts()
    pushed: set[str] = set()
    done = 0
    for chunk in _stored_chunks(list_images([src], listing), folder, printable(src.absolute().name)):
        bad += [(image.path, image.fault) for image in chunk if image.fault]
        for image in chunk:
            remarks.add(image.remark, image.path)
        new: dict[str, StoredImage] = {}
        for image in chunk:
            if not image.fault and image.sha256 not in known:
                new.setdefault(image.sha256, image)
        pushed.update(image.sha256 for image in chunk if not image.fault)
        _import_tasks(connection, project, list(new.values()))
        known.update(new)
        done += len(chunk)
        progress(done, total)
    added = len(known) - before
    warnings = tuple(remarks.warnings())
    return _PushedImages(len(known), added, len(pushed) - added, done - len(bad) - len(pushed), tuple(bad), warnings)


def read_prelabels(survey: Path, taxonomy: Taxonomy) -> Prelabels:
    """The most probable class of each image of a survey.

    Raises:
        InputError: the survey has classes that the taxonomy lacks.
        SurveyError: there is no survey in the folder, or it cannot be read.
    """
    with Survey.open(survey) as rows:
        unknown = [name for name in rows.classes if name not in taxonomy.names]
        if unknown:
            raise InputError(
                f"the survey {survey} has classes that the taxonomy '{taxonomy.name}' lacks: {first_few(unknown)}; "
                "name the taxonomy that its model was trained with, with --taxonomy"
            )
        version = f"{printable(survey.absolute().name)} {rows.meta['model_sha256'][:12]}"
        labels = {}
        for row in rows:
            if row.probabilities is not None and row.sha256:
                best = int(row.probabilities.argmax())
                labels[row.sha256] = (rows.classes[best], float(row.probabilities[best]))
    return Prelabels(version, labels)


def _open_project(connection: Connection, title: str, taxonomy: Taxonomy) -> tuple[Project, bool]:
    """The project with the taxonomy's interface, and whether this push made it."""
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
                request_options=WRITE_OPTIONS,
            )
            _hide_columns(connection, made.id)
        return get_project(connection, made.id), True
    change = reconcile(found.config, taxonomy, used=found.annotations > 0, title=title)
    if change.update:
        with connection.doing(f"updating the labeling interface of '{title}'"):
            connection.client.projects.update(id=found.id, label_config=change.config, request_options=WRITE_OPTIONS)
    return found, False


_HIDDEN_COLUMNS = """
data.sha256 data.file data.source data.survey_source data.path data.label data.predicted data.probability
data.label_probability inner_id annotations_results annotations_ids predictions_results predictions_score
predictions_model_versions file_upload storage_filename created_at updated_at updated_by avg_lead_time draft_exists
"""


def _hide_columns(connection: Connection, project_id: int) -> None:
    """Hides the columns of the project's table that biologists do not need."""
    hidden = [f"tasks:{name}" for name in _HIDDEN_COLUMNS.split()]
    table = {"title": "Images", "hiddenColumns": {"explore": hidden, "labeling": hidden}}
    connection.client.views.create(project=project_id, data=table, request_options=WRITE_OPTIONS)


def _stored_chunks(images: Iterable[SourceImage], folder: Path, source: str) -> Iterator[list[StoredImage]]:
    """Stores the images in the server's folder, and yields them `CHUNK` at a time."""
    with thread_pool() as pool:
        queue = iter(images)
        while chunk := list(islice(queue, CHUNK)):
            yield list(pool.map(lambda image: store_image(image, folder, source), chunk))


def _import_tasks(connection: Connection, project: Project, images: Sequence[StoredImage]) -> None:
    """Makes the tasks of ``images`` in one request. The server either makes all these tasks or none."""
    if not images:
        return
    with connection.doing(f"importing {len(images)} images"):
        connection.client.projects.import_tasks(
            id=project.id, request=[{"data": dict(image.data)} for image in images], request_options=WRITE_OPTIONS
        )


def _remove_duplicate_tasks(connection: Connection, project: Project, expected: int) -> None:
    """If the project has more than ``expected`` tasks, removes unlabeled tasks whose image has another task.

    Such tasks exist if a push was killed during an import, because the server completes the import later.
    """
    if get_project(connection, project.id).tasks <= expected:
        return
    by_image: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    for task in list_tasks(connection, project, whole=True):
        if task.sha256:
            by_image[task.sha256].append((not task.annotations, task.id))
    redundant = [number for tasks in by_image.values() for unlabeled, number in sorted(tasks)[1:] if unlabeled]
    if redundant:
        with connection.doing(f"removing {len(redundant)} tasks that were imported twice"):
            connection.client.actions.create(
                id="delete_tasks",
                project=project.id,
                selected_items={"all": False, "included": redundant},
                request_options=WRITE_OPTIONS,
            )


def _attach(connection: Connection, project: Project, prelabels: Prelabels) -> int:
    """Adds the pre-labels to the tasks that lack them, lets annotators see them, and returns the number added."""
    version = prelabels.model_version
    missing: list[dict[str, Any]] = []
    for task in list_tasks(connection, project, whole=True):
        prelabel = prelabels.by_sha256.get(task.sha256)
        if prelabel is None or any(prediction.get("model_version") == version for prediction in task.predictions):
            continue
        class_name, probability = prelabel
        missing.append(
            {
                "task": task.id,
                "result": class_result(class_name),
                "score": round(probability, 6),
                "model_version": version,
            }
        )
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        with connection.doing(f"attaching {len(chunk)} pre-labels"):
            connection.client.projects.import_predictions(id=project.id, request=chunk, request_options=WRITE_OPTIONS)
    with connection.doing("showing the pre-labels"):
        connection.client.projects.update(
            id=project.id, model_version=version, show_collab_predictions=True, request_options=WRITE_OPTIONS
        )
    return len(missing)
