"""`pelagia label pull`: makes a dataset from the labels that people submitted.

Invariant: each task of the project is either in the dataset or counted in ``left_out`` with its reason. An image is
used only if its bytes are the bytes that were pushed (the task holds their SHA-256).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pelagia.dataset.label_columns import ADJUDICATOR, CELL_COLUMNS, LABEL_COLUMNS, SEEN
from pelagia.dataset.parents import group_column_beside
from pelagia.dataset.schema import Dataset, LabelAgreement, SplitMeta
from pelagia.dataset.splits import DEFAULT_FRACTIONS
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError, InputError, StudioError, did_you_mean
from pelagia.system.console import ProgressCallback
from pelagia.system.files import refuse_existing
from pelagia.system.paths import StrPath
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.importers.imported import survey_columns
from pelagia_labeling.labels.cells import NOTHING_COUNTED, CellReport, cell_report, cells_of
from pelagia_labeling.labels.consensus import DISPUTED, UNLABELLED, Consensus, decide
from pelagia_labeling.labels.fetch import fetch_images
from pelagia_labeling.labels.ratings import TimedVote, label_agreement
from pelagia_labeling.labels.reopen import explained, refused_submissions, reopen_sheets
from pelagia_labeling.labels.send_back import send_back as send_back_annotations
from pelagia_labeling.labels.together import Columns, Strategy, Verdict, decide_labels, read_verdicts
from pelagia_labeling.labels.votes import MIN_SECONDS
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.cells_field import has_cells
from pelagia_labeling.tasks.interface import class_names, parse_config, parse_interface, taxonomy_of
from pelagia_labeling.tasks.project import ANNOTATIONS, Project, Task, list_tasks, require_project
from pelagia_labeling.tasks.renamed import to_named
from pelagia_labeling.tasks.sheet_crops import RefusedSheet
from pelagia_labeling.tasks.storage import RESERVED, folder_name_of, stored_taxonomy
from pelagia_labeling.tasks.upload import uploaded_taxonomy

GROUP_COLUMNS = ("group", "station", "sample", "track")
"""If the caller names no group column, the first of these columns that a task has is the group column."""


class Dispute(NamedTuple):
    """An image without a majority: its path, and the votes, such as ``anna: copepod, ben: medusa``."""

    path: str
    votes: str


class TooFast(NamedTuple):
    """A label that was submitted faster than a person can look: path of the image, person, class or kind, seconds."""

    path: str
    annotator: str
    label: str
    seconds: float


class Overruled(NamedTuple):
    """A pre-label that was accepted in bulk although somebody had chosen for themselves: the choice was kept."""

    path: str
    annotator: str
    accepted: str
    kept: str


class Replaced(NamedTuple):
    """A label that another person changed later: the dataset names the person who changed it."""

    path: str
    made_by: str
    changed_by: str


@dataclass(frozen=True)
class PullReport:
    """The dataset of a pull, and what was left out.

    Attributes:
        dataset: the dataset that was made.
        tasks: number of tasks of the project.
        left_out: reason -> number of images: skipped, unsure, unlabelled, disputed, too_fast, no_choice, and what
            `write_dataset` dropped.
        disputed: the images without a majority.
        group_column: the column that the groups come from; None if every image is its own group.
        by_annotator: name of an annotator -> number of images for which this annotator named a class.
        too_fast: the labels that were submitted faster than a person can look; they were not counted.
        overruled: the pre-labels that were accepted in bulk and not counted, because somebody chose another class.
        replaced: the labels that another person changed.
        sent_back: number of annotations that were removed, so that their tasks are open again.
        refused: the submitted sheets that do not count.
        adjudicated: number of images whose label an adjudicator decided.
        repeats: number of planted repeats; they are no images of the dataset.
        unseen: number of labels that were accepted without the image being shown to anybody.
        cells: the cells that people counted.
    """

    dataset: Dataset
    tasks: int
    left_out: dict[str, int]
    disputed: tuple[Dispute, ...]
    group_column: str | None
    by_annotator: dict[str, int]
    too_fast: tuple[TooFast, ...] = ()
    overruled: tuple[Overruled, ...] = ()
    replaced: tuple[Replaced, ...] = ()
    sent_back: int = 0
    refused: tuple[RefusedSheet, ...] = ()
    adjudicated: int = 0
    repeats: int = 0
    unseen: int = 0
    cells: CellReport = NOTHING_COUNTED


def pull(
    connection: Connection,
    project: str,
    out: StrPath,
    *,
    group_column: str | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = DEFAULT_FRACTIONS,
    min_agreement: float = 0.0,
    min_seconds: float = MIN_SECONDS,
    send_back: bool = False,
    consensus: Strategy = "majority",
    adjudicated: str | None = None,
    licence: str = "",
    join_near_duplicates: bool = True,
    parent: Dataset | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> PullReport:
    """Makes the dataset ``out`` from a project's submitted labels.

    Args:
        connection: the connection to the server.
        project: title of the project.
        out: the dataset folder to make.
        group_column: images with the same value in this column of the tasks stay in one split.
        seed: seed of the random splits.
        fractions: shares of the training, validation and test splits; their sum is 1.
        min_agreement: least share of the votes for the label, or its least probability, 0..1; always more than half.
        min_seconds: labels that were submitted on the page in less time are not counted; 0 counts all.
        send_back: whether to open the tasks again that were submitted too fast or without a class.
        consensus: by majority, or by the most probable class (`decide_together`), which gives soft labels.
        adjudicated: title of a project of `pelagia label adjudicate`, whose labels win.
        licence: licence of the images whose task has no column ``licence``.
        join_near_duplicates: whether near-duplicates stay in one split.
        parent: the version before: its images keep their groups and splits, and its fractions and seed hold.
        progress: called with (tasks read, total tasks).

    Raises:
        InputError: ``out`` exists, or the tasks have no column ``group_column``.
        StudioError: there is no such project, its interface cannot be read, or the server fails.
        DatasetError: there is no label that can be used, or no image that can be used.
    """
    refuse_existing(out := Path(out), "dataset")
    found = require_project(connection, project)
    classes = require_classes(found)
    everything = _read_results(connection, found, min_agreement, min_seconds, progress)
    verdicts = _verdicts(connection, found, adjudicated) if adjudicated is not None else {}
    results, columns = decide_labels(everything, consensus, verdicts, min_agreement)
    tasks = [task for task, _ in results]
    if tasks:
        group_column = group_column_beside(parent, group_column, lambda named: choose_group_column(named, tasks))
    sent_back = _send_back(connection, found, everything) if send_back else 0
    _require_labels(found, results, sent_back)
    split = SplitMeta(
        group_column=group_column, fractions=fractions, seed=seed, join_near_duplicates=join_near_duplicates
    )
    taxonomy = project_taxonomy(connection, found, classes, tasks)
    agreement = label_agreement(_with_votes(everything), group_column, taxonomy)
    dataset = _write(connection, found, out, results, taxonomy, split, licence, columns, agreement, parent)
    return _report(dataset, everything, results, columns, sent_back, found)


def _with_votes(results: _Results) -> list[tuple[Task, list[TimedVote]]]:
    return [(task, [TimedVote(*vote) for vote in consensus.votes]) for task, consensus in results]


_Results = Sequence[tuple[Task, Consensus]]
"""Each task of the project, without its annotations, and the consensus of its annotations."""


def require_classes(project: Project) -> tuple[LabelClass, ...]:
    """The classes of a project's interface. Raises StudioError if it has none that can be read."""
    classes = parse_interface(project.config)
    if classes is None:
        raise StudioError(
            f"the project '{project.title}' has no choices named 'class' on an image named 'image': name a project "
            "that `pelagia label push` made"
        )
    return classes


