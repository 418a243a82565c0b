"""Label Studio's own exports: JSON, JSON_MIN and CSV, of a project with one choice per image.

https://labelstud.io/guide/export describes the formats. The images are not in the export: they are looked for in a
folder, by the path of each task. `pelagia label pull` is the way for a project that `pelagia label push` made.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pelagia.dataset.label_columns import CELLS_COUNTED, MOST_CELLS
from pelagia.dataset.write import Candidate
from pelagia.errors import DatasetError, InputError, first_few, first_line
from pelagia.sources import Listing, SourceImage
from pelagia.sources.image import is_image_name
from pelagia.sources.named import NamedFiles
from pelagia.system.files import printable
from pelagia.tables.reader import open_table
from pelagia_labeling.importers.imported import Import, survey_columns
from pelagia_labeling.tasks.cells_field import is_count, read_cells

_OWN_COLUMNS = frozenset({"annotation_id", "annotator", "created_at", "id", "lead_time", "updated_at", "sentiment"})
_REQUIRED = frozenset({"annotation_id", "annotator", "lead_time"})
_USUAL_NAMES = ("choice", "class", "label", "choices")
"""Usual names of the choices in a labeling interface. The list is shorter than that of a manifest's columns, because
a task's data may have a column ``species`` that is not the label.
"""
_UPLOAD = re.compile(r"(?<=/)[0-9a-f]{8}-(?=[^/]+$)")
"""Label Studio puts eight hex digits before the name of a file that was uploaded."""


@dataclass(frozen=True)
class _Label:
    """One person's label of one image: the task's values, the classes that were chosen, the person, cells counted."""

    task: str
    data: Mapping[str, Any]
    choices: tuple[str, ...]
    annotator: str
    canceled: bool = False
    cells: float | None = None


def is_label_studio_export(path: Path) -> bool:
    """Whether a file is a JSON file, or a CSV with the columns that Label Studio adds."""
    if path.suffix.lower() == ".json":
        return True
    return path.suffix.lower() == ".csv" and path.is_file() and set(open_table(path).columns) >= _REQUIRED


def from_label_studio(src: Path, export: Path, class_column: str | None, listing: Listing) -> Import:
    """The images of an export, looked for below ``src``.

    Left out and counted: tasks without a label (``no_class``), skipped tasks (``skipped``), tasks with several choices
    (``several_classes``), and images that several people labeled differently (``disputed``).

    Args:
        src: the folder of the images.
        export: the export, ``.json`` or ``.csv``.
        class_column: the name of the choices in the labeling interface; needed only if there are several.
        listing: the options of the listing; gets warnings.

    Raises:
        InputError: the export cannot be read, is not one of Label Studio's, or has several kinds of choices.
        DatasetError: no task has a label.
    """
    read = _json_labels if export.suffix.lower() == ".json" else _csv_labels
    try:
        labels = list(read(export, class_column, listing))
    except (TypeError, AttributeError):  # a list in place of a dict, or the other way round
        raise InputError(
            f"{export} is not an export of Label Studio; export the project again, as JSON or CSV"
        ) from None
    _warn_of_cells(labels, listing)
    files = NamedFiles(src, listing)
    left_out: Counter[str] = Counter()
    candidates = []
    for votes in _by_task(labels).values():
        found = _candidate(votes, export, files, listing.options.path_column)
        if isinstance(found, str):
            left_out[found] += 1
        else:
            candidates.append(found)
    if not candidates:
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it has no task"
        raise DatasetError(f"no task of {export} has a label ({reasons}): export a project with labels")
    source = {"kind": "label_studio", "folder": printable(src.name), "export": printable(export.name)}
    return Import(candidates, source, None, dict(left_out), listing.warning_texts())


def _warn_of_cells(labels: list[_Label], listing: Listing) -> None:
    if bad := [
        f"task {one.task} ({one.cells:g})" for one in labels if one.cells is not None and not is_count(one.cells)
    ]:
        listing.warn(f"numbers of cells that are not whole and from 1 to {MOST_CELLS} are not used: {first_few(bad)}")


def _by_task(labels: list[_Label]) -> dict[str, list[_Label]]:
    tasks: dict[str, list[_Label]] = {}
    for label in labels:
        tasks.setdefault(label.task, []).append(label)
    return tasks


def _candidate(votes: list[_Label], export: Path, files: NamedFiles, column: str) -> Candidate | str:
    """The image of a task with the class that all people chose; or why it is left out."""
    made = [vote for vote in votes if not vote.canceled and vote.choices]
    if not made:
        return "skipped" if any(vote.canceled for vote in votes) else "no_class"
    if any(len(vote.choices) > 1 for vote in made):
        return "several_classes"
    classes = {vote.choices[0] for vote in made}
    if len(classes) > 1:
        return "disputed"
    data = votes[0].data
    key, address = _address(data, column, export)
    image = _image(address, files)
    texts = {name: str(value) for name, value in data.items() if name != key and isinstance(value, str | int | float)}
    people = sorted({vote.annotator for vote in made if vote.annotator and "@" not in vote.annotator})
    return Candidate(
        image.file,
        classes.pop(),
        image.path,
        annotators=";".join(people),
        agreement="1" if len(made) > 1 else "",
        extra=survey_columns(texts) | _cells(made),
        reader=image.reader,
    )


def _cells(votes: list[_Label]) -> dict[str, str]:
    """The column of the cells that people counted, the median; none if nobody counted."""
    counted = [vote.cells for vote in votes if vote.cells is not None and is_count(vote.cells)]
    return {CELLS_COUNTED: f"{median(counted):g}"} if counted else {}


def _image(address: str, files: NamedFiles) -> SourceImage:
    """The image of an address; of an uploaded image, the file of either name."""
    path = local_path(address)
    uploaded = _UPLOAD.sub("", path)
    if uploaded != path and not files.find(path).path:
        path = uploaded
    return files.image(path, {})


def _address(data: Mapping[str, Any], column: str, export: Path) -> tuple[str, str]:
    """The key of a task's data that holds the address of its image, and the address."""
    names = (column,) if column else tuple(data)
    for name in names:
        value = data.get(name)
        if isinstance(value, str) and (column or is_image_name(urlsplit(local_path(value)).path)):
            return name, value
    raise InputError(
        f"{export}: a task has no image; its data are: {', '.join(data) or 'none'}; name the key of the image with "
        "--path-column"
    )


