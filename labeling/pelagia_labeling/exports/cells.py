"""Cells of an image by class, measured on the images of a dataset that people counted: `pelagia dataset cells`.

Invariant: only counted images enter the mean and the spread. A class that nobody counted is not in the table, and a
class with one counted image has no spread. `pelagia counts --cells` reads the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.dataset.label_columns import CELLS_COUNTED, MOST_CELLS
from pelagia.dataset.schema import Dataset
from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.system.tables import Cell, write_table
from pelagia.tables.values import is_missing, number
from pelagia_inference.counts.cells import Moments

FEW_IMAGES = 10
"""With fewer counted images than this, the spread of a class is uncertain, and a line says so."""
HEADER = ("class", "cells", "sd", "images")


@dataclass(frozen=True)
class ClassCells:
    """The cells of the images of a class: its images in the dataset, and the moments of those that were counted."""

    name: str
    images: int
    counted: Moments


@dataclass(frozen=True)
class DatasetCells:
    """The cells of a dataset's images.

    Attributes:
        classes: the classes with images, in the order of the taxonomy.
        refused: images with a number that cannot be one of cells, and the number.
    """

    classes: Sequence[ClassCells]
    refused: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[ClassCells]:
        """The classes with counted images: the rows of the table."""
        return [one for one in self.classes if one.counted.count]

    def rows(self) -> Iterator[list[Cell]]:
        """The rows of the table, as in `HEADER`; the spread is empty for one image."""
        for one in self.counted:
            moments = one.counted
            spread = _rounded(moments.deviation) if moments.count > 1 else None
            yield [one.name, _rounded(moments.mean), spread, moments.count]

    def lines(self) -> Iterator[str]:
        """What a user must know of the numbers, one sentence each."""
        if self.refused:
            yield (
                f"{len(self.refused)} numbers are not used, because they are not from 1 to {MOST_CELLS}: "
                f"{first_few(self.refused)}"
            )
        if missing := [one.name for one in self.classes if not one.counted.count]:
            yield f"no image was counted of {first_few(missing)}: not in the table"
        part = [
            f"{one.name} ({one.counted.count} of {one.images})"
            for one in self.counted
            if one.counted.count < one.images
        ]
        if part:
            yield (
                f"not all images were counted of {first_few(part)}: their numbers are right only if these images were "
                "not chosen by how many cells they show"
            )
        if few := [f"{one.name} ({one.counted.count})" for one in self.counted if one.counted.count < FEW_IMAGES]:
            yield (
                f"fewer than {FEW_IMAGES} images were counted of {first_few(few)}: the spread is uncertain, and one "
                "image has none"
            )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def cells_by_class(dataset: Dataset, column: str = CELLS_COUNTED) -> DatasetCells:
    """The cells of the images of each class.

    Args:
        dataset: the dataset.
        column: the column of its manifest with the cells of an image.

    Raises:
        InputError: the dataset has no such column, or no number in it.
    """
    columns = {name for record in dataset.records for name in record.extra}
    if column not in columns:
        hint = did_you_mean(column, columns)
        raise InputError(
            f"{dataset.root} has no column '{column}'{hint}: let people count cells (`pelagia label push "
            f"--count-cells`), or name a column with --column; it has: {', '.join(sorted(columns)) or 'none'}"
        )
    images = dict.fromkeys(dataset.class_names, 0)
    moments = {name: Moments() for name in dataset.class_names}
    refused = []
    for record in dataset.records:
        images[record.class_name] += 1
        text = record.extra.get(column, "")
        cells = number(text)
        if cells is not None and 1 <= cells <= MOST_CELLS:
            moments[record.class_name].add(cells)
        elif not is_missing(text):
            refused.append(f"{record.path} ({text})")
    found = [ClassCells(name, images[name], moments[name]) for name in dataset.class_names if images[name]]
    if not any(one.counted.count for one in found):
        raise InputError(
            f"no image of {dataset.root} has a number of cells in the column '{column}': let people count cells "
            "(`pelagia label push --count-cells`), or name another column with --column"
        )
    return DatasetCells(found, refused)


def write_cells(cells: DatasetCells, out: Path) -> None:
    """Writes the table that `pelagia counts --cells` reads, as CSV. It is complete or absent."""
    write_table(out, HEADER, cells.rows(), guard_formulas=False)
