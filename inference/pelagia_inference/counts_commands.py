"""`pelagia counts`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from pelagia_inference.counts.counts import Counts

SurveyPath = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
CountsOut = Annotated[Path | None, typer.Option(help="Write the table to this file: .csv, .xlsx or .parquet.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def counts(
    survey: SurveyPath,
    by: By = None,
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
    from pelagia_inference.counts.table import require_writable, write_counts

    if out is not None:
        require_writable(out)
    options = count_options(by, depth_bins, count_as, exclude_flags, cells, model, no_correction)
    with Survey.open(survey) as opened, console.progress_bar("counting images, then samples") as update:
        result = options.count(opened, update)
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
