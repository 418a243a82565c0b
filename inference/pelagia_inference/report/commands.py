"""`pelagia report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError
from pelagia.options import needs
from pelagia.system import console

if TYPE_CHECKING:
    from pelagia.model.card import ModelCard

SurveyPath = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
ReportOut = Annotated[
    Path | None, typer.Option(help="The page to write; default: report.html in the survey. A former page is replaced.")
]
By = Annotated[
    str,
    typer.Option(
        metavar="COLUMN,...",
        help="Columns of the input that name the samples. Default: the first of sample, eventID, station and "
        "locationID that there is.",
    ),
]
Model = Annotated[
    Path | None, typer.Option(metavar="MODEL.onnx", help="The model of the survey, if the survey does not keep it.")
]
Thumbnails = Annotated[
    float, typer.Option(min=0, max=100, help="Largest size of all images in the page, in megabytes.")
]


def report(
    survey: SurveyPath,
    out: ReportOut = None,
    by: By = "",
    model: Model = None,
    thumbnails_mb: Thumbnails = 3.0,
) -> None:
    """Write a survey as one HTML page: counts, map, depths, sizes, scores, images, failures.

    \b
    pelagia report survey                            survey/report.html
    pelagia report survey --out may.html --by station
    pelagia report survey --thumbnails-mb 0.5        a smaller page, for a mail from the ship

    The page needs no network and no other file. Run `pelagia check SURVEY` first: the page then shows which samples
    are fit for counting, and the sizes of the organisms.
    """
    needs("report", "report")
    from pelagia.survey.journal import Survey
    from pelagia_inference.report.report import REPORT_FILE, write_report

    names = [name for part in by.split(",") if (name := part.strip())]
    with Survey.open(survey) as opened, console.progress_bar("reading the survey") as update:
        card = _card(model, opened.meta.get("model_sha256", "")) if model else None
        made = write_report(
            opened,
            out or survey / REPORT_FILE,
            by=names,
            card=card,
            most_bytes=round(thumbnails_mb * 1e6),
            progress=update,
        )
    console.say(f"{made.path}: {made.bytes / 1e6:.1f} MB, {made.pictures} images; open it in a browser")


def _card(model: Path, sha256: str) -> ModelCard:
    """The card of a model file. Raises InputError if the survey was made with another model."""
    from pelagia.model.card import card_of
    from pelagia.model.metadata import ModelFile

    file = ModelFile.read(model)
    if sha256 and file.sha256 != sha256:
        raise InputError(
            f"--model: {model} is not the model of this survey: its SHA-256 begins with {file.sha256[:12]}, and that "
            f"of the survey's model with {sha256[:12]}"
        )
    return card_of(file.metadata)
