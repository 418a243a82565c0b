"""The line of text above an image on the labeling page: its size, its station, and what the model says of it."""

from __future__ import annotations

from collections.abc import Mapping

from pelagia.images.pixel_size import pixel_size_um
from pelagia.tables.values import is_missing
from pelagia_labeling.tasks.prelabels import Prelabel

PLACE_COLUMNS = ("station", "sample", "group", "track")
"""The first of these columns that an image has a value for is shown."""

MODEL_SAYS = "model_says"
"""Column with what a model says of an image (`pelagia label review`); it is shown as it is."""

SEPARATOR = " \u00b7 "


def caption_of(sides: tuple[int, int], columns: Mapping[str, str]) -> str:
    """What is known of an image without a model: ``34 x 28 px, 105 x 87 \u00b5m, station ST1``.

    Args:
        sides: height and width in pixels.
        columns: the columns of the input for this image.
    """
    height, width = sides
    parts = [f"{width} x {height} px"]
    if pixel := pixel_size_um(columns):
        parts.append(f"{width * pixel:.3g} x {height * pixel:.3g} \u00b5m")
    place = next((name for name in PLACE_COLUMNS if columns.get(name, "").strip()), None)
    if place and not is_missing(columns[place]):
        parts.append(f"{place} {columns[place].strip()}")
    if says := columns.get(MODEL_SAYS, "").strip():
        parts.append(says)
    return SEPARATOR.join(parts)


def with_prelabel(caption: str, prelabel: Prelabel) -> str:
    """The line with the class that the model finds likeliest, its probability, and whether the model accepts it."""
    guess = f"{prelabel.class_name} {prelabel.probability:.2f}"
    return f"{caption}{SEPARATOR}model: {guess if prelabel.accepted else f'not sure ({guess})'}"
