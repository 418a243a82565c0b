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
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pelagia.errors import InputError
from pelagia.images.remarks import RemarkCounts
from pelagia.sources import Listing, ListingOptions, SourceImage, list_images
from pelagia.system.console import ProgressCallback
from pelagia.system.cores import thread_pool
from pelagia.system.files import printable
from pelagia.system.paths import StrPath
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.actions import act_on_tasks
from pelagia_labeling.tasks.caption import with_prelabel
from pelagia_labeling.tasks.existing import ExistingTasks, read_tasks
from pelagia_labeling.tasks.interface import (
    CAPTION,
    added_on_page,
    build_interface,
    has_caption,
    reconcile,
    with_classes,
)
from pelagia_labeling.tasks.prelabels import (
    Prelabels,
    attach,
    prediction_of,
    read_prelabels,
    show,
    without_prelabel_warnings,
)
from pelagia_labeling.tasks.project import ANNOTATIONS, Project, find_project, get_project, list_tasks
from pelagia_labeling.tasks.renamed import stored_names, to_stored
from pelagia_labeling.tasks.sheet_crops import refuse_sheets
from pelagia_labeling.tasks.storage import StoredImage, open_storage, store_image, stored_taxonomy
from pelagia_labeling.tasks.upload import Store, open_store, uploaded_taxonomy

CHUNK = 1000
"""Number of images that one request adds."""
_AT_ONCE = 25
"""Images that a thread stores in one turn: a turn costs as much as hashing a small image."""

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
        interface: how this push changed the labeling page of the project, in words; empty if it did not.
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
    interface: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def push(
    connection: Connection,
    src: StrPath,
    project: str,
    taxonomy: Taxonomy,
    *,
    predictions: StrPath | None = None,
    annotators: int | None = None,
    options: ListingOptions = ListingOptions(),
    upload: bool = False,
    count_cells: bool = False,
    progress: ProgressCallback = lambda done, total: None,
) -> PushReport:
    """Finds or makes the project with the title ``project``, and adds the images of ``src`` to it.

    Args:
        connection: the connection to the server.
        src: any input that `pelagia.sources` can read.
        project: title of the project.
        taxonomy: the classes to choose from.
        predictions: a survey folder; the most probable class of each of its images becomes the pre-label of that image.
        annotators: number of people who label each image; None leaves the project as it is, and is 1 for a new one.
        options: what decides how the images of ``src`` are listed.
        upload: whether the images go to the server through its API, because it shares no folder with this machine.
        count_cells: whether the labeling page asks for the number of cells; a page that asks for it goes on doing so.
        progress: called with (images pushed, total images).

    Raises:
        InputError: ``src`` or ``project`` is wrong, or the survey has classes that the taxonomy lacks.
        StudioError: the server refuses a request, the project has another interface, or there is no shared folder.
    """
    title = check_title(project.strip())
    src = Path(src)
    stored = stored_names(connection, title)
    taxonomy = to_stored(taxonomy, stored, title)
    prelabels = read_prelabels(Path(predictions), taxonomy, stored) if predictions is not None else None
    # the images are not kept: those of a compressed tar would fill the memory
    total = sum(1 for _ in list_images([src], Listing(options)))
    target, created, interface = _open_project(connection, title, taxonomy, annotators, upload, count_cells)
    listing = Listing(options)
    existing = read_tasks(connection, target, prelabels)
    with open_store(connection, target, taxonomy, upload=upload) as store:
        images = _push_images(connection, target, existing, src, store, prelabels, listing, total, progress)
    removed = _remove_duplicate_tasks(connection, target, expected=existing.others + len(existing.known))
    elsewhere = min(removed, images.added)  # the task of each that stays may be that of another push
    attached = _attach_old(connection, target, existing, prelabels) if prelabels is not None else 0
    return PushReport(
        project_id=target.id,
        url=target.url(connection),
        added=images.added - elsewhere,
        present=images.present + elsewhere,
        duplicates=images.duplicates,
        bad=images.bad,
        predictions_added=images.predictions + attached,
        created=created,
        interface=interface,
        left_out=dict(listing.left_out),
        warnings=(*listing.warning_texts(), *images.warnings, *_elsewhere_warnings(elsewhere)),
    )


