"""`pelagia studio` and `pelagia label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import NearDuplicates, Out, Seed, needs, show_dataset
from pelagia.system import console
from pelagia.system.checks import show_checks

Project = Annotated[str, typer.Option(help="Title of the Label Studio project.")]
Url = Annotated[str | None, typer.Option(help="Address of the server; by default LABEL_STUDIO_URL, then your own.")]


def studio_start(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port; the next free one from 8080 by default.")
    ] = None,
) -> None:
    """Start Label Studio in the background and print its address and login. A second start finds the first."""
    needs("labeling", "studio start")
    from pelagia_labeling.studio.server import start_studio

    with console.waiting("starting Label Studio (about half a minute)"):
        studio = start_studio(port=port)
    runs = "was running already" if studio.already_running else "runs"
    console.say(f"Label Studio {studio.version} {runs} at {studio.url}")
    console.say(f"  log in as  {studio.user}")
    console.say(f"  password   {studio.password}")
    console.say(f"  its data   {studio.home}")
    console.say("Stop it with `pelagia studio stop`; the labels stay.")


def studio_stop() -> None:
    """Stop the Label Studio that `studio start` started."""
    needs("labeling", "studio stop")
    from pelagia_labeling.studio.server import stop_studio

    console.say("Label Studio is stopped; its labels are kept" if stop_studio() else "Label Studio was not running")


def studio_doctor(url: Url = None) -> None:
    """Find what is wrong with a Label Studio and say how to mend it. Exits with 6 where something is."""
    needs("labeling", "studio doctor")
    from pelagia_labeling.doctor import examine

    if not show_checks(examine(url)):
        raise typer.Exit(6)


def label_push(
    src: Annotated[Path, typer.Argument(help="Folder of images, or a CSV manifest with a column path.")],
    project: Project,
    taxonomy: Annotated[Path, typer.Option(help="Taxonomy YAML: the classes to choose from.")],
    predictions: Annotated[Path | None, typer.Option(help="Survey whose predictions are shown as pre-labels.")] = None,
    url: Url = None,
) -> None:
    """Bring images into a Label Studio project. A second push adds nothing twice.

    The token is read from LABEL_STUDIO_API_KEY or from the private file of `pelagia studio start`.
    """
    needs("labeling", "label push")
    from pelagia.taxonomy import load_taxonomy
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.push import push

    classes = load_taxonomy(taxonomy)
    with console.decoder_messages_hidden(), console.progress_bar("pushing") as update:
        report = push(connect(url), src, project, classes, predictions=predictions, progress=update)
    for path, reason in report.bad:
        console.note(f"left out: {path}: {reason}")
    console.say(f"{report.added} images added, {report.present} were there already, {len(report.bad)} cannot be used")
    if predictions:
        console.say(f"{report.predictions_added} predictions attached")
    console.say(f"label them at {report.url}")


def label_submit(
    labels: Annotated[Path, typer.Argument(help="CSV with the columns path and class.")],
    project: Project,
    class_column: Annotated[str, typer.Option(help="Column of labels.")] = "class",
    url: Url = None,
) -> None:
    """Submit labels that were made elsewhere, as the account of the token. Tasks that have a label keep it."""
    needs("labeling", "label submit")
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.annotate import submit_csv

    with console.progress_bar("submitting") as update:
        report = submit_csv(connect(url), project, labels, class_column=class_column, progress=update)
    console.say(
        f"{report.submitted} labels submitted, {report.present} tasks had one, {report.unknown} paths are no task"
    )


def label_pull(
    project: Project,
    out: Out,
    group_column: Annotated[
        str | None, typer.Option(help="Column that a split must not cut; found by default.")
    ] = None,
    near_duplicates: NearDuplicates = True,
    seed: Seed = 0,
    url: Url = None,
) -> None:
    """Make a dataset of what people submitted; skipped, unsure and disputed images are left out and counted."""
    needs("labeling", "label pull")
    from pelagia_labeling.studio.connection import connect
    from pelagia_labeling.tasks.pull import pull

    with console.progress_bar("pulling") as update:
        report = pull(
            connect(url),
            project,
            out,
            group_column=group_column,
            seed=seed,
            join_near_duplicates=near_duplicates,
            progress=update,
        )
    for path, votes in report.disputed:
        console.note(f"disputed, left out: {path} ({votes})")
    show_dataset(report.dataset)
