"""The labeling interface of a project: the page on which biologists label. This module makes and reads it.

Invariant: a stored label is always the name of a class. If a class has a title, people see the title and Label Studio
stores the ``alias``, which is the name. The interface, the predictions and the annotations use only the control names
`FROM_CLASS`, `FROM_UNSURE` and `TO_IMAGE`, so Label Studio finds the control of each pre-label.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pelagia.errors import StudioError, first_few
from pelagia.taxonomy import UNSURE_HOTKEY, LabelClass, Taxonomy, taxonomy_of_names

FROM_CLASS, FROM_UNSURE, TO_IMAGE = "class", "unsure", "image"
UNSURE = "unsure"
MARK = "renamed"
"""Attribute of a choice: the new name of a class that was renamed, whose old name stays stored (the alias)."""

SHEET_CLASS, SHEET_CROP, SHEET_UNSURE = "class_{{idx}}", "crop_{{idx}}", "*unsure*"
"""The same names in the interface of a sheet, for each of its crops (`pelagia_labeling.sheets.interface`)."""

_STYLE = """
.pelagia { display: flex; gap: 16px; align-items: flex-start; }
.pelagia-image { flex: 1 1 auto; min-width: 320px; }
.pelagia-choices { flex: 0 0 260px; max-height: calc(100vh - 140px); overflow-y: auto; }
"""


def build_interface(taxonomy: Taxonomy) -> str:
    """Label Studio's labeling configuration (XML) for a taxonomy."""
    page = ET.Element("View", {"className": "pelagia"})
    ET.SubElement(page, "Style").text = _STYLE
    left = ET.SubElement(page, "View", {"className": "pelagia-image"})
    ET.SubElement(left, "Image", _IMAGE)
    right = ET.SubElement(page, "View", {"className": "pelagia-choices"})
    classes = ET.SubElement(
        right, "Choices", {"name": FROM_CLASS, "toName": TO_IMAGE, "choice": "single-radio", "layout": "vertical"}
    )
    titles = [entry.title or entry.name for entry in taxonomy.classes]
    for entry, title in zip(taxonomy.classes, titles, strict=True):
        classes.append(_choice(entry, title if titles.count(title) == 1 else entry.name))
    unsure = ET.SubElement(right, "Choices", {"name": FROM_UNSURE, "toName": TO_IMAGE, "choice": "multiple"})
    ET.SubElement(unsure, "Choice", {"value": "Unsure", "alias": UNSURE, "hotkey": UNSURE_HOTKEY})
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


_IMAGE = {
    "name": TO_IMAGE,
    "value": f"${TO_IMAGE}",
    "zoom": "true",
    "zoomControl": "true",
    "defaultZoom": "fit",  # a crop of 60 pixels fills the page's height
    "horizontalAlignment": "center",
    "smoothing": "true",
}


def _choice(entry: LabelClass, title: str) -> ET.Element:
    attributes = {"value": title}
    if title != entry.name:
        attributes["alias"] = entry.name
    if entry.hotkey:
        attributes["hotkey"] = entry.hotkey
    attributes["style"] = f"border-left: 8px solid {entry.color or 'transparent'}; padding: 1px 8px"
    if entry.color:
        attributes["color"] = entry.color
    return ET.Element("Choice", attributes)


def parse_interface(config: str) -> tuple[LabelClass, ...] | None:
    """The classes of a labeling configuration; None if pull cannot read the configuration.

    A configuration that people edited in Label Studio can be read as long as it has ``<Choices name="class"
    toName="image">`` and ``<Image name="image">``, or the same controls of a sheet.

    Raises:
        StudioError: the text of a choice cannot be the name of a class.
    """
    try:
        root = ET.fromstring(config)  # noqa: S314 - the server's own text, and expat expands no external entities
    except ET.ParseError:
        return None
    images = [node for tag in ("Image", "HyperText") for node in root.iter(tag) if node.get("name") in _SHOWN]
    groups = [node for node in root.iter("Choices") if (node.get("name"), node.get("toName")) in _CONTROLS]
    if not images or len(groups) != 1:
        return None
    texts = [(node, (node.get("alias") or node.get("value") or "").strip()) for node in groups[0].iter("Choice")]
    named = [node for node, text in texts if text and text != SHEET_UNSURE]
    classes: dict[str, LabelClass] = {}
    for node in named:
        entry = _parse_choice(node)
        classes.setdefault(entry.name, entry)
    return tuple(classes.values())


_SHOWN = (TO_IMAGE, SHEET_CROP)
_CONTROLS = ((FROM_CLASS, TO_IMAGE), (SHEET_CLASS, SHEET_CROP))


