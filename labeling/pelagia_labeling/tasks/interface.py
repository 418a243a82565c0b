"""The labeling interface of a project: the page on which biologists label. This module makes and reads it.

Invariant: a stored label is always the name of a class. If a class has a title, people see the title and Label Studio
stores the ``alias``, which is the name. The interface, the predictions and the annotations use only the control names
`FROM_CLASS`, `FROM_UNSURE` and `TO_IMAGE`, so Label Studio finds the control of each pre-label.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pelagia.errors import StudioError, first_few
from pelagia.label_studio import FROM_CLASS as FROM_CLASS
from pelagia.label_studio import TO_IMAGE as TO_IMAGE
from pelagia.label_studio import class_result as class_result
from pelagia.label_studio import region
from pelagia.taxonomy import UNSURE_HOTKEY, LabelClass, Taxonomy, taxonomy_of_names
from pelagia_labeling.tasks.cells_field import CELLS_STYLE, add_cells_field, has_cells

FROM_UNSURE = "unsure"
UNSURE = "unsure"
MARK = "renamed"
"""Attribute of a choice: the new name of a class that was renamed, whose old name stays stored (the alias)."""

SHEET_CLASS, SHEET_CROP, SHEET_UNSURE = "class_{{idx}}", "crop_{{idx}}", "*unsure*"
"""The same names in the interface of a sheet, for each of its crops (`pelagia_labeling.sheets.interface`)."""

CAPTION = "image_caption"
"""Key of a task's data: the line of text above the image."""

MAGNIFICATION = 4
"""Crops are shown at this many times their size, so that their sizes can be compared; larger ones are made to fit."""

MANY_CLASSES = 20
"""With more classes there is a search box, and only classes with a key of the taxonomy have a key."""

_NO_KEY = "f24"
"""Label Studio gives a key to each choice without one. No keyboard has this one."""

_STYLE = """
.pelagia { display: flex; gap: 16px; align-items: flex-start; }
.pelagia-image { flex: 1 1 auto; min-width: 320px; }
.pelagia-crop .lsf-object { zoom: MAGNIFICATION; }
.pelagia-crop .lsf-object div { max-height: calc((100vh - 240px) / MAGNIFICATION) !important; }
.pelagia-crop .lsf-object .lsf-toolbar { zoom: calc(1 / MAGNIFICATION); }
.pelagia-crop .lsf-object .lsf-toolbar, .pelagia-crop .lsf-object .lsf-toolbar div { max-height: none !important; }
.pelagia-choices { flex: 0 0 280px; max-height: calc(100vh - 140px); overflow-y: auto; }
.pelagia-choices .lsf-choices { display: flex; flex-direction: column; }
.pelagia-classes .lsf-choice:has(input:checked) { order: -1; position: sticky; top: 0; background: #fff3bf; }
.pelagia-classes .lsf-choice__item[style*="order"] sup { display: none; }
""".replace("MAGNIFICATION", str(MAGNIFICATION))
"""Label Studio ignores a rule that has the sign ``>``. The chosen class moves to the top of a long list."""


def build_interface(taxonomy: Taxonomy, *, caption: bool = True, cells: bool = False) -> str:
    """Label Studio's labeling configuration (XML) for a taxonomy.

    Args:
        taxonomy: the classes to choose from.
        caption: whether the tasks have the line of text `CAPTION`. Label Studio refuses a page that needs data which
            the tasks of a project lack.
        cells: whether the page has a field for the number of cells on the image.
    """
    many = len(taxonomy.classes) > MANY_CLASSES
    page = ET.Element("View", {"className": "pelagia"})
    ET.SubElement(page, "Style").text = _STYLE + (CELLS_STYLE if cells else "")
    left = ET.SubElement(page, "View", {"className": "pelagia-image"})
    if caption:
        ET.SubElement(left, "Header", {"value": f"${CAPTION}", "size": "5"})
    ET.SubElement(ET.SubElement(left, "View", {"className": "pelagia-crop"}), "Image", _IMAGE)
    right = ET.SubElement(page, "View", {"className": "pelagia-choices"})
    if many:  # where it is seen without scrolling
        _add_unsure(right)
        if cells:
            add_cells_field(right)
        ET.SubElement(right, "Filter", _SEARCH)
    group = ET.SubElement(right, "View", {"className": "pelagia-classes"}) if many else right
    classes = ET.SubElement(
        group, "Choices", {"name": FROM_CLASS, "toName": TO_IMAGE, "choice": "single-radio", "layout": "vertical"}
    )
    titles = [entry.title or entry.name for entry in taxonomy.classes]
    for entry, title in zip(taxonomy.classes, titles, strict=True):
        classes.append(_choice(entry, title if titles.count(title) == 1 else entry.name, many))
    if not many:
        _add_unsure(right)
        if cells:
            add_cells_field(right)
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")


