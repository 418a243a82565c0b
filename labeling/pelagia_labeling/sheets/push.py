"""`pelagia label push --sheets`: adds images to a project whose tasks are sheets of crops.

Invariant: an image is on one sheet, even if a push is killed or repeated. Images are recognized by the SHA-256 in the
data of the sheets. Sheets are made after all images are stored. Afterwards the sheets are read again: one that repeats
an image of another sheet is removed if it has no label, and its other images get a new sheet. A project has sheets or
single crops, never both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pelagia.embeddings import Embeddings, read_embeddings
from pelagia.errors import StudioError
from pelagia.images.remarks import RemarkCounts
from pelagia.sources import Listing, ListingOptions, list_images
from pelagia.system.console import ProgressCallback
from pelagia.system.files import printable
from pelagia.system.paths import StrPath
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.sheets.interface import build_sheet_interface, class_titles
from pelagia_labeling.sheets.order import divide
from pelagia_labeling.sheets.shown import show_sheet
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.actions import act_on_tasks
from pelagia_labeling.tasks.interface import added_on_page, reconcile, with_classes
from pelagia_labeling.tasks.prelabels import Prelabels, read_prelabels, show, without_prelabel_warnings
from pelagia_labeling.tasks.project import Project, Task, find_project, get_project, list_tasks
from pelagia_labeling.tasks.push import PushReport, check_title, hide_columns, last_taxonomy, stored_chunks
from pelagia_labeling.tasks.sheet_crops import CROPS, HEADING, SHOWN, is_sheet_interface, sheet_result
from pelagia_labeling.tasks.storage import StoredImage
from pelagia_labeling.tasks.upload import Store, open_store

MOST_CROPS = 60
"""Most crops of a sheet: Label Studio needs 15 seconds to open one of 60."""

REQUEST_SHEETS = 25
"""Number of sheets that one request adds."""

ROUNDS = 3
"""How often sheets are made again for images that stood on a sheet which was removed."""


@dataclass(frozen=True)
class SheetOptions:
    """How crops are put on sheets.

    Attributes:
        size: most crops of a sheet.
        embeddings: file of embeddings, or a survey folder that has one; similar crops then stand together.
        true_size: whether the crops of a sheet are shown at one scale.
    """

    size: int
    embeddings: Path | None = None
    true_size: bool = False


def push_sheets(
    connection: Connection,
    src: StrPath,
    project: str,
    taxonomy: Taxonomy,
    sheets: SheetOptions,
    *,
    predictions: StrPath | None = None,
    annotators: int | None = None,
    options: ListingOptions = ListingOptions(),
    upload: bool = False,
    progress: ProgressCallback = lambda done, total: None,
) -> PushReport:
    """Finds or makes the project with the title ``project``, and adds the images of ``src`` to it, as sheets.

    Args:
        connection: the connection to the server.
        src: any input that `pelagia.sources` can read.
        project: title of the project.
        taxonomy: the classes to choose from.
        sheets: how crops are put on sheets.
        predictions: a survey folder; the most probable class of each image is selected on its sheet.
        annotators: number of people who label each sheet; None for 1 in a new project, and for no change otherwise.
        options: what decides how the images of ``src`` are listed.
        upload: whether the images go to the server through its API, because it shares no folder with this machine.
        progress: called with (images stored, total images).

    Raises:
        InputError: ``src``, ``project`` or the embeddings are wrong, or the survey has classes that the taxonomy lacks.
        StudioError: the server refuses a request, or the project has single crops or another interface.
    """
    title, src = check_title(project.strip()), Path(src)
    prelabels = read_prelabels(Path(predictions), taxonomy) if predictions is not None else Prelabels("", {})
    embeddings = read_embeddings(sheets.embeddings) if sheets.embeddings is not None else None
    total = sum(1 for _ in list_images([src], Listing(options)))
    target, created, interface = _open_project(connection, title, taxonomy, annotators, upload=upload)
    known = frozenset(_on_sheets(list_tasks(connection, target, sheets=True)))
    with open_store(connection, target, taxonomy, upload=upload) as store:
        stored = _store(src, options, store, known, total, progress)
    missing = [one for one in stored.images if one not in known]
    maker = _Maker(connection, target, taxonomy, sheets, prelabels, embeddings)
    kept = maker.add(missing, stored.images)
    added = _on_sheets(kept).intersection(missing)
    return PushReport(
        project_id=target.id,
        url=target.url(connection),
        added=len(added),
        present=len(stored.images) - len(added),
        duplicates=stored.read - len(stored.bad) - len(stored.images),
        bad=tuple(stored.bad),
        predictions_added=sum(one in prelabels.by_sha256 for one in added) + maker.attach(kept),
        created=created,
        left_out=dict(stored.listing.left_out),
        interface=interface,
        warnings=(
            *stored.warnings(),
            *(without_prelabel_warnings(stored.images, prelabels) if predictions is not None else ()),
            *_without_embedding(missing, embeddings),
        ),
    )


@dataclass
class _Stored:
    """The images of the source that are in the server's folder.

    Attributes:
        listing: what was found while the source was listed.
        images: SHA-256 -> image; those that have a sheet have no data.
        bad: (path, reason) of images that cannot be used.
        remarks: the remarks on the images.
        read: number of images of the source.
    """

    listing: Listing
    images: dict[str, StoredImage] = field(default_factory=dict)
    bad: list[tuple[str, str]] = field(default_factory=list)
    remarks: RemarkCounts = field(default_factory=RemarkCounts)
    read: int = 0

    def add(self, chunk: Sequence[StoredImage]) -> None:
        for image in chunk:
            self.remarks.add(image.remark, image.path)
            if image.fault:
                self.bad.append((image.path, image.fault))
            else:
                self.images.setdefault(image.sha256, image)
        self.read += len(chunk)

    def warnings(self) -> list[str]:
        return [*self.listing.warning_texts(), *self.remarks.warnings()]


def _store(
    src: Path, options: ListingOptions, store: Store, known: frozenset[str], total: int, progress: ProgressCallback
) -> _Stored:
    """Stores the images of ``src`` on the server; ``known`` are those that have a sheet."""
    stored = _Stored(Listing(options))
    source = printable(src.absolute().name)
    for chunk in stored_chunks(list_images([src], stored.listing), store.folder, source, known):
        stored.add(store.send(chunk, known | stored.images.keys()))
        progress(stored.read, total)
    return stored


def _without_embedding(sha256: Sequence[str], embeddings: Embeddings | None) -> list[str]:
    """A warning, if there are embeddings, but not of all images."""
    count = len(set(sha256) - set(embeddings.sha256)) if embeddings is not None else 0
    return [f"{count} of the new images have no embedding: they stand at the end of their class"] if count else []


def _open_project(
    connection: Connection, title: str, taxonomy: Taxonomy, annotators: int | None, *, upload: bool
) -> tuple[Project, bool, str]:
    """The project with the interface of sheets, whether this push made it, and how its interface was changed."""
    found = find_project(connection, title)
    if found is None:
        if not upload:
            connection.require_root()  # before the project is made: a refused push leaves no empty project
        return _make_project(connection, title, taxonomy, annotators or 1), True, ""
    if found.tasks and not is_sheet_interface(found.config):
        raise StudioError(
            f"the project '{title}' has single crops, and sheets cannot be added to it: push without --sheets, or "
            "choose another project name"
        )
    stored = last_taxonomy(connection, found, upload=upload)
    classes = with_classes(taxonomy, added_on_page(found.config, stored, taxonomy))
    wanted = build_sheet_interface(classes)
    change = reconcile(found.config, classes, used=found.annotations > 0, title=title, wanted=wanted)
    settings: dict[str, Any] = {"label_config": change.config} if change.update else {}
    if annotators:
        settings["maximum_annotations"] = annotators
    if settings:
        with connection.doing(f"updating the project '{title}'"):
            connection.client.projects.update(id=found.id, request_options=WRITE_OPTIONS, **settings)
    return found, False, change.how


def _make_project(connection: Connection, title: str, taxonomy: Taxonomy, annotators: int) -> Project:
    with connection.doing(f"making the project '{title}'"):
        made = connection.client.projects.create(
            title=title,
            description=f"Pelagia: sheets of crops, classes of the taxonomy '{taxonomy.name}'",
            label_config=build_sheet_interface(taxonomy),
            enable_empty_annotation=False,
            show_collab_predictions=True,
            show_skip_button=True,
            maximum_annotations=annotators,
            request_options=WRITE_OPTIONS,
        )
    hide_columns(connection, made.id, "Sheets")
    return get_project(connection, made.id)


@dataclass(frozen=True)
class _Maker:
    """Makes the sheets of one push."""

    connection: Connection
    project: Project
    taxonomy: Taxonomy
    options: SheetOptions
    prelabels: Prelabels
    embeddings: Embeddings | None

    def add(self, missing: Sequence[str], images: Mapping[str, StoredImage]) -> list[Task]:
        """Puts the images ``missing`` on sheets, and returns all sheets of the project.

        Sheets are removed if they repeat an image: a push that was killed may have made them.
        """
        left = list(missing)
        for _ in range(ROUNDS):
            self._import(left, images)
            kept = self._remove_repeated()
            present = _on_sheets(kept)
            left = [one for one in missing if one not in present]
            if not left:
                break
        return kept

    def _import(self, sha256: Sequence[str], images: Mapping[str, StoredImage]) -> None:
        parts = divide(sha256, self.options.size, self.prelabels.by_sha256, self.taxonomy.names, self.embeddings)
        sheets = [self._sheet([images[one] for one in part]) for part in parts]
        for start in range(0, len(sheets), REQUEST_SHEETS):
            chunk = sheets[start : start + REQUEST_SHEETS]
            with self.connection.doing(f"importing {len(chunk)} sheets"):
                self.connection.client.projects.import_tasks(
                    id=self.project.id, request=chunk, request_options=WRITE_OPTIONS
                )

    def _sheet(self, images: Sequence[StoredImage]) -> dict[str, Any]:
        shown = show_sheet(images, self.prelabels.by_sha256, true_size=self.options.true_size)
        crops = [{**image.data, SHOWN: text} for image, text in zip(images, shown, strict=True)]
        sha256 = [image.sha256 for image in images]
        task: dict[str, Any] = {"data": {HEADING: self._heading(sha256), CROPS: crops}}
        if prediction := self._prediction(sha256):
            task["predictions"] = [prediction]
        return task

    def _heading(self, sha256: Sequence[str]) -> str:
        prelabels = {self.prelabels.by_sha256.get(one) for one in sha256}
        offered = {(prelabel.class_name, prelabel.accepted) for prelabel in prelabels if prelabel}
        if None in prelabels or len(offered) != 1:
            return "Choose the class of each crop."
        [(name, accepted)] = offered
        title = class_titles(self.taxonomy)[name]
        if not accepted:
            return f"{title}? The model is not sure: choose the class of each crop."
        return f"{title}? Change the crops that are something else, then submit."

    def _prediction(self, sha256: Sequence[str]) -> dict[str, Any] | None:
        found = [self.prelabels.by_sha256.get(one) for one in sha256]
        known = [prelabel.probability for prelabel in found if prelabel]
        if not known:
            return None
        names = [prelabel.class_name if prelabel and prelabel.accepted else "" for prelabel in found]
        return {
            "result": sheet_result(names),
            "score": round(sum(known) / len(known), 6),
            "model_version": self.prelabels.model_version,
        }

    def _remove_repeated(self) -> list[Task]:
        """Removes unlabeled sheets that repeat an image of another sheet; returns the sheets that are left."""
        tasks = list(list_tasks(self.connection, self.project, whole=True, sheets=True))
        known: set[str] = set()
        kept: list[Task] = []
        redundant = []
        for task in sorted(tasks, key=lambda task: (not task.annotations, task.id)):
            crops = _on_sheets([task])
            if not task.annotations and crops & known:
                redundant.append(task.id)
            else:
                known |= crops
                kept.append(task)
        if redundant:
            what = f"removing {len(redundant)} sheets with crops of other sheets"
            act_on_tasks(self.connection, self.project.id, "delete_tasks", redundant, what)
        return kept

    def attach(self, existing: Sequence[Task]) -> int:
        """Adds the predictions to older sheets that lack them, and shows them; returns the number of crops with one."""
        version = self.prelabels.model_version
        if not version:
            return 0
        requests, crops = [], 0
        for task in existing:
            sha256 = [str(crop.get("sha256")) for crop in task.data.get(CROPS) or ()]
            prediction = self._prediction(sha256)
            if prediction and all(one.get("model_version") != version for one in task.predictions):
                requests.append({"task": task.id} | prediction)
                crops += sum(one in self.prelabels.by_sha256 for one in sha256)
        if requests:
            with self.connection.doing(f"attaching the predictions of {len(requests)} sheets"):
                self.connection.client.projects.import_predictions(
                    id=self.project.id, request=requests, request_options=WRITE_OPTIONS
                )
        if _on_sheets(existing) & self.prelabels.by_sha256.keys():
            show(self.connection, self.project, version)  # the server refuses to show a model that no task names
        return crops


def _on_sheets(tasks: Iterable[Task]) -> set[str]:
    """The SHA-256 of the images of sheets."""
    return {str(crop.get("sha256")) for task in tasks for crop in task.data.get(CROPS) or ()}
