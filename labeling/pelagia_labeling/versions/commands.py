"""`pelagia dataset diff|merge|relabel|rename-class|history|export`: the commands read their options and print.

They do not need label-studio-sdk, except `history --project`, because people who only train use them too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import Out, needs, show_dataset
from pelagia.shell import command_line
from pelagia.system import console
from pelagia.system.files import refuse_existing_file

if TYPE_CHECKING:
    from pelagia.dataset.differences import Difference
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.labels.votes import Vote

DatasetFolder = Annotated[Path, typer.Argument(help="A dataset folder.")]
Url = Annotated[
    str | None, typer.Option(help="Address of the server; by default LABEL_STUDIO_URL, or the server started here.")
]


def dataset_diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="The dataset before.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The dataset after.")],
    out: Annotated[Path | None, typer.Option(help="CSV file to make: a row for each image that differs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every image that differs.")] = False,
) -> None:
    """Print what differs between two datasets: images added, removed, with another class or in another split.

    \b
    pelagia dataset diff datasets/crops datasets/crops_2
    pelagia dataset diff datasets/crops datasets/crops_2 --out changes.csv
    """
    from pelagia.dataset.differences import compare
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions import difference

    one, two = Dataset.read(before), Dataset.read(after)
    found = compare(one.records, two.records)
    if out is not None:
        refuse_existing_file(out, "table", "difference.csv")
        difference.write_images(found, out)
    if as_json:
        console.say(json.dumps(difference.as_json(one, two), ensure_ascii=False, indent=1))
        return
    _say_difference(one, two, found)
    if out is not None:
        console.say(f"every image that differs is in {out}")


def _say_difference(one: Dataset, two: Dataset, found: Difference) -> None:
    from pelagia_labeling.versions import difference

    changes = (found.added, found.removed, found.relabeled, found.moved)
    console.say("{} added, {} removed, {} with another class, {} in another split".format(*map(len, changes)))
    console.say(f"{found.unchanged} images are the same")
    console.table(
        ("class", "A", "B", "change"),
        [(*row[:3], f"{row[3]:+d}" if row[3] else "0") for row in difference.class_rows(one, two)],
    )
    if rows := difference.relabeled_rows(found):
        console.table(("class in A", "class in B", "images"), rows)
    if rows := difference.moved_rows(found):
        console.table(("split in A", "split in B", "images"), rows)
    if leaked := difference.held_out_moved(found):
        console.note(
            f"warning: {leaked} images are held out in A and in train in B: do not test a model of B on the test split "
            "of A"
        )


def dataset_merge(
    first: Annotated[Path, typer.Argument(metavar="A", help="A dataset.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another dataset.")],
    out: Out,
    conflicts: Annotated[
        str, typer.Option(help="An image with another class in each: refuse, take first or second, or drop it.")
    ] = "refuse",
    splits: Annotated[
        str, typer.Option(help="A group or image in another split in each: refuse, first, second or held-out.")
    ] = "refuse",
) -> None:
    """Make one dataset of two. Images keep their split; images of both are taken once.

    \b
    pelagia dataset merge datasets/spring datasets/autumn --out datasets/year
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions.merge import merge

    one, two = Dataset.read(first), Dataset.read(second)
    with _checking(one.meta.images + two.meta.images) as advance:
        merged = merge(one, two, out, conflicts=conflicts, splits=splits, progress=advance)
    console.say(f"{merged.shared} images are in both datasets and were taken once")
    for pair in merged.conflicts:
        console.say(f"{pair[0].path}: {pair[0].class_name} in A, {pair[1].class_name} in B ({conflicts})")
    if merged.split_conflicts:
        console.say(f"{len(merged.split_conflicts)} groups or images were in two splits ({splits})")
    show_dataset(merged.dataset)


def dataset_relabel(
    dataset: DatasetFolder,
    labels: Annotated[
        Path, typer.Option(help="Table with the columns path (or sha256), class, and annotators if known.")
    ],
    out: Out,
) -> None:
    """Make a dataset with other labels, from a table; images, groups and splits stay as they are.

    An image or a class that the dataset does not have is refused.

    \b
    pelagia dataset relabel datasets/crops --labels corrections.csv --out datasets/crops_2
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions.relabel import relabel

    opened = Dataset.read(dataset)
    with _checking(opened.meta.images) as advance:
        result = relabel(opened, labels, out, advance)
    for path, before, after in result.changed:
        console.say(f"{path}: {before} -> {after}")
    console.say(f"{len(result.changed)} labels changed, {result.confirmed} were the same already")
    show_dataset(result.dataset)


def dataset_rename_class(
    dataset: DatasetFolder,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The class.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    out: Out,
    merge: Annotated[bool, typer.Option("--merge", help="NEW is a class already: make both one class.")] = False,
) -> None:
    """Make a dataset with another name of a class; images, groups and splits stay as they are.

    \b
    pelagia dataset rename-class datasets/crops copepod Copepoda --out datasets/crops_2
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions.relabel import rename_class

    opened = Dataset.read(dataset)
    with _checking(opened.meta.images) as advance:
        made = rename_class(opened, old, new, out, merge=merge, progress=advance)
    show_dataset(made)