_IMAGE = {
    "name": TO_IMAGE,
    "value": f"${TO_IMAGE}",
    "zoom": "true",
    "zoomControl": "true",
    "defaultZoom": "auto",  # the size of the image, if that fits; the style magnifies it
    "horizontalAlignment": "center",
    "smoothing": "true",
}

_SEARCH = {
    "name": "search",
    "toName": FROM_CLASS,
    "hotkey": "/",
    "minlength": "0",
    "cleanup": "false",  # if the box were emptied, a second Enter would choose the first of all classes
    "placeholder": "Find a class: type, then Enter",
}


def _add_unsure(parent: ET.Element) -> None:
    unsure = ET.SubElement(parent, "Choices", {"name": FROM_UNSURE, "toName": TO_IMAGE, "choice": "multiple"})
    ET.SubElement(unsure, "Choice", {"value": "Unsure", "alias": UNSURE, "hotkey": UNSURE_HOTKEY})


def _choice(entry: LabelClass, title: str, many: bool) -> ET.Element:
    attributes = {"value": title}
    if title != entry.name:
        attributes["alias"] = entry.name
    if entry.hotkey or many:
        attributes["hotkey"] = entry.hotkey or _NO_KEY
    hidden = "; order: 1" if many and not entry.hotkey else ""  # by this, the style hides the key that nobody has
    attributes["style"] = f"border-left: 8px solid {entry.color or 'transparent'}; padding: 1px 8px{hidden}"
    if entry.color:
        attributes["color"] = entry.color
    return ET.Element("Choice", attributes)


def has_caption(config: str) -> bool:
    """Whether a labeling configuration shows the line of text `CAPTION`."""
    return f"${CAPTION}" in config


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


def class_names(config: str) -> dict[str, str]:
    """Stored name -> class name, for the renamed classes of a labeling configuration."""
    return {stored: node.get(MARK, "") for node, stored in choices_of(parse_config(config)) if node.get(MARK)}


def parse_config(config: str) -> ET.Element:
    """The root of a labeling configuration; an empty one if the text is no XML."""
    try:
        return ET.fromstring(config)  # noqa: S314 - the server's own text, and expat expands no external entities
    except ET.ParseError:
        return ET.Element("View")


