"""The command `pelagia check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.errors import InputError
from pelagia.system import console

Expected = Annotated[
    Path | None,
    typer.Option(
        metavar="LIST.csv",
        help="Where and when taxa live: a table with the columns taxon, min_latitude, max_latitude, "
        "min_longitude, max_longitude, months. Classes outside are flagged.",
    ),
]
PixelSize = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=100_000.0,
        metavar="UM",
        help="Micrometers per pixel, for images whose input does not say it. The survey keeps it.",
    ),
]
ReplacePixelSize = Annotated[
    bool, typer.Option("--replace-pixel-size", help="Use --pixel-size instead of the size that the survey keeps.")
]


def check(
    survey: Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")],
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN[,COLUMN]",
            help="Columns of the input that name a sample; by default the first of sample, eventID, station, "
            "locationID that the survey has.",
        ),
    ] = "",
    expected: Expected = None,
    pixel_size: PixelSize = 0.0,
    replace_pixel_size: ReplacePixelSize = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Check whether images and samples of a survey are fit for counting. The same command resumes an interrupted check.

    \b
    pelagia check survey
    pelagia check survey --pixel-size 0.34               IFCB bins do not say their pixel size
    pelagia check survey --expected northsea.csv         also find classes that do not live there

    Each object is measured once: sharpness, outline, size, volume. Flags are written into the survey, checks.csv and
    check_samples.csv. Nothing is removed.
    """
    from pelagia.survey.additions import kept_pixel_size
    from pelagia.survey.journal import Survey
    from pelagia_inference.checks import show
    from pelagia_inference.checks.check import check_survey
    from pelagia_inference.checks.expected import read_expected

    regions = None if expected is None else read_expected(expected)
    names = [name.strip() for name in by.split(",") if name.strip()]
    if by and not names:
        raise InputError("--by: name a column, such as --by station")
    with (
        Survey.open(survey, to_add=True) as opened,
        console.decoder_messages_hidden(),
        console.progress_bar("measuring") as update,
    ):
        if not pixel_size and (kept := kept_pixel_size(opened)):
            console.note(f"images without a pixel size have {kept:g} micrometers, as an earlier --pixel-size said")
        checked = check_survey(opened, names, pixel_size, regions, update, replace_pixel_size=replace_pixel_size)
    if as_json:
        console.say(show.as_json(checked))
    else:
        show.show(checked)
    for text in checked.warnings:
        console.note(f"warning: {text}")
