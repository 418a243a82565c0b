"""`pelagia label agreement`, `label repeats` and `label adjudicate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pelagia.options import needs
from pelagia.system import console
from pelagia_labeling.commands import ProjectTitle, Url

if TYPE_CHECKING:
    from pelagia_labeling.agreement.measure import Agreement


def label_agreement(
    project: Annotated[str | None, typer.Option("--project", help="Title of the Label Studio project.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Instead of a project: a table with the columns item, annotator and class.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column of the sample or station; in a project it is found by default.")
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="Taxonomy for the weighted alpha; by default that of the project.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this JSON file.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a page for the browser to this file.")] = None,
    url: Url = None,
) -> None:
    """Measure how far people agree, with each other and with themselves.

    The figures are given for all classes together, for each class, and for each two people, with 95% intervals.

    Example: pelagia label agreement --project "North Sea 2024" --html agreement.html
    """
    needs("labeling", "label agreement")
    from pelagia.errors import InputError
    from pelagia.system.files import refuse_existing_file, write_text
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.agreement.report import as_json, html
    from pelagia_labeling.people.read import project_agreement, table_agreement
    from pelagia_labeling.studio.connection import connect

    if (project is None) == (table is None):
        raise InputError("name either a project with --project or a table with --table")
    for file, example in ((json_file, "agreement.json"), (html_file, "agreement.html")):
        if file is not None:
            refuse_existing_file(file, "file", example)
    taxa = load_taxonomy(taxonomy) if taxonomy else None
    if table is not None:
        found = table_agreement(table, group_column=group_column or "", taxonomy=taxa)
    else:
        with console.progress_bar("reading") as update:
            found = project_agreement(
                connect(url), str(project), group_column=group_column, taxonomy=taxa, progress=update
            )
    _show(found)
    if json_file is not None:
        write_text(json_file, json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
    if html_file is not None:
        write_text(html_file, html(found, f"Agreement of the people of {project or (table and table.name)}"))
        console.say(f"open {html_file} in a browser")


def _show(found: Agreement) -> None:
    from pelagia_labeling.agreement import report

    for line in report.text_lines(found):
        console.say(line)
    for header, rows in (
        (report.class_header(found)[:4], [row[:4] for row in report.class_rows(found)]),  # Fleiss' kappa: JSON, HTML
        (report.PAIR_HEADER, report.pair_rows(found)),
        (report.CONFUSION_HEADER, report.confusion_rows(found)),
        (report.REPEAT_HEADER, report.repeat_rows(found)),
    ):
        if rows:
            console.say()
            console.table(header, rows)
    for note in found.notes:
        console.note(f"note: {note}")


def label_repeats(
    project: ProjectTitle,
    share: Annotated[str, typer.Option(help="Share of the labeled images that people see again, such as 5%.")] = "5%",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of the images.")] = 0,
    url: Url = None,
) -> None:
    """Show some labeled images again, unnoticed, to measure how far people agree with themselves.

    Wait until people have forgotten the images, such as a week. A second call adds only what is missing.
    `pelagia label agreement` shows the result; `label pull` makes no image of a repeat.

    Example: pelagia label repeats --project "North Sea 2024" --share 5%
    """
    needs("labeling", "label repeats")
    from pelagia_labeling.people.plant import parse_share, plant_repeats
    from pelagia_labeling.studio.connection import connect

    wanted = parse_share(share)
    with console.progress_bar("reading") as update:
        planted = plant_repeats(connect(url), project, wanted, seed=seed, progress=update)
    console.say(
        f"{planted.labeled} labeled images; {planted.added} repeats added, {planted.present} were there already"
    )
    console.say(f"label them at {planted.url}")


def label_adjudicate(
    project: ProjectTitle,
    to: Annotated[str, typer.Option(help="Title of the project in which one person decides; it is made if needed.")],
    min_agreement: Annotated[
        float, typer.Option(min=0, max=1, help="Images with a smaller share of votes for one class are sent, too.")
    ] = 0.0,
    consensus: Annotated[
        Literal["majority", "dawid-skene"], typer.Option(help="How votes become a label, as in `label pull`.")
    ] = "majority",
    url: Url = None,
) -> None:
    """Send the images that people disagree on to a project where one person decides.

    The page shows who said what. A second call adds only what is missing. Then `label pull --adjudicated` takes the
    decisions as labels.

    Example: pelagia label adjudicate --project "North Sea 2024" --to "North Sea 2024, disputed"
    """
    needs("labeling", "label adjudicate")
    from pelagia_labeling.people.adjudicate import send_disputes
    from pelagia_labeling.studio.connection import connect

    with console.progress_bar("reading") as update:
        sent = send_disputes(
            connect(url),
            project,
            to,
            min_agreement=min_agreement,
            weighed=consensus == "dawid-skene",
            progress=update,
        )
    console.say(f"{sent.disputed} images are disputed; {sent.added} added to '{to}', {sent.present} were there already")
    console.say(f"decide them at {sent.url}")
    console.say_next("pelagia", "label", "pull", "--project", project, "--adjudicated", to, "--out", "DATASET")