def dataset_history(
    dataset: DatasetFolder,
    image: Annotated[
        str | None, typer.Option(help="Path, source or beginning of the SHA-256 of one image. All by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV file to make, with the history of all images.")] = None,
    project: Annotated[str | None, typer.Option(help="Title of the Label Studio project with people's votes.")] = None,
    url: Url = None,
) -> None:
    """Print the labels of an image through all versions of a dataset.

    With --project, each person's votes are added, with their time. The versions are the dataset and its ancestors.

    \b
    pelagia dataset history datasets/crops_3 --image ST05_00012.png
    pelagia dataset history datasets/crops_3 --project "North Sea" --out history.csv
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions import history

    if image is None and out is None:
        raise InputError("name one image with --image, or a table for all images with --out history.csv")
    if out is not None:
        refuse_existing_file(out, "table", "history.csv")
    found = history.lineage(Dataset.read(dataset))
    for text in found.missing:
        console.note(f"warning: a parent was not found, so its labels are missing: {text}")
    votes = _votes(project, url) if project else {}
    wanted = None if image is None else history.find_image(found.versions, image).sha256
    events = history.events_of(found.versions, votes, wanted)
    if out is not None:
        images = history.write_history(events, out)
        console.say(f"{len(found.versions)} versions, {images} images: {out}")
        return
    ((sha256, listed),) = events
    console.say(f"{listed[-1].path}, SHA-256 {sha256}")
    columns = ("time", "event", "class", "who", "split", "version")
    rows = [(one.time[:19], one.event, one.class_name, one.who, one.split, one.version) for one in listed]
    console.table(columns, rows)


def _votes(project: str, url: str | None) -> dict[str, list[Vote]]:
    needs("labeling", "dataset history --project")
    from pelagia_labeling.labels.pull import accounts
    from pelagia_labeling.labels.votes import votes_of
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.project import ANNOTATIONS, list_tasks, require_project
    from pelagia_labeling.versions.history import votes_by_image

    connection = connect(url)
    people, found = accounts(connection), require_project(connection, project)
    with console.progress_bar("reading votes") as update:
        tasks = list_tasks(connection, found, parts=ANNOTATIONS, named=True, progress=update)
        votes = ((task.sha256, votes_of(task.annotations, people)) for task in tasks)
        return votes_by_image(votes)


def dataset_export(
    dataset: DatasetFolder,
    to: Annotated[str, typer.Option(help="folders, ecotaxa, label-studio, coco or imagefolder.")],
    out: Out,
    status: Annotated[str, typer.Option(help="EcoTaxa's status of the labels: validated or predicted.")] = "validated",
    annotators: Annotated[
        bool, typer.Option("--annotators", help="Export the names or addresses of the people who labelled.")
    ] = False,
) -> None:
    """Write a dataset as class folders, or in the format of another program.

    \b
    pelagia dataset export datasets/crops --to folders --out crops_folders
    pelagia dataset export datasets/crops --to ecotaxa --out for_ecotaxa
    pelagia dataset export datasets/crops --to imagefolder --out for_hugging_face
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.exports.export import export_dataset

    with console.progress_bar("exporting") as update:
        done = export_dataset(Dataset.read(dataset), out, to, status=status, annotators=annotators, progress=update)
    console.say(f"{done.images} images exported to {done.out}")
    for text in done.notes:
        console.note(text)


def label_rename_class(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The class.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    project: Annotated[str, typer.Option("--project", help="Title of the Label Studio project.")],
    url: Url = None,
) -> None:
    """Rename a class of a Label Studio project, with all its labels.

    People see the new name, and `label pull` writes it. Who labelled what, and when, is not touched: Label Studio keeps
    the old name inside. Rename the class in your taxonomy file too. The same command with the names exchanged takes the
    change back.

    \b
    pelagia label rename-class --project "North Sea" copepod Copepoda
    """
    needs("labeling", "label rename-class")
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.renamed import rename_class

    rename_class(connect(url), project, old, new)
    console.say(f"'{old}' is '{new}' now in '{project}', with all its labels")
    console.say("rename it in the taxonomy file too; to take the change back, exchange the two names")


def choose_parent(named: Path | None, none: bool, out: Path, project: str) -> Dataset | None:
    """The parent of a pull, as the options say; one that is found beside ``out`` is said.

    Raises:
        InputError: both options are given, or several datasets could be the parent.
        DatasetError: the named folder is no dataset.
    """
    from pelagia.dataset.schema import Dataset
    from pelagia_labeling.versions.parents import find_parent

    if named is not None and none:
        raise InputError("--parent and --no-parent contradict each other: leave one out")
    if named is not None:
        return Dataset.read(named)
    if none:
        return None
    found = find_parent(out, project)
    if found is not None:
        console.note(
            f"the version before is {found.root}, found beside {out}: its images keep their splits "
            f"({command_line('--no-parent')} makes a new split)"
        )
        if found.meta.source.get("kind") != "label_studio":
            console.note(
                f"warning: {found.root} was not pulled itself but made from a pulled dataset, so Label Studio does not "
                "have what was changed there (by `dataset relabel`, `rename-class`, `merge` or `correct`): the new "
                "dataset lacks these changes unless you make them again; `pelagia dataset diff` lists them"
            )
    return found


@contextmanager
def _checking(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar for a new dataset; yields a function that takes the number of images since its last call."""
    done = 0
    with console.decoder_messages_hidden(), console.progress_bar("checking images") as update:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            update(done, total)

        yield advance
