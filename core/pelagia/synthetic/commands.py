"""`pelagia simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.system import console


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make. It must not exist yet.")],
    images: Annotated[int, typer.Option(min=1, help="How many images to draw.")] = 1800,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another cruise, with other stations.")] = 0,
    stations: Annotated[int, typer.Option(min=1, max=200, help="At how many stations.")] = 16,
) -> None:
    """Draw a small survey of synthetic organisms for first tests.

    \b
    OUT/images/         the images, one folder for each station
    OUT/manifest.csv    station, position, depth, time and volume of each image
    OUT/truth.csv       the same, with the class of each image
    OUT/taxonomy.yaml   the classes

    \b
    Example, with enough stations to train a model whose counts are corrected:
    pelagia simulate survey --images 2400 --stations 64
    """
    from pelagia.synthetic.survey import simulate_survey

    with console.progress_bar("drawing") as update:
        survey = simulate_survey(
            out, images=images, seed=seed, stations=stations, progress=lambda done: update(done, images)
        )
    console.counts_table(survey.counts, ("class", "images"))
    console.say(f"{survey.images} images of {survey.stations} stations in {survey.root}")
