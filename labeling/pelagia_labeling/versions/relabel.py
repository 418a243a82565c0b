"""`pelagia dataset relabel` and `rename-class`: new versions of a dataset in which only labels or names differ.

Invariant: images, groups and splits stay the same. The labels are put in by `pelagia_labeling.importers.corrections`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.config import validate
from pelagia.dataset.schema import Dataset, Record
from pelagia.dataset.soft_labels import SOFT_LABEL, renamed_soft_label
from pelagia.errors import DatasetError, InputError, did_you_mean, first_few
from pelagia.tables.reader import Table, is_missing, open_table
from pelagia.tables.values import find_column
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.importers.corrections import Label, label_of, write_relabeled

_IMAGE_COLUMNS, _CLASS_COLUMNS, _PEOPLE_COLUMNS = ("sha256", "path"), ("class", "label"), ("annotators", "annotator")
_SHORTEST = 8


@dataclass(frozen=True)
class Relabeling:
    """A new version with other labels.

    Attributes:
        dataset: the new version.
        changed: (path, class before, class after) for each image whose label changed.
        confirmed: number of images of the table that had its class already.
    """

    dataset: Dataset
    changed: tuple[tuple[str, str, str], ...]
    confirmed: int


def relabel(
    dataset: Dataset, labels: Path, out: Path, progress: Callable[[int], None] = lambda count: None
) -> Relabeling:
    """Makes the dataset ``out``: ``dataset`` with the classes that a table gives to some of its images.

    Args:
        dataset: the dataset.
        labels: a table with the columns ``path`` or ``sha256``, ``class`` and, if it is known, ``annotators``.
        out: the dataset folder to make.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists, or the table cannot be read or lacks a column.
        DatasetError: the table has an image or a class that the dataset lacks, or two classes for one image.
    """
    wanted = _read_labels(dataset, labels)
    of_image = {record.sha256: record for record in dataset.records}
    changed = [
        (of_image[sha256].path, of_image[sha256].class_name, label.class_name)
        for sha256, label in wanted.items()
        if of_image[sha256].class_name != label.class_name
    ]
    names = {path for path, _, _ in changed}
    new = {sha256: label for sha256, label in wanted.items() if of_image[sha256].path in names}
    made = write_relabeled(dataset, new, out, {"kind": "relabel", "labels": labels.name}, progress=progress)
    return Relabeling(made, tuple(changed), len(wanted) - len(changed))


def _read_labels(dataset: Dataset, file: Path) -> dict[str, Label]:
    """SHA-256 -> label, from the table; every fault of the table is in one message."""
    table = open_table(file, what="table of labels")
    image_column, class_column = _columns(table, file)
    people = find_column(table.columns, _PEOPLE_COLUMNS, str(file), "the table")
    find = _finder(dataset, by_hash=image_column.lower() == "sha256")
    found: dict[str, set[Label]] = defaultdict(set)
    unknown: list[str] = []
    classes: Counter[str] = Counter()
    for _, row in table.rows():
        name, class_name = row[image_column].strip(), row[class_column].strip()
        record = find(name)
        if record is None:
            unknown.append(name)
        elif class_name not in dataset.class_names:
            classes[class_name if not is_missing(class_name) else "(empty)"] += 1
        else:
            found[record.sha256].add(Label(class_name, row.get(people or "", "").strip()))
    two = [sha256[:12] for sha256, labels in found.items() if len({label.class_name for label in labels}) > 1]
    faults = _faults(dataset, unknown, classes, two)
    if faults or not found:
        raise DatasetError(f"{file} cannot be used: {'; '.join(faults) or 'it has no row'}")
    return {sha256: sorted(labels)[0] for sha256, labels in found.items()}


def _columns(table: Table, file: Path) -> tuple[str, str]:
    image = find_column(table.columns, _IMAGE_COLUMNS, str(file), "the table")
    label = find_column(table.columns, _CLASS_COLUMNS, str(file), "the table")
    if image is None or label is None:
        raise InputError(
            f"{file} needs the columns path (or sha256) and class; it has: {', '.join(table.columns)}; rename its "
            "columns"
        )
    return image, label


def _finder(dataset: Dataset, *, by_hash: bool) -> Callable[[str], Record | None]:
    """A function that finds the row of an image by its path in the dataset, its source or its SHA-256."""
    names: dict[str, list[Record]] = defaultdict(list)
    for record in dataset.records:
        for name in {record.sha256} if by_hash else {record.path, record.source}:
            names[name].append(record)

    def find(name: str) -> Record | None:
        found = names.get(name.lower() if by_hash else name, [])
        return found[0] if len(found) == 1 else None

    return find


def _faults(dataset: Dataset, unknown: Sequence[str], classes: Mapping[str, int], two: Sequence[str]) -> list[str]:
    faults = []
    if unknown:
        faults.append(
            f"{len(unknown)} images are not in {dataset.root}, or their name is that of several: {first_few(unknown)}"
        )
    if classes:
        listed = first_few(f"'{name}'{did_you_mean(name, dataset.class_names)}" for name in classes)
        faults.append(f"the dataset has no class {listed}; `pelagia dataset show` lists its classes")
    if two:
        faults.append(f"{len(two)} images have two classes in the table: {first_few(two)}")
    return faults


def find_record(records: Sequence[Record], name: str) -> Record | None:
    """The row of an image by its path, the end of its source, or the beginning of its SHA-256 (8 digits or more).

    Raises:
        InputError: the name fits several images.
    """
    found = [one for one in records if name in (one.path, one.source, one.sha256)]
    found = found or [one for one in records if len(name) >= _SHORTEST and one.sha256.startswith(name.lower())]
    found = found or [one for one in records if one.path.endswith(f"/{name}") or one.source.endswith(f"/{name}")]
    if len({one.sha256 for one in found}) > 1:
        raise InputError(f"'{name}' is the name of {len(found)} images, such as {found[0].path} and {found[1].path}")
    return found[0] if found else None


def rename_class(
    dataset: Dataset,
    old: str,
    new: str,
    out: Path,
    *,
    merge: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Dataset:
    """Makes the dataset ``out``: ``dataset`` with another name of a class.

    Args:
        dataset: the dataset.
        old: the class.
        new: its new name.
        out: the dataset folder to make.
        merge: whether ``new`` may be a class that exists; its images and those of ``old`` are then one class.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists, there is no class ``old``, or ``new`` cannot be the name.
    """
    taxonomy = renamed_taxonomy(dataset.meta.taxonomy, old, new, merge=merge, where=str(dataset.root))
    labels = {
        record.sha256: _renamed(label, lambda name: new if name == old else name)
        for record in dataset.records
        if (label := label_of(record)).class_name == old or SOFT_LABEL in dict(label.columns)
    }
    source = {"kind": "rename_class", "from": old, "to": new}
    return write_relabeled(dataset, labels, out, source, taxonomy=taxonomy, progress=progress)


def _renamed(label: Label, rename: Callable[[str], str]) -> Label:
    name = rename(label.class_name)
    columns = dict(label.columns)
    if soft := columns.get(SOFT_LABEL):
        columns[SOFT_LABEL] = renamed_soft_label(soft, name, rename)
    return label._replace(class_name=name, columns=tuple(columns.items()))


def renamed_taxonomy(taxonomy: Taxonomy, old: str, new: str, *, merge: bool, where: str) -> Taxonomy:
    """The taxonomy with another name of a class; without the class ``old`` if it is merged into ``new``.

    Args:
        where: what the taxonomy belongs to, for messages.

    Raises:
        InputError: there is no class ``old``, or ``new`` exists and ``merge`` is not set, or cannot be a class.
    """
    if old not in taxonomy.names:
        listed = first_few(taxonomy.names, 20)
        raise InputError(f"{where} has no class '{old}'{did_you_mean(old, taxonomy.names)}; it has: {listed}")
    if old == new:
        raise InputError(f"the class '{old}' has this name already: name another one")
    if new in taxonomy.names:
        if not merge:
            raise InputError(
                f"{where} has a class '{new}' already: choose another name, or add --merge to make both one class"
            )
        return taxonomy.restricted_to(name for name in taxonomy.names if name != old)
    document = taxonomy.model_dump()
    for entry in document["classes"]:
        if entry["name"] == old:
            entry["name"] = new
            entry["title"] = None if entry["title"] == old else entry["title"]
    return validate(document, Taxonomy, f"the class '{new}'")