def local_path(address: str) -> str:
    """The path of an image in the address that Label Studio has for it: what follows ``/data/local-files/?d=``."""
    parts = urlsplit(address)
    if parts.path.endswith("/data/local-files/") or parts.path.endswith("/data/local-files"):
        return "/" + parse_qs(parts.query).get("d", [""])[0].lstrip("/")
    return unquote(parts.path) if "/data/upload/" in parts.path else address


def _json_labels(export: Path, class_column: str | None, _: Listing) -> Iterator[_Label]:
    try:
        tasks = json.loads(export.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {export}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{export} is not JSON: {first_line(error)}; export it again, as JSON") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{export} is not an export of Label Studio: it is not a list of tasks; export as JSON or CSV")
    flat = [task for task in tasks if not isinstance(task.get("data"), dict)]
    keys = list(dict.fromkeys(key for task in flat for key in task))
    column = _choice_column(keys, class_column, export) if flat else ""
    for number, task in enumerate(tasks):
        name = str(task.get("id", number))
        if isinstance(task.get("data"), dict):
            annotations = [entry for entry in task.get("annotations") or () if isinstance(entry, dict)]
            yield from (_annotation(name, task["data"], entry, class_column, export) for entry in annotations)
            if not annotations:
                yield _Label(name, task["data"], (), "")
        else:
            yield _flat(name, task, column)


def _annotation(
    name: str, data: Mapping[str, Any], annotation: Mapping[str, Any], class_column: str | None, export: Path
) -> _Label:
    """One annotation of a task of the full JSON export."""
    results = [entry for entry in annotation.get("result") or () if isinstance(entry, dict)]
    found = [entry for entry in results if entry.get("type") == "choices"]
    kinds = {str(entry.get("from_name")) for entry in found}
    if class_column is not None:
        found = [entry for entry in found if entry.get("from_name") == class_column]
    elif "class" in kinds:  # the name in projects that `pelagia label push` made, beside "unsure"
        found = [entry for entry in found if entry.get("from_name") == "class"]
    elif len(kinds) > 1:
        raise _several(export, kinds)
    choices = [str(choice) for entry in found for choice in (entry.get("value") or {}).get("choices", ())]
    by = annotation.get("completed_by")
    person = by.get("email", by.get("id", "")) if isinstance(by, dict) else "" if by is None else by
    return _Label(name, data, tuple(choices), str(person), bool(annotation.get("was_cancelled")), read_cells(results))


def _csv_labels(export: Path, class_column: str | None, listing: Listing) -> Iterator[_Label]:
    table = open_table(export, what="export", warn=listing.warn)
    column = _choice_column(table.columns, class_column, export)
    return (_flat(row.get("id") or str(number), row, column) for number, row in table.rows())


def _choice_column(keys: Collection[str], class_column: str | None, export: Path) -> str:
    """The column, or the key, of the choices in a CSV or JSON_MIN export."""
    if class_column is not None and class_column in keys:
        return class_column
    if class_column is not None:
        raise InputError(f"{export} has no column '{class_column}' (--class-column); it has: {', '.join(keys)}")
    if "annotation_id" not in keys:
        raise InputError(f"{export} is not an export of Label Studio: a task has neither data nor an annotation")
    usual = [key for key in _USUAL_NAMES if key in keys]
    if len(usual) > 1:
        raise _several(export, usual)
    if not usual:
        left = ", ".join(key for key in keys if key not in _OWN_COLUMNS)
        raise InputError(f"{export} has no column of choices; it has: {left}; name one with --class-column")
    return usual[0]


def _flat(name: str, row: Mapping[str, Any], column: str) -> _Label:
    """One row of a CSV or JSON_MIN export: the task's data, the choices and the columns of Label Studio together."""
    data = {key: value for key, value in row.items() if key not in _OWN_COLUMNS and key != column}
    return _Label(name, data, _choices(row.get(column)), str(row.get("annotator", "")))


def _choices(value: Any) -> tuple[str, ...]:
    """The choices in a cell: one name, or ``{"choices": [...]}`` if there are several.

    A choice may be named ``None`` or ``NA``: only an empty cell is no choice.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return (value,)
    if isinstance(value, dict):
        value = value.get("choices", [])
    if isinstance(value, list):
        return tuple(map(str, value))
    text = "" if value is None else str(value).strip()
    return (text,) if text else ()


def _several(export: Path, kinds: set[str] | list[str]) -> InputError:
    listed = ", ".join(sorted(kinds))
    return InputError(f"{export} has several kinds of choices ({listed}): name one with --class-column")
