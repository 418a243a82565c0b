"""COCO-style JSON: ``train.json``, ``val.json``, ``test.json`` and ``images/``.

COCO (https://cocodataset.org/#format-data) has no format for the class of an image. As is usual, each image has one
annotation: its category, with a box around the whole image. Each image also has the keys ``sha256``, ``split`` and
``group``, which other programs ignore, and from which `pelagia dataset import OUT --split-column split` restores them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pelagia.dataset.schema import Record
from pelagia.dataset.splits import SPLITS
from pelagia.system.files import write_text
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.exports.exporting import Exporting


def write(work: Exporting) -> list[str]:
    """Writes the images, and the JSON file of each split that has images."""
    categories = _categories(work.dataset.meta.taxonomy)
    numbers = {entry["name"]: int(entry["id"]) for entry in categories}
    licenses = {name: number for number, name in enumerate(sorted({one.licence for one in work.records} - {""}), 1)}
    for record in work.records:
        work.copy(record, record.path)
    for split in SPLITS:
        rows = [(number, record) for number, record in enumerate(work.records, 1) if record.split == split]
        if not rows:
            continue
        document = {
            "info": {"description": work.dataset.meta.name, "fingerprint": work.dataset.meta.fingerprint},
            "licenses": [{"id": number, "name": name, "url": ""} for name, number in licenses.items()],
            "categories": categories,
            "images": [_image(number, record, licenses) for number, record in rows],
            "annotations": list(_annotations(rows, numbers)),
        }
        write_text(work.folder / f"{split}.json", json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return []


def _categories(taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """The classes, numbered from 1 in the order of the taxonomy; ``supercategory`` is the taxon above."""
    found = []
    for number, entry in enumerate(taxonomy.classes, 1):
        above = [taxon.name for taxon in taxonomy.lineage(entry.name) if taxon.name != entry.name]
        found.append({"id": number, "name": entry.name, "supercategory": above[-1] if above else ""})
    return found


def _image(number: int, record: Record, licenses: dict[str, int]) -> dict[str, Any]:
    own: dict[str, Any] = {
        "id": number,
        "file_name": record.path,
        "width": record.width,
        "height": record.height,
        "sha256": record.sha256,
        "split": record.split,
        "group": record.group,
        "source": record.source,
    }
    if record.licence:
        own["license"] = licenses[record.licence]
    if record.annotators:
        own["annotators"] = record.annotators
    taken = {*own, "license", "annotators"}
    extra = {(f"survey_{name}" if name in taken else name): value for name, value in record.extra.items() if value}
    return own | extra


def _annotations(rows: Iterable[tuple[int, Record]], numbers: dict[str, int]) -> Iterable[dict[str, Any]]:
    for number, record in rows:
        yield {
            "id": number,
            "image_id": number,
            "category_id": numbers[record.class_name],
            "bbox": [0, 0, record.width, record.height],
            "area": record.width * record.height,
            "segmentation": [],
            "iscrowd": 0,
        }
