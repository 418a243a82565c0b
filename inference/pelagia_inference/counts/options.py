"""The options of counting, which `pelagia counts`, `report` and `survey export` share.

Invariant: the same options give the same counts in all three, because all count with `CountOptions.count`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pelagia.errors import InputError
from pelagia.tables.values import number

if TYPE_CHECKING:
    from pelagia.model.card import ModelCard
    from pelagia.survey.journal import Survey
    from pelagia_inference.counts.counts import Counts
    from pelagia_inference.counts.samples import Grouping

By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="COLUMN,...",
        help="Columns of the input that name the samples; depth stands for the columns of depth. Default: the first of "
        "sample, eventID, station and locationID that there is.",
    ),
]
DepthBins = Annotated[
    str, typer.Option("--depth-bins", metavar="METERS,...", help="Put samples together by depth: 0,50,100,200.")
]
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
    str,
    typer.Option("--exclude-flags", metavar="FLAG,...", help="Leave out images with these flags of `pelagia check`."),
]
Cells = Annotated[
    Path | None,
    typer.Option("--cells", help="Table with the cells of an image: class,cells,sd,images or path,cells."),
]
Model = Annotated[
    Path | None,
    typer.Option("--model", metavar="MODEL.onnx", help="The model of the survey, if the survey keeps no card of it."),
]
NoCorrection = Annotated[bool, typer.Option("--no-correction", help="Do not correct for the errors of the model.")]


@dataclass(frozen=True)
class CountOptions:
    """What a user chooses about counts. The fields are those of `count_survey`.

    Attributes:
        by: the columns that name the samples; empty: the default of `count_survey`.
        depth_bins: ends of depth intervals in meters.
        count_as: ``likeliest`` or ``accepted``.
        exclude_flags: flags of images that are left out.
        cells: the table of cells; None: there is none.
        model: the file of the model; None: the survey's own card of it.
        correct: correct for the errors of the model.
    """

    by: tuple[str, ...] = ()
    depth_bins: tuple[float, ...] = ()
    count_as: str = "likeliest"
    exclude_flags: tuple[str, ...] = ()
    cells: Path | None = None
    model: Path | None = None
    correct: bool = True

    def count(self, survey: Survey, progress: Callable[[int, int], None] | None = None) -> Counts:
        """The counts of a survey. Raises InputError and SurveyError as `count_survey`, `read_cells`, `require_card`."""
        from pelagia_inference.counts.cells import read_cells
        from pelagia_inference.counts.counts import count_survey

        return count_survey(
            survey,
            self.by,
            depth_bins=self.depth_bins,
            count_as=self.count_as,
            exclude_flags=self.exclude_flags,
            cells=read_cells(self.cells) if self.cells else None,
            card=self.card(survey),
            correct=self.correct,
            progress=progress,
        )

    def card(self, survey: Survey) -> ModelCard | None:
        """The card of the model that was named, else that of the survey; None if it keeps none."""
        from pelagia.survey.model_card import card_of_survey, require_card

        return require_card(survey, self.model) if self.model else card_of_survey(survey)

    def grouping(self, survey: Survey) -> Grouping:
        """How the images are put into samples, the same as in the counts."""
        from pelagia_inference.counts.samples import grouping

        return grouping(survey.columns().own, self.by, self.depth_bins)

    def chosen(self) -> dict[str, Any]:
        """Option -> value, of those of counting that differ from the default; of a file only its name."""
        found: dict[str, Any] = {}
        for one in fields(CountOptions):
            value = getattr(self, one.name)
            if value != one.default:
                found[OPTIONS[one.name]] = value.name if isinstance(value, Path) else value
        return found


OPTIONS = {
    "by": "--by",
    "depth_bins": "--depth-bins",
    "count_as": "--count",
    "exclude_flags": "--exclude-flags",
    "cells": "--cells",
    "model": "--model",
    "correct": "--no-correction",
}
"""Field of `CountOptions` -> the option that sets it."""


def count_options(
    by: Sequence[str] | None,
    depth_bins: str,
    count_as: str,
    exclude_flags: str,
    cells: Path | None,
    model: Path | None,
    no_correction: bool,
) -> CountOptions:
    """The options from the values on the command line. Raises InputError if one cannot be read."""
    columns = _names(",".join(by or ()))
    return CountOptions(
        columns, _depths(depth_bins), count_as, _names(exclude_flags), cells, model, correct=not no_correction
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _depths(text: str) -> tuple[float, ...]:
    values = [number(part) for part in _names(text)]
    if None in values:
        raise InputError(f"--depth-bins: '{text}' is not a list of depths in meters, such as 0,50,100,200")
    return tuple(value for value in values if value is not None)
