"""Labels of people for the images of a survey: from a dataset or a table, matched by SHA-256, else by path.

Invariant: a label is for the bytes that a person saw. A label with a SHA-256 is used only for images with the same
bytes; one without is used for the image with its path. Labels that contradict each other are not used, and counted.
The cells that people counted come along, in a table of their own: an empty cell is no count and replaces none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pelagia.dataset.label_columns import CELLS_COUNTED, MOST_CELLS
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.survey.additions import Confirmed, CountedCells, add_confirmed, add_counted_cells
from pelagia.survey.journal import Survey
from pelagia.survey.model_card import names_of_model
from pelagia.tables.reader import open_table
from pelagia.tables.values import find_column, is_missing, number

_CLASS = ("class", "label", "taxon")
_PEOPLE = ("people", "annotators", "annotator", "identifiedBy")
_CELLS = (CELLS_COUNTED, "cells")
_TIME = ("made_at", "dateIdentified")


@dataclass(frozen=True, slots=True)
class Label:
    """A label that people gave: the class, who gave it and when; empty where it is not known.

    ``cells``: the number of cells that they counted; None: they did not.
    """

    class_name: str
    people: str = ""
    made_at: str = ""
    cells: float | None = None


@dataclass
class Labels:
    """Labels to confirm.

    Attributes:
        source: where they come from.
        by_sha256, by_path: the labels of images, by their bytes and by their names. None: labels that contradict.
        named: path -> SHA-256, of labels that have both.
        rows: number of labels that were read.
        no_class: rows without a class.
        no_cells: images (or rows) with a number of cells that cannot be used, and the number.
        cells_differ: images whose rows have several numbers of cells.
    """

    source: str
    by_sha256: dict[str, Label | None] = field(default_factory=dict)
    by_path: dict[str, Label | None] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    no_class: int = 0
    no_cells: list[str] = field(default_factory=list)
    cells_differ: set[str] = field(default_factory=set)

    def add(self, sha256: str, path: str, label: Label) -> None:
        """Adds a label. A second one of another class, or with other cells, for the same image makes both unusable."""
        self.rows += 1
        if sha256 and path:
            self.named[path] = sha256.lower()
        table, key = (self.by_sha256, sha256.lower()) if sha256 else (self.by_path, path)
        before = table.setdefault(key, label)
        if before is None or before.class_name != label.class_name:
            table[key] = None
        elif label.cells is not None and before.cells not in (None, label.cells):
            self.cells_differ.add(key)
        elif label.cells is not None:
            table[key] = replace(before, cells=label.cells)

    def cells_of(self, text: str, where: str) -> float | None:
        """The number of cells in a text, from 1 to `MOST_CELLS`; None, and remembered, if it cannot be used."""
        cells = number(text)
        if cells is not None and 1 <= cells <= MOST_CELLS:
            return cells
        if not is_missing(text):
            self.no_cells.append(f"{where} ({text})")
        return None


@dataclass(frozen=True)
class Result:
    """What was confirmed: class -> images; and numbers of labels and images, in words by `lines`.

    Attributes:
        strange: names that are no classes and no taxa of the model, each with the class that may be meant.
        first_contradicting: the path of the first image with labels of several classes.
        other_bytes: SHA-256 of labels that were not used -> the image of the survey that has their path, and other
            bytes.
    """

    by_class: Counter[str]
    labels: Labels
    images: int
    used: int
    contradicting: int
    replaced: int
    strange: tuple[str, ...] = ()
    first_contradicting: str = ""
    cells: int = 0
    other_bytes: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """What was done, and what was left out, one sentence each."""
        confirmed = self.by_class.total()
        yield f"{confirmed} of {self.images} images of the survey have a label of people from {self.labels.source}"
        if self.replaced:
            yield f"{self.replaced} of them had another class from people before; it was replaced"
        if self.contradicting:
            yield (
                f"{self.contradicting} images have labels of several classes in it, the first is "
                f"{self.first_contradicting}: none of them was used"
            )
        known = len(self.labels.by_sha256) + len(self.labels.by_path)
        if others := list(self.other_bytes.values()):
            yield (
                f"{len(others)} of its {known} labeled images have the path of an image of the survey, but other bytes "
                f"(SHA-256): {first_few(others, 3)}; they were not used. Were the files changed, or is it another "
                "survey?"
            )
        if unused := known - self.used - len(others):
            yield f"{unused} of its {known} labeled images are not in the survey (by SHA-256, else by path)"
        if self.labels.no_class:
            yield f"{self.labels.no_class} of its rows have no class"
        if self.strange:
            yield (
                f"no class of the model is named {first_few(self.strange)}: each counts as a class of its own; if that "
                "is not meant, correct the names and confirm again"
            )
        if self.cells:
            yield f"people counted the cells of {self.cells} of these images: `pelagia counts` uses their numbers"
        if several := self.labels.cells_differ:
            yield f"{len(several)} images have several numbers of cells in it: none of them was used"
        if bad := self.labels.no_cells:
            why = f"because they are not from 1 to {MOST_CELLS}"
            yield f"{len(bad)} numbers of cells were not used, {why}: {first_few(bad)}"


def read_labels(source: Path, people: str = "") -> Labels:
    """Reads labels from a dataset folder, or from a table with a class, and a path or a SHA-256.

    Args:
        source: the folder or the table.
        people: who gave the labels, where the source does not say it.

    Raises:
        DatasetError: the folder is not a dataset.
        InputError: the table is missing, or lacks one of these columns.
    """
    labels = Labels(str(source))
    if source.is_dir():
        dataset = Dataset.read(source)
        labels.source = f"{dataset.meta.name} {dataset.meta.fingerprint[:12]}"
        for record in dataset.records:
            counted = labels.cells_of(record.extra.get(CELLS_COUNTED, ""), record.path)
            named = Label(record.class_name, record.annotators or people, dataset.meta.created, counted)
            labels.add(record.sha256, record.source or record.path, named)
        return labels
    table = open_table(source, what="table of labels", known=("path", "sha256", "class"))
    columns = {name: find_column(table.columns, names, str(source), "") for name, names in _NAMES.items()}
    if columns["class"] is None or not (columns["path"] or columns["sha256"]):
        raise InputError(
            f"{source}: labels need a column class, and a column path or sha256; it has {', '.join(table.columns)}"
        )
    for line, row in table.rows():
        cells = {name: row[column].strip() if column else "" for name, column in columns.items()}
        if is_missing(cells["class"]):
            labels.no_class += 1
        else:
            counted = labels.cells_of(cells["cells"], f"line {line}")
            named = Label(cells["class"], cells["people"] or people, cells["made_at"], counted)
            labels.add("" if is_missing(cells["sha256"]) else cells["sha256"], cells["path"], named)
    return labels


_NAMES = {
    "class": _CLASS,
    "path": ("path",),
    "sha256": ("sha256",),
    "people": _PEOPLE,
    "made_at": _TIME,
    "cells": _CELLS,
}


def confirm(survey: Survey, labels: Labels, *, dry_run: bool = False) -> Result:
    """Writes labels of people into a survey; a later label replaces an earlier one.

    Args:
        survey: a survey that is open to add.
        labels: the labels.
        dry_run: write nothing.

    Raises:
        SurveyError: the journal cannot be read or written.
    """
    by_class: Counter[str] = Counter()
    used: set[tuple[str, str]] = set()
    images, contradicting, replaced, first_contradicting = 0, 0, 0, ""
    before = dict(survey.read("SELECT path, class FROM confirmed")) if survey.has_table("confirmed") else {}
    found: list[Confirmed] = []
    counted: list[CountedCells] = []
    for row in survey:
        images += 1
        kind, key = ("sha256", row.sha256) if row.sha256 in labels.by_sha256 else ("path", row.path)
        table = labels.by_sha256 if kind == "sha256" else labels.by_path
        if key not in table:
            continue
        used.add((kind, key))
        label = table[key]
        if label is None:
            first_contradicting = first_contradicting or row.path
            contradicting += 1
            continue
        by_class[label.class_name] += 1
        replaced += before.get(row.path, label.class_name) != label.class_name
        found.append(Confirmed(row.path, label.class_name, label.people, label.made_at, labels.source))
        if label.cells is not None and key not in labels.cells_differ:
            counted.append(CountedCells(row.path, label.cells, label.people, labels.source))
    if not dry_run:
        add_confirmed(survey, found)
        add_counted_cells(survey, counted)
    strange, cells, other = tuple(_strange(survey, by_class)), len(counted), _other_bytes(survey, labels, used)
    numbers = images, len(used), contradicting, replaced
    return Result(by_class, labels, *numbers, strange, first_contradicting, cells, other)


def _other_bytes(survey: Survey, labels: Labels, used: set[tuple[str, str]]) -> dict[str, str]:
    """SHA-256 of labels that were not used -> the image of the survey that has their path, and other bytes."""
    found = {}
    for path, own in survey.read("SELECT path, sha256 FROM images WHERE sha256 != '' ORDER BY path"):
        given = labels.named.get(path, own)
        if given != own and ("sha256", given) not in used:
            found[given] = path
    return found


def _strange(survey: Survey, names: Iterable[str]) -> Iterator[str]:
    """The names that are no classes and no taxa of the model, sorted, each with the class that may be meant."""
    for name in sorted({*names} - names_of_model(survey)):
        alike = [one for one in survey.classes if one.casefold() == name.casefold()]
        yield f"'{name}' (did you mean '{alike[0]}'?)" if alike else f"'{name}'{did_you_mean(name, survey.classes)}"
