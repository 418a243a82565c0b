"""How large a pixel is: the only reading of it, for training and in the field alike.

Invariant: what is unknown is 0. A model that is told sizes takes 0 for the middle of what it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

PIXEL_SIZE_COLUMNS = {"pixel_size_um": 1.0, "pixel_size_mm": 1000.0}
"""Column of a manifest or an EcoTaxa export -> micrometres in its unit. The first that holds a number counts."""


def pixel_size_um(columns: Mapping[str, str]) -> float:
    """Micrometres along the side of a pixel, by what a survey says of an image; 0.0 where it says nothing usable."""
    for name, unit in PIXEL_SIZE_COLUMNS.items():
        try:
            value = float(columns.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            return value
    return 0.0