def _elsewhere_warnings(images: int) -> list[str]:
    """The warning about images that this push added, and another one too."""
    said = "images were also added by another push, at the same time or cut short: one task of each was kept"
    return [f"{images} {said}"] if images else []


def _attach_old(connection: Connection, project: Project, existing: ExistingTasks, prelabels: Prelabels) -> int:
    """Attaches pre-labels to old tasks, and shows those of this model; returns how many were attached."""
    attached = attach(connection, project, existing.without_prelabel, prelabels)
    if prelabels.by_sha256.keys() & existing.known:  # the server refuses to show a model that no task names
        show(connection, project, prelabels.model_version)
    return attached


def check_title(title: str) -> str:
    """The title of a project. Raises InputError if Label Studio would refuse it."""
    if not SHORTEST_TITLE <= len(title) <= LONGEST_TITLE:
        limits = f"{SHORTEST_TITLE} to {LONGEST_TITLE} characters"
        raise InputError(f"--project: a name has {limits}, and '{title}' has {len(title)}: choose another name")
    return title


@dataclass(frozen=True)
class _PushedImages:
    """The counts of `PushReport`, and the number of pre-labels that new tasks got."""

    added: int
    present: int
    duplicates: int
    predictions: int
    bad: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def _push_images(
    connection: Connection,
    project: Project,
    existing: ExistingTasks,
    src: Path,
    store: Store,
    prelabels: Prelabels | None,
    listing: Listing,
    total: int,
    progress: ProgressCallback,
) -> _PushedImages:
    """Stores the images of ``src``, and makes a task for each that has none. New images join ``existing.known``."""
    known, before = existing.known, frozenset(existing.known)
    pushed: set[str] = set()
    bad: list[tuple[str, str]] = []
    remarks = RemarkCounts()
    done = predictions = 0
    source = printable(src.absolute().name)
    for stored in stored_chunks(list_images([src], listing), store.folder, source, before):
        chunk = store.send(stored, known)
        for image in chunk:
            remarks.add(image.remark, image.path)
        bad += [(image.path, image.fault) for image in chunk if image.fault]
        good = {image.sha256: image for image in reversed(chunk) if not image.fault}  # the first image of equal ones
        new = {sha256: image for sha256, image in reversed(good.items()) if sha256 not in known}
        pushed.update(good)
        predictions += _import_tasks(connection, project, list(new.values()), prelabels)
        known.update(new)
        done += len(chunk)
        progress(done, total)
    added, duplicates = len(known) - len(before), done - len(bad) - len(pushed)
    warnings = [*remarks.warnings(), *(without_prelabel_warnings(pushed, prelabels) if prelabels else ())]
    return _PushedImages(added, len(pushed) - added, duplicates, predictions, tuple(bad), tuple(warnings))


def _open_project(
    connection: Connection, title: str, taxonomy: Taxonomy, annotators: int | None, upload: bool, cells: bool
) -> tuple[Project, bool, str]:
    """The project with the taxonomy's interface, whether this push made it, and how its interface was changed."""
    found = find_project(connection, title)
    if found is None:
        if not upload:
            connection.require_root()  # before the project is made: a refused push leaves no empty project
        return _make_project(connection, title, taxonomy, annotators or 1, cells), True, ""
    refuse_sheets(title, found.config, "add images with --sheets 36")
    last = last_taxonomy(connection, found, upload=upload)
    change = reconcile(
        found.config,
        with_classes(taxonomy, added_on_page(found.config, last, taxonomy)),
        used=found.annotations > 0,
        title=title,
        caption=has_caption(found.config) or not found.tasks,
        cells=cells,
    )
    settings: dict[str, Any] = {"label_config": change.config} if change.update else {}
    if annotators:
        settings["maximum_annotations"] = annotators
    if settings:
        connection.send("PATCH", f"/api/projects/{found.id}/", settings, what=f"updating the project '{title}'")
    return found, False, change.how


def last_taxonomy(connection: Connection, project: Project, *, upload: bool) -> Taxonomy | None:
    """The taxonomy of the last push: uploaded through the API, or in the folder that the server shares."""
    if upload:
        return uploaded_taxonomy(connection, project)
    return stored_taxonomy(connection, open_storage(connection, project).name)