def _read_results(
    connection: Connection, project: Project, min_agreement: float, min_seconds: float, progress: ProgressCallback
) -> _Results:
    """Reads all tasks, also planted repeats, and decides on a label for each by majority."""
    names = accounts(connection)
    return [
        explained(task, decide(task.annotations, names, min_agreement, min_seconds))
        for task in list_tasks(connection, project, parts=ANNOTATIONS, named=True, progress=progress)
    ]


def _verdicts(connection: Connection, project: Project, adjudicated: str) -> dict[str, Verdict]:
    """The verdicts of the project with the title ``adjudicated``, in the present names of classes of ``project``."""
    return read_verdicts(connection, adjudicated, accounts(connection), class_names(project.config))


def _send_back(connection: Connection, project: Project, results: _Results) -> int:
    """Opens the tasks again that were submitted too fast or without a class, and the sheets that were refused."""
    sheets = reopen_sheets(connection, project, refused_submissions(task for task, _ in results))
    numbers = [vote.annotation for _, consensus in results for vote in consensus.too_fast]
    numbers += [number for _, consensus in results for number in consensus.without_choice]
    return sheets + send_back_annotations(connection, list(dict.fromkeys(numbers)))


def _require_labels(project: Project, results: _Results, sent_back: int) -> None:
    """Raises DatasetError if no task has a label."""
    if not any(consensus.class_name for _, consensus in results):
        sent = f"; {sent_back} were sent back and are open again" if sent_back else ""
        raise DatasetError(_no_label(project.title, _reasons(results)) + sent)


