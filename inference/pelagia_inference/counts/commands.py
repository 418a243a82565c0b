"""`pelagia counts`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import InputError
from pelagia.system import console
from pelagia.tables.values import number

if TYPE_CHECKING:
    from pelagia_inference.counts.counts import Counts

SurveyPath = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
By = Annotated[
    str,
    typer.Option(
        metavar="COLUMN,...",
        help="Columns of the input that name the samples; depth stands for the columns of depth. Default: the first of "
        "sample, eventID, station and locationID that there is.",
    ),
]
DepthBins = Annotated[str, typer.Option(metavar="METERS,...", help="Put samples together by depth: 0,50,100,200.")]
CountsOut = Annotated[Path | None, typer.Option(help="Write the table to this file: .csv, .xlsx or .parquet.")]
CountAs = Annotated[
    str,
    typer.Option(
        "--count",
        metavar="likeliest|accepted",
        help="likeliest: every image counts as its likeliest class, whatever the verdict of the model. accepted: only "
        "what the model accepted counts, the other images count apart, and nothing is corrected.",
    ),
]
ExcludeFlags = Annotated[
    str, typer.Option(metavar="FLAG,...", help="Leave out images with these flags of `pelagia check`.")
]
Cells = Annotated[
    Path | None,
    typer.Option(help="Table with the cells of an image: class,cells,sd,images or path,cells."),
]
Model = Annotated[Path | None, typer.Option(help="The model of the survey, if the survey does not keep its taxonomy.")]
NoCorrection = Annotated[bool, typer.Option("--no-correction", help="Do not correct for the errors of the model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def counts(
    survey: SurveyPath,
    by: By = "",
    depth_bins: DepthBins = "",
    out: CountsOut = None,
    count_as: CountAs = "likeliest",
    exclude_flags: ExcludeFlags = "",
    cells: Cells = None,
    model: Model = None,
    no_correction: NoCorrection = False,
    as_json: AsJson = False,
) -> None:
    """Count organisms by sample, class and taxon, with intervals, per liter where the volume is known.

    \b
    pelagia counts survey --out counts.csv                  one row for each sample and class or taxon
    pelagia counts survey --by station,depth                other samples; their volumes are added up
    pelagia counts survey --by station --depth-bins 0,50,200
    pelagia counts survey --cells cells.csv                 also cells: chains become cells per liter
    """
    from pelagia.survey.journal import Survey
    from pelagia.survey.model_card import require_card
    from pelagia_inference.counts.cells import read_cells
    from pelagia_inference.counts.counts import count_survey
    from pelagia_inference.counts.table import require_writable, write_counts

    if out is not None:
        require_writable(out)
    table = read_cells(cells) if cells else None
    with Survey.open(survey) as opened, console.progress_bar("counting") as update:
        result = count_survey(
            opened,
            _names(by),
            depth_bins=_depths(depth_bins),
            count_as=count_as,
            exclude_flags=_names(exclude_flags),
            cells=table,
            card=require_card(opened, model) if model else None,
            correct=not no_correction,
            progress=update,
        )
    if out is not None:
        write_counts(result, out)
    _show(result, as_json, out)


def _show(result: Counts, as_json: bool, out: Path | None) -> None:
    from pelagia_inference.counts import table

    if as_json:
        console.say(json.dumps(table.as_json(result), ensure_ascii=False, allow_nan=False))
        return
    console.table(*table.summary(result))
    for text in table.about(result):
        console.say(text)
    for text in result.warnings:
        console.note(f"warning: {text}")
    if out is not None:
        console.say(f"{len(result.counts)} rows in {out}")
    else:
        console.say("for each sample, class and taxon: add --out counts.csv")


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _depths(text: str) -> list[float]:
    values = [number(part) for part in _names(text)]
    if None in values:
        raise InputError(f"--depth-bins: '{text}' is not a list of depths in meters, such as 0,50,100,200")
    return [value for value in values if value is not None]
