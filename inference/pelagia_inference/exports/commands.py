"""`pelagia survey export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pelagia.errors import InputError
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
    from pelagia_inference.exports.exporting import ExportOptions

SurveyFolder = Annotated[Path, typer.Argument(metavar="SURVEY", help="A folder that `pelagia classify` made.")]
Again = Annotated[
    list[str] | None,
    typer.Option("--format", metavar="csv|parquet", help="Write predictions.csv or predictions.parquet again."),
]
To = Annotated[
    list[str] | None, typer.Option("--to", metavar="NAME[,NAME]", help="Export in the formats listed above.")
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The folder to make; with several formats, the folder for their folders. Default: SURVEY/exports/NAME.",
    ),
]
Told = Annotated[
    Path | None,
    typer.Option(
        "--metadata", help="A YAML file with what the survey cannot know, such as the names of the investigators."
    ),
]
MediaUrl = Annotated[
    str,
    typer.Option("--media-url", metavar="URL", help="Address below which the images are on the web or on a server."),
]
People = Annotated[bool, typer.Option("--people", help="Export the names of the people who confirmed labels.")]
OtherTaxonomy = Annotated[
    Path | None, typer.Option("--taxonomy", help="dwc: a taxonomy file to use instead of that of the model.")
]
Absences = Annotated[
    bool, typer.Option("--absences", help="dwc: also write the taxa of which a sample has no image, as absent.")
]
Incomplete = Annotated[
    bool, typer.Option("--incomplete", help="dwc: write the archive although something required is missing.")
]


def survey_export(
    survey: SurveyFolder,
    formats: Again = None,
    to: To = None,
    out: Folder = None,
    by: By = None,
    depth_bins: DepthBins = "",
    count_as: CountAs = "likeliest",
    exclude_flags: ExcludeFlags = "",
    cells: Cells = None,
    model: Model = None,
    no_correction: NoCorrection = False,
    metadata: Told = None,
    media_url: MediaUrl = "",
    people: People = False,
    taxonomy: OtherTaxonomy = None,
    absences: Absences = False,
    incomplete: Incomplete = False,
) -> None:
    """Write a survey's results again, or in another format. Needs neither the network nor the model.

    \b
    pelagia survey export survey --format parquet
    pelagia survey export survey --to csv,geojson
    pelagia survey export survey --to ecotaxa --out for_ecotaxa
    pelagia survey export survey --to seabass --metadata seabass.yaml
    pelagia survey export survey --to dwc --metadata dataset.yaml --absences
    pelagia survey export survey --to dwc --metadata dataset.yaml --by station --depth-bins 0,50,200 --cells cells.csv

    The options of `pelagia counts` give the same counts here. A format that does not use one of them says so.

    \b
    Formats of --to:
    csv             tables of counts, samples and images as CSV
    xlsx            the same tables as sheets of an Excel workbook
    parquet         the same tables as Parquet
    geojson         a map layer: one point for each sample, with its counts
    ecotaxa         zips of images and tables that EcoTaxa imports as new objects
    ecotaxa-update  a table that updates the objects which came from EcoTaxa
    ifcb            class scores of each IFCB bin, version 3 (.h5)
    ifcb-csv        class scores of each IFCB bin as CSV
    seabass         SeaBASS files of plankton imagery, one for each sample
    camtrap-dp      a Camtrap DP package, for fish and other animals on cameras
    dwc             a Darwin Core Archive for OBIS and GBIF
    datapackage     a Frictionless data package of the whole survey
    label-studio    tasks with predictions, which Label Studio imports
    """
    if formats and to:
        raise InputError("--format writes predictions.csv again and --to exports in other formats: give one of the two")
    if not to:
        _write_again(survey, formats or ["csv"])
        return
    from pelagia_inference.exports.exporting import ExportOptions

    counting = count_options(by, depth_bins, count_as, exclude_flags, cells, model, no_correction)
    chosen: dict[str, Any] = {"taxonomy": taxonomy, "absences": absences, "incomplete": incomplete}
    chosen |= {"metadata": metadata, "people": people, "media_url": media_url}
    _export(survey, to, out, ExportOptions(**vars(counting), **chosen))


def _export(survey: Path, to: list[str], out: Path | None, options: ExportOptions) -> None:
    """Writes a folder for each format, and prints what was left out."""
    from pelagia.survey.journal import Survey
    from pelagia_inference.exports.export import export_survey, folders_of, formats_to_export

    with Survey.open(survey) as opened:
        for name, folder in folders_of(survey, formats_to_export(to), out).items():
            with console.progress_bar(name) as update:
                done = export_survey(opened, folder, name, options, update)
            console.say(f"{name}: {done.out}")
            for text in done.notes:
                console.note(f"{name}: {text}")
            for reason, count in done.left_out.items():
                console.note(f"{name}: left out: {count} {reason}")


def _write_again(survey: Path, formats: list[str]) -> None:
    """Writes ``predictions.csv`` or ``predictions.parquet``."""
    from pelagia.survey.journal import Survey
    from pelagia_inference.exports.results import formats_of, formats_to_write, held_open, write_results

    wanted = formats_to_write(survey, formats_of(formats))
    with Survey.open(survey) as opened:
        files = write_results(opened, wanted)
        console.say(f"{len(opened)} images: {', '.join(map(str, files.values()))}")
    for text in held_open(files):
        console.note(f"warning: {text}")
