"""Classes that were renamed in a project. People and datasets get the new name; Label Studio keeps the stored one.

Label Studio stores the ``alias`` of a choice, so a choice whose ``value`` and mark change keeps all annotations and
pre-labels valid, however many there are. Rewriting them would take 16 ms each, and Label Studio would name the account
that renamed the class as the one that changed the labels last.

Invariant: a stored label is never rewritten. Inside Label Studio, and in every module that reads or writes annotations,
a class has its stored name. Names are translated in two places only: by push and submit (`to_stored`), and where labels
are read for people and datasets (`list_tasks` with ``named``, and `to_named` for the taxonomy).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from pelagia.config import validate
from pelagia.errors import InputError, StudioError, did_you_mean, first_few
from pelagia.taxonomy import LabelClass, Taxonomy
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.interface import MARK, choices_of, class_names, parse_config, parse_interface
from pelagia_labeling.tasks.project import Project, find_project, require_project
from pelagia_labeling.tasks.sheet_crops import is_sheet_interface


def renamed_config(config: str, old: str, new: str, where: str) -> str:
    """The labeling configuration with another name of a class.

    Args:
        config: the project's configuration.
        old: the class's present name.
        new: its new name.
        where: what the configuration belongs to, for messages.

    Raises:
        InputError: there is no class ``old``, or ``new`` is the name of another class, now or as it is stored.
        StudioError: pull cannot read the configuration.
    """
    if parse_interface(config) is None or is_sheet_interface(config):
        raise StudioError(
            f"{where} has no choices named 'class' on an image named 'image' (sheets have none): pull its labels, and "
            "rename the class in the dataset with `pelagia dataset rename-class`"
        )
    root, names = parse_config(config), class_names(config)
    present = {names.get(stored, stored): (node, stored) for node, stored in choices_of(root)}
    validate({"name": new}, LabelClass, f"the class '{new}'")
    if old not in present:
        listed = first_few(present, 20)
        raise InputError(f"{where} has no class '{old}'{did_you_mean(old, present)}; it has: {listed}")
    taken = {text for name, (_, stored) in present.items() if name != old for text in (name, stored)}
    if new in taken | {old}:
        raise InputError(
            f"{where} has a class '{new}' already: choose another name, or make both one class in a dataset with "
            "`pelagia dataset rename-class --merge`"
        )
    node, stored = present[old]
    _rename(node, stored, old, new)
    return ET.tostring(root, encoding="unicode")


def _rename(node: ET.Element, stored: str, old: str, new: str) -> None:
    """Gives a choice its new name. A title that differs from the old name stays."""
    if node.get("value") in (old, stored):
        node.set("value", new)
    node.set("alias", stored)
    node.set(MARK, new)
    if new == stored:  # the first name is back
        del node.attrib[MARK]
        if node.get("value") == stored:
            del node.attrib["alias"]


def rename_class(connection: Connection, project: str, old: str, new: str) -> Project:
    """Renames a class of a project, in one request; returns the project as it was.

    Raises:
        InputError, StudioError: as `renamed_config`; or there is no such project, or the server refuses the change.
    """
    found = require_project(connection, project)
    config = renamed_config(found.config, old, new, f"the project '{project}'")
    with connection.doing(f"renaming the class '{old}' of '{project}'"):
        connection.client.projects.update(id=found.id, label_config=config, request_options=WRITE_OPTIONS)
    return found


def stored_names(connection: Connection, title: str) -> dict[str, str]:
    """Class name -> stored name, for the renamed classes of a project; empty if there is no such project."""
    found = find_project(connection, title)
    return {name: stored for stored, name in class_names(found.config).items()} if found else {}


def to_stored(taxonomy: Taxonomy, stored: Mapping[str, str], title: str) -> Taxonomy:
    """The taxonomy with the stored names of renamed classes; people see their title or their new name.

    Args:
        taxonomy: a person's taxonomy.
        stored: class name -> stored name.
        title: the title of the project, for messages.

    Raises:
        StudioError: the taxonomy has the former name of a class.
    """
    for name, former in stored.items():
        if former in taxonomy.names:
            raise StudioError(
                f"the class '{former}' of the project '{title}' was renamed to '{name}': rename it in the taxonomy "
                f"'{taxonomy.name}' too, or name it '{former}' again with `pelagia label rename-class`"
            )
    return _with_names(taxonomy, {name: (former, name) for name, former in stored.items()})


def to_named(taxonomy: Taxonomy, names: Mapping[str, str]) -> Taxonomy:
    """The taxonomy with the new names of renamed classes; ``names``: stored name -> class name."""
    return _with_names(taxonomy, {stored: (name, "") for stored, name in names.items()})


def _with_names(taxonomy: Taxonomy, names: Mapping[str, tuple[str, str]]) -> Taxonomy:
    """The taxonomy with other names; the second text of a pair is the title of a class that has none."""
    classes = []
    for entry in taxonomy.classes:
        if entry.name in names:
            name, title = names[entry.name]
            kept = entry.title if entry.title not in (None, name) else title or None
            entry = entry.model_copy(update={"name": name, "title": kept})
        classes.append(entry)
    return taxonomy.model_copy(update={"classes": tuple(classes)})
