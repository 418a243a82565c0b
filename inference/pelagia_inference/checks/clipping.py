"""Whether an object is cut off by the edge of its crop.

Many programs crop so tightly that each object touches all four sides. An object that is whole is told apart from one
that is cut off by two signs:

- At its real end, an object fades into the background within the blur of the image. So only pixels with at least half
  of the usual contrast of the object count as touching the side (`Outline.core`).
- A whole object is tangent to the side: a little further in, it is much wider. An object that is cut off is about as
  wide at the side as a little further in.

`contact_of` gives, for the side where it is largest: the width with which the object touches the side, divided by its
largest width within a tenth of its size from the side. It is 0 if the object touches over less than `LEAST_TOUCH`
pixels.

Limits: an object with a flat, dark end that lies exactly along the side (a chain of square cells, parallel to the crop)
looks cut off. An object that is cut off at a narrow or faint end, such as a spine, does not.
"""

from __future__ import annotations

import numpy as np

from pelagia_inference.checks.outline import Mask, Outline

CLIPPED = 0.6
"""An object whose contact is at least this is taken as cut off."""
LEAST_TOUCH = 4
_PART, _DEPTH = 0.15, 0.1


def contact_of(outline: Outline) -> float:
    """How much an object looks cut off, 0..1; 0 if it touches no side, or only in a point."""
    return max(_at_top(np.rot90(outline.mask, turns), np.rot90(outline.core, turns)) for turns in range(4))


def _at_top(mask: Mask, core: Mask) -> float:
    """The contact with the side at the top (uint8, H x W)."""
    if not core[0].any():
        return 0.0
    rows, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    touching = _extent(core[0])
    if touching < max(LEAST_TOUCH, _PART * (across[-1] - across[0] + 1)):
        return 0.0
    depth = max(2, round(_DEPTH * (rows[-1] + 1)))
    widest = max(_extent(row) for row in core[: depth + 1])
    return min(1.0, touching / widest)


def _extent(row: Mask) -> int:
    """The distance from the first to the last pixel that is set, both counted; 0 if none is."""
    found = np.flatnonzero(row)
    return int(found[-1] - found[0]) + 1 if len(found) else 0
