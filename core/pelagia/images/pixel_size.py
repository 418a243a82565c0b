"""The size of a pixel. Only this module reads it, for training and in the field.

Invariant: an unknown size is 0. A model that uses sizes replaces 0 by the middle of the sizes of its training images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pelagia.tables.values import number

PIXEL_SIZE_COLUMNS = {"pixel_size_um": 1.0, "pixel_size_mm": 1000.0}
"""Column of a manifest or an EcoTaxa export -> micrometers per unit. The first column with a number above 0 is used."""


def pixel_size_um(columns: Mapping[str, str]) -> float:
    """The length of a pixel's side in micrometers, from the columns of an image; 0.0 if it is unknown."""
    for name, unit in PIXEL_SIZE_COLUMNS.items():
        value = (number(columns.get(name, "")) or 0.0) * unit
        if 0 < value < math.inf:
            return value
    return 0.0
