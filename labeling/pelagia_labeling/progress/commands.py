"""The commands `pelagia label status` and `pelagia label review`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import needs
from pelagia.system import console
from pelagia_labeling.commands import ProjectTitle, Url


def label_status(
    project: ProjectTitle,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="File of `pelagia embed`, or a survey folder that holds one: adds the learning curve."),
    ] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="Draw the curve of this dataset's labels, instead of the project's.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column whose values are held out together; found by default.")
    ] = None,
    more: Annotated[int, typer.Option(min=1, help="Number of additional labels to look ahead.")] = 500,
    by_time: Annotated[
        bool, typer.Option("--by-time", help="Take the labels in the order in which they were made, not at random.")
    ] = False,
    new_groups: Annotated[
        bool, typer.Option("--new-groups", help="The next labels are of groups (stations) that have none yet.")
    ] = False,
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write everything as JSON.")] = None,
    url: Url = None,
) -> None:
    """Count the labels of a project, and estimate what more labels would give.

    \b
    pelagia label status --project "North Sea"
    pelagia label status --project "North Sea" --embeddings embeddings.parquet --more 1000

    Use embeddings of a network that was not trained on these labels; otherwise the curve is too high and too flat.
    """
    needs("labeling", "label status")
    from pelagia.system.files import refuse_existing_file, write_text
    from pelagia_labeling.progress.shown import show_status
    from pelagia_labeling.progress.status import status_of
    from pelagia_labeling.studio.connection import connect

    if json_:
        refuse_existing_file(json_, "file", "status.json")
    with console.progress_bar("reading the labels") as reading, console.progress_bar("learning curve") as fitting:
        found = status_of(
            connect(url),
            project,
            embeddings=embeddings,
            dataset=dataset,
            group_column=group_column,
            by_time=by_time,
            new_groups=new_groups,
            more=more,
            progress=reading,
            fitting=fitting,
        )
    show_status(found)
    if json_:
        write_text(json_, json.dumps(found.as_json(), indent=2, ensure_ascii=False) + "\n")
        console.say(f"written: {json_}")


def label_review(
    survey: Annotated[Path, typer.Argument(metavar="SURVEY", help="A survey folder that `pelagia classify` made.")],
    project: ProjectTitle,
    taxonomy: Annotated[Path, typer.Option(help="Taxonomy YAML: the classes to choose from.")],
    reasons: Annotated[
        str, typer.Option(metavar="LIST", help="Which decisions to send, separated by commas.")
    ] = "abstained,rolled-up,unknown",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Send at most this many images, a random part; a larger number adds more.")
    ] = None,
    url: Url = None,
) -> None:
    """Send the images of a survey that the model did not accept to Label Studio.

    \b
    pelagia label review surveys/may --project "May, doubtful" --taxonomy taxonomy.yaml
    pelagia label review surveys/may --project "May, unknown" --taxonomy taxonomy.yaml --reasons unknown --limit 200

    The page shows the three likeliest classes and their probabilities. None is selected. A second call adds nothing
    twice.
    """
    needs("labeling", "label review")
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.progress.review import parse_reasons, review
    from pelagia_labeling.studio.connection import connect

    chosen, classes = parse_reasons(reasons), load_taxonomy(taxonomy)
    with console.decoder_messages_hidden(), console.progress_bar("sending") as update:
        report = review(connect(url), survey, project, classes, reasons=chosen, limit=limit, progress=update)
    for path, reason in report.unusable:
        console.note(f"left out: {path}: {reason}")
    for path, reason in report.push.bad:
        console.note(f"left out: {path}: {reason}")
    for text in report.warnings:
        console.note(f"warning: {text}")
    counts = ", ".join(
        f"{report.chosen.get(reason, 0)} of {report.found.get(reason, 0)} {reason.replace('_', ' ')}"
        for reason in chosen
    )
    console.say(f"chosen: {counts}")
    console.say(
        f"{report.push.added} images added, {report.push.present} were there already, "
        f"{len(report.unusable) + len(report.push.bad)} cannot be used"
    )
    console.say(f"label them at {report.push.url}")
    console.say_next("pelagia", "label", "pull", "--project", project, "--out", "DATASET")
