"""`pelagia report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import needs
from pelagia.system import console

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
    from pelagia.survey.model_card import require_card
    from pelagia_inference.report.report import REPORT_FILE, write_report

    names = [name for part in by.split(",") if (name := part.strip())]
    with Survey.open(survey) as opened, console.progress_bar("reading the survey") as update:
        card = require_card(opened, model) if model else None
        made = write_report(
            opened,
            out or survey / REPORT_FILE,
            by=names,
            card=card,
            most_bytes=round(thumbnails_mb * 1e6),
            progress=update,
        )
    console.say(f"{made.path}: {made.bytes / 1e6:.1f} MB, {made.pictures} images; open it in a browser")