def _reasons(results: _Results) -> Counter[str]:
    """Reason -> number of tasks without a label."""
    return Counter(consensus.reason for _, consensus in results if not consensus.class_name)


def _no_label(title: str, reasons: Mapping[str, int]) -> str:
    if not reasons:
        return f"the project '{title}' has no task: add images with `pelagia label push`"
    if set(reasons) == {UNLABELLED}:
        tasks = reasons[UNLABELLED]
        return f"no image of '{title}' is labeled yet ({tasks} tasks): open the project and label images"
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"no task of '{title}' has a label that can be used ({counts}): open the project and label images"


def project_taxonomy(
    connection: Connection, project: Project, classes: Sequence[LabelClass], tasks: Sequence[Task]
) -> Taxonomy:
    """The taxonomy that push stored, with the classes that were added to the interface later."""
    folder = next((name for task in tasks if (name := folder_name_of(task.data))), "")
    stored = stored_taxonomy(connection, folder) if folder else uploaded_taxonomy(connection, project)
    return to_named(taxonomy_of(classes, stored, project.title), class_names(project.config))


def _write(
    connection: Connection,
    project: Project,
    out: Path,
    results: _Results,
    taxonomy: Taxonomy,
    split: SplitMeta,
    licence: str,
    columns: Columns,
    agreement: LabelAgreement | None,
    parent: Dataset | None,
) -> Dataset:
    """Fetches the labeled images and writes the dataset."""
    labeled = [(task, consensus) for task, consensus in results if consensus.class_name]
    with tempfile.TemporaryDirectory(prefix="pelagia-pull-") as scratch:
        files = fetch_images(connection, [task for task, _ in labeled], Path(scratch))
        candidates, unusable = _candidates(labeled, files, taxonomy, split.group_column, licence, columns)
        if not candidates:
            counts = ", ".join(f"{count} {reason}" for reason, count in unusable.items())
            raise DatasetError(
                f"none of the {len(labeled)} labeled images of '{project.title}' can be used ({counts}): "
                "see `pelagia studio doctor`"
            )
        return write_dataset(
            out,
            candidates,
            source={"kind": "label_studio", "url": connection.url, "project": project.title, "project_id": project.id},
            taxonomy=taxonomy,
            split=split,
            left_out=dict(_reasons(results) + unusable),
            label_agreement=agreement,
            parents=[parent] if parent else [],
            conflicts="drop",  # if two tasks of one image have two classes, both are left out, counted and listed
        )


