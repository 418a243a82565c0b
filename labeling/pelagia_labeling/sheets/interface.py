"""The labeling page of a sheet: many crops, each with a list of classes. This module makes it.

Invariant: no key changes a class. Label Studio gives a key to each choice that has none, and one key would change many
crops at once; so each choice has a key that no keyboard has. Label Studio refuses a sheet with an empty crop, because
each list of classes is required.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections import Counter

from pelagia.taxonomy import Taxonomy
from pelagia_labeling.tasks.interface import SHEET_CLASS, SHEET_CROP, SHEET_UNSURE
from pelagia_labeling.tasks.sheet_crops import CROPS, HEADING, INDEX, SHOWN

_NO_KEY = "f24"

_STYLE = """
.pelagia-grid { display: flex; flex-wrap: wrap; gap: 6px; align-items: flex-end; }
.pelagia-grid div[id=""][class=""] { display: contents; }
.pelagia-grid .pelagia-crop { width: 132px; padding: 2px; border-radius: 4px; }
.pelagia-crop .lsf-choices { margin: 0; }
.pelagia-crop button { width: 100%; min-width: 0; height: 24px; padding: 0 4px; font-size: 12px; }
.pelagia-grid .pelagia-crop:has(button[data-value=""]) { background: #e8706f !important; }
.lsf-sidepanels__wrapper { display: none; }
.lsf-sidepanels { padding-left: 0 !important; padding-right: 0 !important; }
[data-testid="select-popup"] [data-slot="command-item"] { padding: 0; font-size: 13px; }
[data-testid="select-popup"] [data-slot="command-item"] div { padding-top: 1px; padding-bottom: 1px; }
[data-testid="select-popup"] [data-slot="command-list"] { max-height: 62vh; }
"""


def build_sheet_interface(taxonomy: Taxonomy) -> str:
    """Label Studio's labeling configuration (XML) for sheets of crops."""
    page = ET.Element("View", {"className": "pelagia-sheet"})
    titles = class_titles(taxonomy)
    ET.SubElement(page, "Style").text = _STYLE + "".join(_changed_rule(*entry) for entry in titles.items())
    ET.SubElement(page, "Header", {"value": f"${HEADING}", "size": "5"})
    grid = ET.SubElement(page, "View", {"className": "pelagia-grid"})
    repeater = ET.SubElement(grid, "Repeater", {"on": f"${CROPS}", "indexFlag": INDEX, "mode": "list"})
    crop = ET.SubElement(repeater, "View", {"className": "pelagia-crop"})
    shown = {"name": SHEET_CROP, "value": f"${CROPS}[{INDEX}].{SHOWN}", "inline": "true"}
    ET.SubElement(crop, "HyperText", shown)
    choices = {
        "name": SHEET_CLASS,
        "toName": SHEET_CROP,
        "choice": "single-radio",
        "layout": "select",
        "required": "true",
    }
    choices["requiredMessage"] = "A crop has no class: choose one, or Unsure. Empty crops are red."
    classes = ET.SubElement(crop, "Choices", choices)
    ET.SubElement(classes, "Choice", {"value": "Unsure", "alias": SHEET_UNSURE, "hotkey": _NO_KEY})
    for entry in taxonomy.classes:
        text = titles[entry.name]
        attributes = {"value": text} if text == entry.name else {"value": text, "alias": entry.name}
        if entry.color:
            attributes["color"] = entry.color
        ET.SubElement(classes, "Choice", attributes | {"hotkey": _NO_KEY})
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


def class_titles(taxonomy: Taxonomy) -> dict[str, str]:
    """Name of a class -> what people read: its title, or its name if two classes have the same title."""
    count = Counter(entry.title or entry.name for entry in taxonomy.classes)
    titles = {entry.name: entry.title or entry.name for entry in taxonomy.classes}
    return {name: title if count[title] == 1 else name for name, title in titles.items()}


def mark_of(class_name: str) -> str:
    """The CSS class of a crop for which ``class_name`` was suggested."""
    return f"suggested-{hashlib.sha256(class_name.encode()).hexdigest()[:10]}"


def _changed_rule(class_name: str, title: str) -> str:
    """The CSS rule that colors a crop whose class is not the suggested one. A character ``>`` would end the rules."""
    if not re.fullmatch(r"[\w .,()/+&-]+", title):
        return ""
    chosen = f'button[data-value="{title}"]'
    return f".pelagia-crop:has(.{mark_of(class_name)}):not(:has({chosen})) {{ background: #ffd79a; }}\n"
