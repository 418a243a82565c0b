"""COCO-style JSON in which each image has one class, as COCO Camera Traps and `pelagia dataset export --to coco` have.

https://cocodataset.org/#format-data describes the format. Boxes are not cut out: an image whose annotations have two
classes is left out.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pelagia.dataset.splits import split_of
from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError, InputError, did_you_mean
from pelagia.sources import Listing
from pelagia.sources.named import NamedFiles
from pelagia.system.files import printable
from pelagia_labeling.importers.imported import Import, survey_columns

_LISTS = ("images", "annotations", "categories")
_HEAD = 1 << 20
_NOT_EXTRA = frozenset({"id", "file_name", "width", "height", "license", "sha256", "split", "source", "annotators"})


def coco_files(path: Path) -> list[Path]:
    """The COCO-style JSON files at ``path``: the file, or ``train.json`` and others in the folder; mostly none."""
    if path.is_dir():
        return sorted(file for file in path.glob("*.json") if split_of(file.stem) and _is_coco(file))
    return [path] if path.suffix.lower() == ".json" and path.is_file() and _is_coco(path) else []


def _is_coco(file: Path) -> bool:
    """Whether a file looks like one: an object, not a list, that names categories."""
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD)
        return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and set(_LISTS) <= set(_read(file))
    except (OSError, InputError):
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {file}: {error}") from None
    return document if isinstance(document, dict) else {}


def from_coco(src: Path, files: Sequence[Path], group_column: str | None, listing: Listing) -> Import:
    """The images of the files, looked for below ``src``.

    The split of an image is its key ``split``, or the name of its file (``train.json``); it is kept if it is asked for.
    Left out and counted: images without an annotation (``no_class``), with several classes (``several_classes``), and
    without a group (``no_group``).

    Args:
        src: the folder of the images.
        files: the JSON files.
        group_column: the key of an image that holds its group; by default ``group``, if an image has it.
        listing: the options of the listing; gets warnings.

    Raises:
        InputError: a file is not what COCO describes, or no image has the key ``group_column``.
        DatasetError: no image has one class.
    """
    found = [entry for file in files for entry in _images(file)]
    keys = {key for image, _, _ in found for key in image}
    if group_column is not None and group_column not in keys:
        guess = did_you_mean(group_column, keys)
        raise InputError(f"no image has the key '{group_column}'{guess} (--group-column)")
    group_key = group_column or ("group" if "group" in keys else None)
    named = NamedFiles(src, listing)
    left_out: Counter[str] = Counter()
    candidates = []
    for image, classes, split in found:
        group = str(image.get(group_key, "")).strip() if group_key else ""
        if len(classes) != 1:
            left_out["several_classes" if classes else "no_class"] += 1
        elif group_key and not group:
            left_out["no_group"] += 1
        else:
            candidates.append(_candidate(image, classes.pop(), group, split, named))
    if not candidates:
        raise DatasetError(f"no image of {files[0]} has one class ({dict(left_out)}): check its annotations")
    source = {"kind": "coco", "folder": printable(src.name), "files": [printable(file.name) for file in files]}
    split_name = "split" if any(entry.split for entry in candidates) else ""
    return Import(candidates, source, group_key, dict(left_out), listing.warning_texts(), split_name)


def _images(file: Path) -> Iterator[tuple[Mapping[str, Any], set[str], str]]:
    """Each image of a file with the names of its classes and its split."""
    try:
        document = _read(file)
        names = {entry["id"]: str(entry["name"]).strip() for entry in document["categories"]}
        classes: dict[Any, set[str]] = defaultdict(set)
        for annotation in document["annotations"]:
            classes[annotation["image_id"]].add(names[annotation["category_id"]])
        for image in document["images"]:
            yield image, set(classes.get(image["id"], ())), str(image.get("split") or split_of(file.stem) or "")
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is not COCO-style JSON: {type(error).__name__} {error}; each image needs id and file_name, each "
            "annotation image_id and category_id, each category id and name"
        ) from None


def _candidate(image: Mapping[str, Any], class_name: str, group: str, split: str, named: NamedFiles) -> Candidate:
    found = named.image(str(image["file_name"]), {})
    extra = {str(key): str(value) for key, value in image.items() if key not in _NOT_EXTRA and key != "group"}
    return Candidate(
        found.file,
        class_name,
        str(image.get("source") or found.path),
        group=group,
        annotators=str(image.get("annotators") or ""),
        split=split,
        extra=survey_columns(extra),
        reader=found.reader,
    )
