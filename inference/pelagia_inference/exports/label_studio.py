"""Label Studio: ``tasks.json`` with the predictions of the model, and ``interface.xml`` with the labeling page.

`pelagia label push --predictions SURVEY` does the same in a project of a server that it can reach. This export is for
other servers. `pelagia.label_studio` has the form of a prediction; https://labelstud.io/guide/tasks has that of a task.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pelagia.label_studio import FROM_CLASS, LOCAL_FILES, TO_IMAGE, prediction
from pelagia.system.files import new_file, write_text
from pelagia_inference.exports.exporting import Exporting, Named

TASKS_FILE, INTERFACE_FILE = "tasks.json", "interface.xml"
_OWN = ("image", "sha256", "path")


def write(work: Exporting) -> list[str]:
    """Writes the tasks, one on a line, and the page."""
    version = f"{work.survey.folder.absolute().name} {work.model_text}"
    tasks = empty = inside = 0
    with new_file(work.folder / TASKS_FILE, "w", encoding="utf-8", newline="\n") as file:
        file.write("[\n")
        for named in work.classified():
            class_name = named.accepted if named.accepted in work.survey.classes else ""  # the page has no higher taxon
            empty += not class_name
            inside += "!/" in named.row.file
            task = {
                "data": _data(work, named),
                "predictions": [prediction(class_name, named.probability, version)],
            }
            if named.confirmed:
                task["meta"] = {"confirmed": named.confirmed.class_name}
            file.write(",\n" * bool(tasks) + json.dumps(task, ensure_ascii=False))
            tasks += 1
        file.write("\n]\n")
    write_text(work.folder / INTERFACE_FILE, _interface(work.survey.classes) + "\n")
    notes = _notes(work, tasks)
    if empty:
        notes.append(f"{empty} tasks show a score and no class: none was accepted")
    if inside and not work.options.media_url:
        notes.append(
            f"{inside} images are inside archives or bins: put them there as files, or use `pelagia label push`"
        )
    return notes


def _notes(work: Exporting, tasks: int) -> list[str]:
    where = "under --media-url" if work.options.media_url else f"in its document root ({LOCAL_FILES})"
    return [
        f"tasks: {tasks}; make a project with {INTERFACE_FILE} as its labeling interface and import {TASKS_FILE}; "
        f"Label Studio looks for the images {where}"
    ]


def _data(work: Exporting, named: Named) -> dict[str, Any]:
    path = named.row.path
    image = work.media(path) if work.options.media_url else f"{LOCAL_FILES}?d={quote(path)}"
    own = {"image": image, "sha256": named.row.sha256, "path": path}
    return own | {(f"survey_{key}" if key in _OWN else key): value for key, value in named.row.columns.items() if value}


def _interface(classes: Sequence[str]) -> str:
    """A plain labeling page, which `pelagia label pull` can read."""
    page = ET.Element("View")
    ET.SubElement(page, "Image", {"name": TO_IMAGE, "value": f"${TO_IMAGE}", "zoom": "true"})
    choices = ET.SubElement(page, "Choices", {"name": FROM_CLASS, "toName": TO_IMAGE, "choice": "single-radio"})
    for name in classes:
        ET.SubElement(choices, "Choice", {"value": name})
    ET.indent(page)
    return ET.tostring(page, encoding="unicode")
