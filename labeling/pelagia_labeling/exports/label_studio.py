"""Label Studio: ``tasks.json`` with the labels as annotations, ``interface.xml``, and ``images/``.

https://labelstud.io/guide/tasks describes the tasks. Label Studio serves the images from its document root, so the
folder must be there under the name that it was exported with. `pelagia label pull` reads such a project like one that
`pelagia label push` made; `pelagia dataset import OUT --manifest OUT/tasks.json --split-column split` reads the file.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from pelagia.dataset.schema import Record
from pelagia.system.files import write_text
from pelagia_labeling.exports.exporting import Exporting
from pelagia_labeling.tasks.interface import build_interface, class_result
from pelagia_labeling.tasks.storage import LOCAL_FILES, RESERVED, store_taxonomy

TASKS_FILE, INTERFACE_FILE = "tasks.json", "interface.xml"


def write(work: Exporting) -> list[str]:
    """Writes the images, the tasks and the labeling interface."""
    for record in work.records:
        work.copy(record, record.path)
    tasks = [_task(record, work.name) for record in work.records]
    write_text(work.folder / TASKS_FILE, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    write_text(work.folder / INTERFACE_FILE, build_interface(work.dataset.meta.taxonomy, caption=False) + "\n")
    store_taxonomy(work.folder, work.dataset.meta.taxonomy)
    return [
        f"put the folder into Label Studio's document root as '{work.name}', make a project with {INTERFACE_FILE} as "
        f"its labeling interface, add the folder as a local storage, and import {TASKS_FILE}"
    ]


def _task(record: Record, name: str) -> dict[str, Any]:
    relative = f"{name}/{record.path}"
    own = {
        "image": f"{LOCAL_FILES}?d={quote(relative)}",
        "sha256": record.sha256,
        "file": relative,
        "path": record.source or record.path,
        "split": record.split,
        "group": record.group,
    }
    if record.licence:
        own["licence"] = record.licence
    taken = {*own, *RESERVED}
    extra = {(f"survey_{key}" if key in taken else key): value for key, value in record.extra.items() if value}
    return {"data": own | extra, "annotations": [{"result": class_result(record.class_name)}]}