def _parse_choice(node: ET.Element) -> LabelClass:
    value, alias, hotkey = node.get("value") or "", node.get("alias"), node.get("hotkey") or ""
    usable = len(hotkey) == 1 and hotkey in "0123456789abcdefghijklmnopqrstvwxyz"
    name = (alias or value).strip()
    color = node.get("color") or ""
    try:
        return LabelClass(
            name=name,
            title=value if alias and value and value != name else None,
            hotkey=hotkey if usable else None,
            color=color if re.fullmatch("#[0-9a-fA-F]{6}", color) else None,
        )
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise StudioError(f"the choice '{name[:120]}' cannot be a class: {fault}; rename it in Label Studio") from None


@dataclass(frozen=True)
class Change:
    """The interface that a project must have, and whether the present interface must be replaced by it."""

    update: bool
    config: str


def reconcile(current: str, taxonomy: Taxonomy, *, used: bool, title: str, wanted: str = "") -> Change:
    """Whether the configuration of a project must be replaced by the configuration made from the taxonomy.

    Classes can be added, and hotkeys, titles and colors can be changed, at any time. While the project has no labels,
    classes can also be removed, and an interface that push did not make is replaced.

    Args:
        current: the project's configuration.
        taxonomy: the taxonomy that is pushed.
        used: whether the project has annotations.
        title: title of the project, for messages.
        wanted: the configuration to have; by default that of `build_interface`.

    Raises:
        StudioError: the configuration must not be replaced.
    """
    wanted = wanted or _keep_marks(current, build_interface(taxonomy))
    found = parse_interface(current)
    if not used:
        return Change(_normal(current) != _normal(wanted), wanted)
    if found is None:
        raise StudioError(
            f"the project '{title}' has labels and another labeling interface (no Choices named '{FROM_CLASS}' on an "
            f"Image named '{TO_IMAGE}'): choose another project name"
        )
    lost = [entry.name for entry in found if entry.name not in taxonomy.names]
    if lost:
        raise StudioError(
            f"the project '{title}' has labels, and the taxonomy '{taxonomy.name}' lacks classes that the project's "
            f"interface has: {first_few(lost)}; add them to the taxonomy, or choose another project name"
        )
    return Change(_normal(current) != _normal(wanted), wanted)


def _keep_marks(current: str, wanted: str) -> str:
    """The configuration ``wanted`` with the marks that the choices of ``current`` have."""
    try:
        marks = {node.get("alias"): node.get(MARK) for node in ET.fromstring(current).iter("Choice")}  # noqa: S314
    except ET.ParseError:
        return wanted
    if not any(marks.values()):
        return wanted
    root = ET.fromstring(wanted)  # noqa: S314 - made by `build_interface`
    for node in root.iter("Choice"):
        if (mark := marks.get(node.get("alias"))) and node.get("alias"):
            node.set(MARK, mark)
    return ET.tostring(root, encoding="unicode")


def _normal(config: str) -> str:
    """The configuration without differences that have no effect, such as spaces between tags."""
    try:
        return ET.canonicalize(config, strip_text=True)
    except ET.ParseError:
        return config


def taxonomy_of(classes: Iterable[LabelClass], stored: Taxonomy | None, name: str) -> Taxonomy:
    """The taxonomy of a pulled dataset: the stored taxonomy and the classes that were added in Label Studio later.

    Args:
        classes: the classes of the project's interface.
        stored: the taxonomy that push stored; if it is None, the result has no taxa.
        name: name of the taxonomy if none is stored.
    """
    found = list(classes)
    if stored is None:
        plain = taxonomy_of_names(name, [entry.name for entry in found])
        keys = [entry.hotkey for entry in found if entry.hotkey]
        return plain.model_copy(update={"classes": tuple(found)}) if len(set(keys)) == len(keys) else plain
    hotkeys = {entry.hotkey for entry in stored.classes}
    added = []
    for entry in found:
        if entry.name not in stored.names:
            added.append(entry.model_copy(update={"hotkey": None}) if entry.hotkey in hotkeys else entry)
            hotkeys.add(entry.hotkey)
    return Taxonomy(name=stored.name, taxa=stored.taxa, classes=(*stored.classes, *added))


def class_result(class_name: str) -> list[dict[str, Any]]:
    """The ``result`` of an annotation or a prediction that names one class."""
    return [_region(FROM_CLASS, class_name)]


def unsure_result() -> list[dict[str, Any]]:
    """The ``result`` of an annotation with the box "Unsure" ticked."""
    return [_region(FROM_UNSURE, UNSURE)]


def _region(control: str, choice: str) -> dict[str, Any]:
    return {"from_name": control, "to_name": TO_IMAGE, "type": "choices", "value": {"choices": [choice]}}


def read_result(result: Any) -> tuple[str, bool]:
    """(class name, whether "Unsure" is ticked) of an annotation's ``result``; the name is empty if it has no class."""
    chosen: dict[str, str] = {}
    for region in result if isinstance(result, list) else ():
        choices = (region.get("value") or {}).get("choices") or [] if isinstance(region, dict) else []
        if choices:
            last = choices[-1]
            chosen[str(region.get("from_name"))] = str(last[-1] if isinstance(last, list) and last else last)
    return chosen.get(FROM_CLASS, ""), FROM_UNSURE in chosen