def _report(
    dataset: Dataset, everything: _Results, results: _Results, columns: Columns, sent_back: int, project: Project
) -> PullReport:
    labeled = ((_path(task), consensus) for task, consensus in results if consensus.class_name)
    votes = Counter(annotator for _, consensus in results for annotator, _ in consensus.votes)
    return PullReport(
        dataset=dataset,
        tasks=len(results),
        left_out=dict(dataset.meta.left_out),
        disputed=tuple(
            Dispute(_path(task), consensus.votes_as_text) for task, consensus in results if consensus.reason == DISPUTED
        ),
        group_column=dataset.meta.split.group_column,
        by_annotator=dict(votes.most_common()),
        too_fast=tuple(
            TooFast(_path(task), vote.annotator, vote.class_name or vote.kind, vote.seconds or 0.0)
            for task, consensus in results
            for vote in consensus.too_fast
        ),
        overruled=tuple(
            Overruled(_path(task), vote.annotator, vote.class_name, consensus.class_name or consensus.reason)
            for task, consensus in results
            for vote in consensus.overruled
        ),
        replaced=tuple(Replaced(_path(task), *pair) for task, consensus in results for pair in consensus.replaced),
        sent_back=sent_back,
        refused=refused_submissions(task for task, _ in results),
        adjudicated=sum(ADJUDICATOR in values for values in columns.values()),
        repeats=len(everything) - len(results),
        unseen=sum(record.extra.get(SEEN) == "no" for record in dataset.records),
        cells=cell_report(labeled, asked=has_cells(parse_config(project.config))),
    )


def accounts(connection: Connection) -> dict[int, str]:
    """Account number -> e-mail address, or the user name if the account has no e-mail address."""
    with connection.doing("listing the accounts"):
        users = connection.client.users.list()
    return {int(user.id): str(user.email or user.username or "") for user in users}


def choose_group_column(named: str | None, tasks: Sequence[Task]) -> str | None:
    """The column that the caller names, or the first of `GROUP_COLUMNS` that a task has."""
    columns = Counter(key for task in tasks for key, value in task.data.items() if key not in RESERVED and _text(value))
    if named is None:
        return next((column for column in GROUP_COLUMNS if columns[column]), None)
    if named not in columns:
        raise InputError(
            f"no task has a column '{named}'{did_you_mean(named, columns)} (--group-column); "
            f"the columns are: {', '.join(sorted(columns)) or 'none'}"
        )
    return named


def _candidates(
    labeled: _Results,
    files: Sequence[Path | str],
    taxonomy: Taxonomy,
    group_column: str | None,
    licence: str,
    added: Columns,
) -> tuple[list[Candidate], Counter[str]]:
    """The candidates for the dataset; and reason -> number of labeled images that cannot be used."""
    candidates = []
    unusable: Counter[str] = Counter()
    for (task, consensus), file in zip(labeled, files, strict=True):
        if isinstance(file, str):
            unusable[f"image_{file}"] += 1
        elif group_column and not _text(task.data.get(group_column)).strip():
            unusable["no_group"] += 1  # its real group may be in another split
        elif consensus.class_name not in taxonomy.names:
            unusable["class_not_in_interface"] += 1
        else:
            candidate = _candidate(task, consensus, file, group_column, licence)
            candidates.append(replace(candidate, extra=candidate.extra | dict(added.get(task.place, {}))))
    return candidates, unusable


def _candidate(task: Task, consensus: Consensus, file: Path, group_column: str | None, licence: str) -> Candidate:
    columns = {key: _text(value) for key, value in task.data.items() if key not in RESERVED}
    group = columns.get(group_column, "").strip() if group_column else ""
    licence = columns.pop("licence", "") or licence
    for name in (*LABEL_COLUMNS, *CELL_COLUMNS):  # of an older label, if a dataset was pushed
        if name in columns:
            columns[f"survey_{name}"] = columns.pop(name)
    return Candidate(
        file=file,
        class_name=consensus.class_name,
        source=_path(task),
        group=group,
        annotators=consensus.annotators,
        agreement=f"{consensus.agreement:.2f}" if len(consensus.votes) > 1 else "",
        licence=licence,
        extra=survey_columns(columns) | ({SEEN: "no"} if consensus.unseen else {}) | cells_of(consensus).columns(),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _path(task: Task) -> str:
    return str(task.data.get("path") or task.data.get("image") or f"task {task.id}")
