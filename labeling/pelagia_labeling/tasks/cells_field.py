"""The field for the number of cells on the labeling page, which only a project of `label push --count-cells` has.

Invariant: an empty field means that nobody counted. Label Studio 1.23 stores nothing of a field that was never filled,
and 0 of a field whose number was removed, so 0 is never a count.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from pelagia.dataset.label_columns import MOST_CELLS
from pelagia.label_studio import TO_IMAGE

FROM_CELLS = "cells"
"""Name of the field."""
_HOTKEY = "."
"""Each press adds one cell. No class can have this key, and pressing it leaves the cursor out of the field."""

_TEXT = f"Cells [{_HOTKEY}]: press the key once for each cell, or type the number. Leave it empty if not counted."
CELLS_STYLE = """
.pelagia-cells { margin: 12px 0; padding: 4px 8px; border-left: 8px solid #adb5bd; }
.pelagia-cells h4 { margin: 0 0 4px 0 !important; font-size: 14px; line-height: 1.3; font-weight: 500; }
"""


def add_cells_field(parent: ET.Element) -> None:
    """Adds the field, with a line of text above it."""
    box = ET.SubElement(parent, "View", {"className": "pelagia-cells"})
    ET.SubElement(box, "Header", {"value": _TEXT, "size": "6"})
    limits = {"min": "0", "max": str(MOST_CELLS), "step": "1", "hotkey": _HOTKEY}  # the first press gives min + 1
    ET.SubElement(box, "Number", {"name": FROM_CELLS, "toName": TO_IMAGE, **limits})


def has_cells(root: ET.Element) -> bool:
    """Whether a labeling configuration has the field."""
    return any(node.get("name") == FROM_CELLS for node in root.iter("Number"))


def read_cells(result: Any) -> float | None:
    """The number in the field, from an annotation's ``result``, as it was typed; None if the field is empty."""
    for one in result if isinstance(result, list) else ():
        if isinstance(one, dict) and one.get("from_name") == FROM_CELLS:
            number = (one.get("value") or {}).get("number")
            if isinstance(number, int | float) and not isinstance(number, bool):
                return float(number)
    return None


def is_count(cells: float) -> bool:
    """Whether a number can be one of cells that a person counted on an image."""
    return float(cells).is_integer() and 1 <= cells <= MOST_CELLS


def cells_result(cells: float) -> dict[str, Any]:
    """The part of an annotation's ``result`` that holds a number of cells."""
    return {"from_name": FROM_CELLS, "to_name": TO_IMAGE, "type": "number", "value": {"number": cells}}
