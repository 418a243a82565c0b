"""How a crop is shown on a sheet: its size on the page, and its scale bar.

Invariant: the scale bar belongs to the size at which the crop is shown. It is in micrometers if the size of a pixel is
known, and otherwise in pixels.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from pelagia.errors import InputError
from pelagia.images.pixel_size import pixel_size_um
from pelagia_labeling.sheets.interface import mark_of
from pelagia_labeling.tasks.caption import with_prelabel
from pelagia_labeling.tasks.interface import CAPTION
from pelagia_labeling.tasks.prelabels import Prelabel
from pelagia_labeling.tasks.storage import StoredImage

BOX = (126, 104)
"""Width and height of the place of a crop, in pixels of the page."""

LONGEST_BAR = 60


def show_sheet(images: Sequence[StoredImage], suggested: Mapping[str, Prelabel], *, true_size: bool) -> list[str]:
    """The HTML of each crop of a sheet.

    Args:
        images: the crops.
        suggested: SHA-256 -> what the model says; a crop without an entry has no suggestion.
        true_size: whether all crops are shown at one scale. Otherwise each fills its place.

    Raises:
        InputError: with ``true_size``, the size of a pixel is known for some crops only.
    """
    units = [pixel_size_um(image.data) for image in images]
    if true_size and any(units) and not all(units):
        raise InputError(
            f"--true-size: the size of a pixel is known for {sum(map(bool, units))} of {len(units)} crops of a sheet; "
            "give each crop one in the column pixel_size_um, or push without --true-size"
        )
    zooms = [_fitting(image) for image in images]
    if true_size:
        per_unit = min(zoom / (unit or 1) for zoom, unit in zip(zooms, units, strict=True))
        zooms = [per_unit * (unit or 1) for unit in units]
    return [
        _html(image, zoom, unit, suggested.get(image.sha256))
        for image, zoom, unit in zip(images, zooms, units, strict=True)
    ]


def _fitting(image: StoredImage) -> float:
    """Pixels of the page per pixel of the image, so that the image fills its place."""
    return min(BOX[0] / max(image.width, 1), BOX[1] / max(image.height, 1))


def _html(image: StoredImage, zoom: float, unit: float, suggestion: Prelabel | None) -> str:
    width, height = (max(2, round(side * zoom)) for side in (image.width, image.height))
    bar, text = scale_bar(zoom, unit)
    about = f"{image.path}: {image.data.get(CAPTION, '')}"
    mark = ""
    if suggestion is not None:
        mark = f' class="{mark_of(suggestion.class_name)}"' if suggestion.accepted else ""
        about = with_prelabel(about, suggestion)
    return (
        f'<div{mark} title="{html.escape(about)}" style="height:{BOX[1] + 16}px;display:flex;flex-direction:column;'
        'align-items:center;justify-content:flex-end">'
        f'<img src="{html.escape(image.data["image"])}" style="width:{width}px;height:{height}px;object-fit:contain">'
        f'<div style="width:{bar}px;border-top:2px solid;margin-top:2px"></div>'
        f'<div style="font:10px/12px sans-serif">{text}</div></div>'
    )


def scale_bar(zoom: float, unit: float) -> tuple[int, str]:
    """The length of a scale bar in pixels of the page, and its text. Its length is 1, 2 or 5 times a power of ten.

    Args:
        zoom: pixels of the page per pixel of the image.
        unit: micrometers per pixel of the image; 0 if unknown.
    """
    longest = LONGEST_BAR / zoom * (unit or 1)
    power = 10.0 ** math.floor(math.log10(longest))
    length = next(step for step in (5 * power, 2 * power, power) if step <= longest)
    shown = max(1, round(length / (unit or 1) * zoom))
    if not unit:
        return shown, f"{length:g} px"
    return shown, f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
