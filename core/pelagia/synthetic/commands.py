"""`pelagia simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pelagia.system import console


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make; must not exist yet.")],
    images: Annotated[int, typer.Option(min=1, help="How many images to draw.")] = 1800,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another cruise, with stations of its own.")] = 0,
) -> None:
    """Draw a small survey of synthetic organisms to try things on.

    \b
    OUT/images/         the crops, a folder a station
    OUT/manifest.csv    station, position, depth, time, volume of each
    OUT/truth.csv       the same and what each one is
    OUT/taxonomy.yaml   its classes
    """
    from pelagia.synthetic.survey import simulate_survey

    with console.progress_bar("drawing") as update:
        survey = simulate_survey(out, images=images, seed=seed, progress=lambda done: update(done, images))
    console.counts_table(survey.counts, ("class", "images"))
    console.say(f"{survey.images} images of {survey.stations} stations in {survey.root}")