def choices_of(root: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    """The choices of the class, each with its stored name."""
    for group in root.iter("Choices"):
        if group.get("name") == FROM_CLASS:
            for node in group.iter("Choice"):
                yield node, (node.get("alias") or node.get("value") or "").strip()


@dataclass(frozen=True)
class Change:
    """The interface that a project must have, and whether the present interface must be replaced by it.

    Attributes:
        update: whether it must be replaced.
        config: the interface that the project must have.
        how: what changes, in words; empty if nothing does.
    """

    update: bool
    config: str
    how: str = ""


def added_on_page(current: str, stored: Taxonomy | None, taxonomy: Taxonomy) -> tuple[LabelClass, ...]:
    """The classes that people added in Label Studio: the interface has them, and no taxonomy has them.

    Args:
        current: the project's configuration.
        stored: the taxonomy of the last push; None if it is not known.
        taxonomy: the taxonomy that is pushed.
    """
    if stored is None:
        return ()
    known = {*stored.names, *taxonomy.names}
    return tuple(entry for entry in parse_interface(current) or () if entry.name not in known)


def reconcile(
    current: str,
    taxonomy: Taxonomy,
    *,
    used: bool,
    title: str,
    caption: bool = True,
    cells: bool = False,
    wanted: str = "",
) -> Change:
    """Whether the configuration of a project must be replaced by the configuration made from the taxonomy.

    Classes can be added, and hotkeys, titles and colors can be changed, at any time. While the project has no labels,
    classes can also be removed, and an interface that push did not make is replaced.

    Args:
        current: the project's configuration.
        taxonomy: the taxonomy that is pushed.
        used: whether the project has annotations.
        title: title of the project, for messages.
        caption: whether the tasks have the line of text `CAPTION`.
        cells: whether to add a field for the number of cells; one that is there stays.
        wanted: the configuration to have; by default that of `build_interface`.

    Raises:
        StudioError: the configuration must not be replaced.
    """
    cells = cells or has_cells(parse_config(current))
    wanted = wanted or _keep_marks(current, build_interface(taxonomy, caption=caption, cells=cells))
    if used:
        _require_same(parse_interface(current), taxonomy, title)
    return _change(current, wanted)


def _require_same(found: tuple[LabelClass, ...] | None, taxonomy: Taxonomy, title: str) -> None:
    """Raises StudioError if the classes of a project that has labels are not all classes of the taxonomy."""
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


def _change(current: str, wanted: str) -> Change:
    if _normal(current) == _normal(wanted):
        return Change(False, wanted)
    before = {entry.name: entry for entry in parse_interface(current) or ()}
    after = {entry.name: entry for entry in parse_interface(wanted) or ()}
    parts = {
        "classes added": [name for name in after if name not in before],
        "classes removed": [name for name in before if name not in after],
        "title, key or color changed": [name for name in after if name in before and after[name] != before[name]],
    }
    changes = [f"{what}: {first_few(names)}" for what, names in parts.items() if names]
    if has_cells(parse_config(wanted)) and not has_cells(parse_config(current)):
        changes.append("a field for the number of cells added")
    return Change(True, wanted, "; ".join(changes) or "the arrangement of the page")


def _keep_marks(current: str, wanted: str) -> str:
    """The configuration ``wanted`` with the marks that the choices of ``current`` have."""
    marks = class_names(current)
    if not marks:
        return wanted
    root = parse_config(wanted)
    for node, stored in choices_of(root):
        if mark := marks.get(stored):
            node.set("alias", stored)  # also if the title is the stored name
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
    return with_classes(stored, found)


def with_classes(taxonomy: Taxonomy, classes: Iterable[LabelClass]) -> Taxonomy:
    """A taxonomy with the classes that it lacks at its end, without the keys that it uses already."""
    hotkeys = {entry.hotkey for entry in taxonomy.classes}
    added = []
    for entry in classes:
        if entry.name not in taxonomy.names:
            added.append(entry.model_copy(update={"hotkey": None}) if entry.hotkey in hotkeys else entry)
            hotkeys.add(entry.hotkey)
    return Taxonomy(name=taxonomy.name, taxa=taxonomy.taxa, classes=(*taxonomy.classes, *added))


def unsure_result() -> list[dict[str, Any]]:
    """The ``result`` of an annotation with the box "Unsure" ticked."""
    return [region(FROM_UNSURE, UNSURE)]


def read_result(result: Any) -> tuple[str, bool]:
    """(class name, whether "Unsure" is ticked) of an annotation's ``result``; the name is empty if it has no class."""
    chosen: dict[str, str] = {}
    for one in result if isinstance(result, list) else ():
        choices = (one.get("value") or {}).get("choices") or [] if isinstance(one, dict) else []
        if choices:
            last = choices[-1]
            chosen[str(one.get("from_name"))] = str(last[-1] if isinstance(last, list) and last else last)
    return chosen.get(FROM_CLASS, ""), FROM_UNSURE in chosen
