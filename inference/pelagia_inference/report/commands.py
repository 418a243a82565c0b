"""`pelagia report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.options import needs
from pelagia.system import console
from pelagia_inference.counts.options import (
    By,
    Cells,
    CountAs,
    DepthBins,
    ExcludeFlags,
    Model,
    NoCorrection,
    count_options,
)

SurveyPath = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
ReportOut = Annotated[
    Path | None, typer.Option(help="The page to write; default: report.html in the survey. A former page is replaced.")
]
Thumbnails = Annotated[
    float, typer.Option(min=0, max=100, help="Largest size of all images in the page, in megabytes.")
]


def report(
    survey: SurveyPath,
    out: ReportOut = None,
    by: By = None,
    depth_bins: DepthBins = "",
    count_as: CountAs = "likeliest",
    exclude_flags: ExcludeFlags = "",
    cells: Cells = None,
    model: Model = None,
    no_correction: NoCorrection = False,
    thumbnails_mb: Thumbnails = 3.0,
) -> None:
    """Write a survey as one HTML page: counts, map, depths, sizes, scores, images, failures.

    \b
    pelagia report survey                            survey/report.html
    pelagia report survey --out may.html --by station
    pelagia report survey --by station --depth-bins 0,50,200 --exclude-flags blurred
    pelagia report survey --thumbnails-mb 0.5        a smaller page, for a mail from the ship

    The page needs no network and no other file. The options of `pelagia counts` give the same counts here. Run
    `pelagia check SURVEY` first: the page then shows which samples are fit for counting, and the sizes of the
    organisms.
    """
    needs("report", "report")
    from pelagia.survey.journal import Survey
    from pelagia_inference.report.report import REPORT_FILE, write_report

    options = count_options(by, depth_bins, count_as, exclude_flags, cells, model, no_correction)
    with Survey.open(survey) as opened, console.progress_bar("reading the survey") as update:
        made = write_report(
            opened,
            out or survey / REPORT_FILE,
            counting=options,
            most_bytes=round(thumbnails_mb * 1e6),
            progress=update,
        )
    console.say(f"{made.path}: {made.bytes / 1e6:.1f} MB, {made.pictures} images; open it in a browser")
