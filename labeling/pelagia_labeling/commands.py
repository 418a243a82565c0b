"""`pelagia label`: the commands read their options, call one function, and print its result."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pelagia.errors import InputError
from pelagia.options import AllRanks, FollowLinks, NearDuplicates, Out, PathColumn, Seed, needs, show_dataset
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia_labeling.labels.pull import PullReport
    from pelagia_labeling.studio.connection import Connection
    from pelagia_labeling.tasks.push import PushReport

ProjectTitle = Annotated[str, typer.Option("--project", help="Title of the Label Studio project.")]
Url = Annotated[
    str | None, typer.Option(help="Address of the server; by default LABEL_STUDIO_URL, or the server started here.")
]
Sheets = Annotated[
    int | None, typer.Option(min=2, max=60, help="Show this many crops together on one page, such as 36.")
]
SheetEmbeddings = Annotated[
    Path | None,
    typer.Option(help="With --sheets: embeddings, or a survey that has them; similar crops stand together."),
]
TrueSize = Annotated[bool, typer.Option("--true-size", help="With --sheets: show the crops of a sheet at one scale.")]
Annotators = Annotated[
    int | None, typer.Option(min=1, help="Number of people who label each image; 1 in a new project.")
]
CountCells = Annotated[
    bool, typer.Option("--count-cells", help="Ask for the number of cells on each image, so that chains become cells.")
]
Upload = Annotated[
    bool, typer.Option("--upload", help="Upload the images, for a server that shares no folder with this machine.")
]
ConsensusRule = Annotated[
    Literal["majority", "dawid-skene"],
    typer.Option(help="How votes become a label; dawid-skene: people who are often wrong count less."),
]
Adjudicated = Annotated[str | None, typer.Option(help="Title of a project of `label adjudicate`; its labels win.")]
Parent = Annotated[
    Path | None, typer.Option(help="The version before: its images keep their split. Found beside OUT by default.")
]
NoParent = Annotated[bool, typer.Option("--no-parent", help="Make a new split, as if there were no version.")]
MinSeconds = Annotated[
    float, typer.Option(min=0, help="Leave out labels that were submitted faster than this; 0 keeps all.")
]
SendBack = Annotated[
    bool, typer.Option("--send-back", help="Open the tasks again that were submitted too fast or without a class.")
]


def label_push(
    src: Annotated[Path, typer.Argument(help="Any input of `classify`: a folder, a manifest, an EcoTaxa export.")],
    project: ProjectTitle,
    taxonomy: Annotated[Path, typer.Option(help="Taxonomy YAML: the classes to choose from.")],
    predictions: Annotated[Path | None, typer.Option(help="Survey whose predictions are shown as pre-labels.")] = None,
    sheets: Sheets = None,
    embeddings: SheetEmbeddings = None,
    true_size: TrueSize = False,
    annotators: Annotators = None,
    path_column: PathColumn = "",
    follow_links: FollowLinks = False,
    all_ranks: AllRanks = False,
    upload: Upload = False,
    count_cells: CountCells = False,
    url: Url = None,
) -> None:
    """Add images to a Label Studio project. A second push adds no image twice.

    With --predictions, the table of the project gets a tab for each predicted class, least sure crops first.
    With --count-cells, people count the cells of each image; `label pull` writes them into the dataset.

    \b
    pelagia label push crops --project "First look" --taxonomy classes.yaml --predictions survey
    pelagia label push crops --project Sheets --taxonomy classes.yaml --predictions survey --sheets 36
    pelagia label push chains --project Chains --taxonomy classes.yaml --count-cells

    The token is read from LABEL_STUDIO_API_KEY or from the private file of `pelagia studio start`.
    """
    needs("labeling", "label push")
    from pelagia.sources import ListingOptions
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.sheets.cohorts import update_tabs
    from pelagia_labeling.sheets.push import SheetOptions, push_sheets
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.push import push

    _check_sheets(sheets, embeddings, true_size, count_cells)
    classes = load_taxonomy(taxonomy)
    adding = partial(push, annotators=annotators, upload=upload, count_cells=count_cells)
    if sheets:
        on_sheets = SheetOptions(sheets, embeddings, true_size)
        adding = partial(push_sheets, sheets=on_sheets, annotators=annotators, upload=upload)
    with console.decoder_messages_hidden(), console.progress_bar("pushing") as update:
        options = ListingOptions(path_column, follow_links, all_ranks)
        connection = connect(url)
        report = adding(connection, src, project, classes, predictions=predictions, options=options, progress=update)
    if report.created:
        _show_new(connection, project.strip())
    _show_push(report, predictions is not None)
    if not report.added + report.present:
        raise InputError(
            f"none of the images of {src} can be used, so there is nothing to label: see the reasons above"
        )
    if predictions and not sheets:
        tabs = update_tabs(connection, report.project_id, classes)
        listed = ", ".join(f"{name}? {count}" for name, count in tabs.items())
        console.say(f"tabs of predicted classes: {listed or 'none'}")
    console.say(f"label them at {report.url}")


def _check_sheets(sheets: int | None, embeddings: Path | None, true_size: bool, count_cells: bool) -> None:
    """Raises InputError if an option does not fit the page that people label on."""
    if sheets is None and (embeddings or true_size):
        raise InputError("--embeddings and --true-size are for sheets: add --sheets 36, or leave them out")
    if sheets and count_cells:
        raise InputError(
            "--count-cells is for images one at a time, and a sheet has no field for cells: push the images of chains "
            "to a project of their own, without --sheets"
        )


def _show_new(connection: Connection, title: str) -> None:
    """Says that a project was made, and warns if another one may have been meant."""
    from pelagia_labeling.tasks.project import alike_title

    console.say(f"made the project '{title}'")
    if other := alike_title(connection, title):
        console.note(
            f"warning: there is a project '{other}' already: if you meant that one, delete '{title}' in Label Studio, "
            f"and push with --project '{other}'"
        )


def _show_push(report: PushReport, with_predictions: bool) -> None:
    """Prints what was added and what was left out."""
    from pelagia.sources import left_out_text

    for path, reason in report.bad:
        console.note(f"left out: {path}: {reason}")
    for text in report.warnings:
        console.note(f"warning: {text}")
    if report.interface:
        console.say(f"the labelling page was changed: {report.interface}")
    console.say(f"{report.added} images added, {report.present} were there already, {len(report.bad)} cannot be used")
    for key, count in report.left_out.items():
        console.say(f"{count} {left_out_text(key)}")
    if with_predictions:
        console.say(f"{report.predictions_added} predictions attached")


def label_submit(
    labels: Annotated[Path, typer.Argument(help="Table with the columns path and class.")],
    project: ProjectTitle,
    class_column: Annotated[str, typer.Option(help="Column of labels.")] = "class",
    path_column: PathColumn = "",
    url: Url = None,
) -> None:
    """Submit labels that were made elsewhere, as the account of the token. A task with a label keeps its label."""
    needs("labeling", "label submit")
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.annotate import submit_csv

    with console.progress_bar("submitting") as update:
        report = submit_csv(
            connect(url), project, labels, class_column=class_column, path_column=path_column, progress=update
        )
    for text in report.warnings:
        console.note(f"warning: {text}")
    console.say(
        f"{report.submitted} labels submitted, {report.present} images had a label already, "
        f"{report.unknown} paths are not in the project"
    )


def label_pull(
    project: ProjectTitle,
    out: Out,
    group_column: Annotated[
        str | None,
        typer.Option(help="Images with the same value in this column stay in one split; found by default."),
    ] = None,
    consensus: ConsensusRule = "majority",
    adjudicated: Adjudicated = None,
    parent: Parent = None,
    no_parent: NoParent = False,
    near_duplicates: NearDuplicates = True,
    seed: Seed = 0,
    min_seconds: MinSeconds = 0.3,
    send_back: SendBack = False,
    url: Url = None,
) -> None:
    """Make a dataset of the submitted labels; skipped, unsure and disputed images are left out and counted.

    A label that was submitted in less than --min-seconds is a key that was held or pressed twice: the person cannot
    have seen the image. A person's own choice counts more than pre-labels that were accepted in bulk.

    \b
    pelagia label pull --project "North Sea" --out datasets/north_sea_1
    pelagia label pull --project "North Sea" --out datasets/north_sea_2 --parent datasets/north_sea_1
    pelagia label pull --project "North Sea" --out datasets/north_sea_3 --send-back
    """
    needs("labeling", "label pull")
    from pelagia_labeling.labels.pull import pull
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.versions.commands import choose_parent

    before = choose_parent(parent, no_parent, out, project)
    with console.progress_bar("pulling") as update:
        report = pull(
            connect(url),
            project,
            out,
            group_column=group_column,
            consensus=consensus,
            adjudicated=adjudicated,
            seed=seed,
            join_near_duplicates=near_duplicates,
            min_seconds=min_seconds,
            send_back=send_back,
            parent=before,
            progress=update,
        )
    _show_pull(report, min_seconds)


def _show_pull(report: PullReport, min_seconds: float) -> None:
    """Prints each label that was not counted, or not counted for the person who gave it first, and the dataset."""
    for text in (*_doubtful_labels(report), *report.cells.lines()):
        console.note(text)
    if report.adjudicated:
        console.say(f"{report.adjudicated} labels are those of the adjudicator")
    if report.unseen:
        console.say(
            f"{report.unseen} labels were accepted by a search, without the image being shown: 'label_seen' is 'no' in "
            "their rows of the manifest"
        )
    if text := report.cells.summary():
        console.say(text)
    if report.repeats:
        console.say(f"{report.repeats} planted repeats are no images of the dataset")
    show_dataset(report.dataset)
    if report.sent_back:
        console.say(f"{report.sent_back} annotations removed: their images are open again in Label Studio")
    elif report.refused:
        console.say(
            f"{len(report.refused)} submitted sheets are not counted: `pelagia label pull --send-back` opens them again"
        )
    if report.too_fast and not report.sent_back:
        console.say(
            f"{len(report.too_fast)} labels were submitted faster than {min_seconds:g} s and are not counted: "
            "`pelagia label pull --send-back` opens their images again"
        )


def _doubtful_labels(report: PullReport) -> Iterator[str]:
    """A line for each label of a pull that was not counted, or not counted for the person who gave it first."""
    for path, votes in report.disputed:
        yield f"disputed, left out: {path} ({votes})"
    for path, person, label, seconds in report.too_fast:
        yield f"submitted after {seconds:.2f} s, not counted: {path} ({person}: {label})"
    for path, person, accepted, kept in report.overruled:
        yield f"accepted in bulk by {person} as {accepted}, but a person's own choice counts: {path} ({kept})"
    for path, maker, changer in report.replaced:
        yield f"labelled by {maker}, changed by {changer}, who is named as annotator: {path}"
    for sheet in report.refused:
        yield f"refused: sheet {sheet.task} ({sheet.heading}) {sheet.reason}"