def _make_project(connection: Connection, title: str, taxonomy: Taxonomy, annotators: int, cells: bool) -> Project:
    what = f"making the project '{title}'"
    settings = {
        "title": title,
        "description": f"Pelagia: classes of the taxonomy '{taxonomy.name}'",
        "label_config": build_interface(taxonomy, cells=cells),
        "enable_empty_annotation": False,
        "show_collab_predictions": True,
        "show_skip_button": True,
        "maximum_annotations": annotators,
    }
    made = connection.send("POST", "/api/projects/", settings, what=what)
    with connection.doing(what):
        number = int(made["id"])
    hide_columns(connection, number)
    return get_project(connection, number)


_HIDDEN_COLUMNS = """
data.crops data.sha256 data.file data.original_file data.source data.survey_source data.path data.label data.predicted
data.probability data.label_probability data.repeat_of data.image_caption inner_id annotations_results annotations_ids
predictions_results predictions_score predictions_model_versions file_upload storage_filename created_at updated_at
updated_by avg_lead_time draft_exists
"""


def hide_columns(connection: Connection, project_id: int, title: str = "Images") -> None:
    """Hides the columns of a new project's table that biologists do not need; ``title``: of its tab."""
    hidden = [f"tasks:{name}" for name in _HIDDEN_COLUMNS.split()]
    table = {"title": title, "hiddenColumns": {"explore": hidden, "labeling": hidden}}
    view = {"project": project_id, "data": table}
    connection.send("POST", "/api/dm/views/", view, what="hiding columns of the table")


def stored_chunks(
    images: Iterable[SourceImage], folder: Path, source: str, known: frozenset[str]
) -> Iterator[list[StoredImage]]:
    """Stores the images in the server's folder, and yields them `CHUNK` at a time.

    The next chunk is stored while the caller sends this one to the server.
    """
    queue = iter(images)
    with thread_pool() as pool:

        def store(part: Sequence[SourceImage]) -> list[StoredImage]:
            return [store_image(image, folder, source, known) for image in part]

        def start() -> Iterator[StoredImage]:
            chunk = list(islice(queue, CHUNK))
            parts = [chunk[first : first + _AT_ONCE] for first in range(0, len(chunk), _AT_ONCE)]
            return chain.from_iterable(pool.map(store, parts))

        stored = list(start())
        while stored:
            following = start()
            yield stored
            stored = list(following)


def _import_tasks(
    connection: Connection, project: Project, images: Sequence[StoredImage], prelabels: Prelabels | None
) -> int:
    """Makes the tasks of ``images``, with their pre-labels, in one request; returns the number of pre-labels.

    The server either makes all these tasks and pre-labels or none.
    """
    if not images:
        return 0
    tasks = [_new_task(image, prelabels) for image in images]
    connection.send("POST", f"/api/projects/{project.id}/import", tasks, what=f"importing {len(images)} images")
    return sum("predictions" in task for task in tasks)


def _new_task(image: StoredImage, prelabels: Prelabels | None) -> dict[str, Any]:
    prelabel = prelabels.by_sha256.get(image.sha256) if prelabels else None
    task: dict[str, Any] = {"data": dict(image.data)}
    if prelabels and prelabel:
        task["data"][CAPTION] = with_prelabel(task["data"][CAPTION], prelabel)
        task["predictions"] = [prediction_of(prelabel, prelabels.model_version)]
    return task


def _remove_duplicate_tasks(connection: Connection, project: Project, expected: int) -> int:
    """If the project has more than ``expected`` tasks, removes unlabeled tasks whose image has another task.

    Such tasks exist if a push was killed during an import, because the server completes the import later, and if two
    people push the same images at the same time. Returns the number of removed tasks.
    """
    if get_project(connection, project.id).tasks <= expected:
        return 0
    by_image: dict[str, list[tuple[bool, int]]] = defaultdict(list)
    for task in list_tasks(connection, project, parts=ANNOTATIONS):
        if task.sha256:
            by_image[task.sha256].append((not task.annotations, task.id))
    redundant = [number for tasks in by_image.values() for unlabeled, number in sorted(tasks)[1:] if unlabeled]
    if redundant:
        what = f"removing {len(redundant)} tasks that were imported twice"
        act_on_tasks(connection, project.id, "delete_tasks", redundant, what)
    return len(redundant)
