"""A table of who named which class for which image: the input of everything in this folder.

Invariant: any overlap of annotators works: an image may have one rating or a hundred. The first rating of a person for
an image is the one that is compared with other people; later ratings of the same person for the same image are repeats,
which measure the person's agreement with themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError, did_you_mean
from pelagia.tables.reader import is_missing, open_table

Codes = NDArray[np.int64]
Real = NDArray[np.float64]

ITEM_COLUMNS = ("item", "image", "path", "file", "sha256")
ANNOTATOR_COLUMNS = ("annotator", "person", "rater", "account")
CLASS_COLUMNS = ("class", "label")


@dataclass(frozen=True, slots=True)
class Rating:
    """One person's class for one image.

    Attributes:
        item: what identifies the image.
        annotator: the person.
        class_name: the class that the person named.
        group: the sample or station of the image; empty: the image is its own group.
        made_at: when it was made, ISO 8601; empty if that is not known.
    """

    item: str
    annotator: str
    class_name: str
    group: str = ""
    made_at: str = ""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Two ratings of one image by one person: index of the image and of the annotator, the codes of both classes."""

    item: int
    annotator: int
    first: int
    second: int
    first_at: str = ""
    second_at: str = ""


@dataclass(frozen=True)
class Ratings:
    """All ratings, as numbers.

    Attributes:
        items: the images, in the order of their first rating.
        annotators: the people, sorted.
        classes: the classes, in the order of the taxonomy if there is one.
        codes: int64, items x annotators: the index of the class that the person named first; -1: the person did not
            name a class.
        groups: int64, items: the index of the group of each image.
        repeats: further ratings of an image by the same person.
    """

    items: tuple[str, ...]
    annotators: tuple[str, ...]
    classes: tuple[str, ...]
    codes: Codes
    groups: Codes
    repeats: tuple[Repeat, ...] = ()

    @cached_property
    def counts(self) -> Real:
        """Number of people who named each class: float64, items x classes."""
        return counts_of(self.codes, len(self.classes))


def counts_of(codes: Codes, classes: int) -> Real:
    """Number of times that each class is in each row of ``codes``: float64, rows x classes."""
    rows, columns = np.nonzero(codes >= 0)
    counts = np.zeros((len(codes), classes))
    np.add.at(counts, (rows, codes[rows, columns]), 1.0)
    return counts


def tabulate(ratings: Iterable[Rating], class_names: Iterable[str] = ()) -> Ratings:
    """The ratings as numbers.

    Args:
        ratings: in the order of time, so that a person's first rating of an image comes first.
        class_names: the classes of the taxonomy, in their order; classes that only the ratings have follow, sorted.
    """
    found = list(ratings)
    known = list(dict.fromkeys(class_names))
    known += sorted({rating.class_name for rating in found} - set(known))
    classes = {name: code for code, name in enumerate(known)}
    items = {name: row for row, name in enumerate(dict.fromkeys(rating.item for rating in found))}
    annotators = {name: column for column, name in enumerate(sorted({rating.annotator for rating in found}))}
    codes = np.full((len(items), len(annotators)), -1, np.int64)
    first_at: dict[tuple[int, int], str] = {}
    group_names = [""] * len(items)
    repeats = []
    for rating in found:
        row, column, code = items[rating.item], annotators[rating.annotator], classes[rating.class_name]
        group_names[row] = group_names[row] or rating.group
        if codes[row, column] < 0:
            codes[row, column] = code
            first_at[row, column] = rating.made_at
        else:
            first = int(codes[row, column])
            repeats.append(Repeat(row, column, first, code, first_at[row, column], rating.made_at))
    return Ratings(
        tuple(items), tuple(annotators), tuple(known), codes, group_numbers(group_names, tuple(items)), tuple(repeats)
    )


def group_numbers(names: Iterable[str], items: Iterable[str]) -> Codes:
    """The index of the group of each image: int64; an image without the name of a group is its own group."""
    keys = [("group", name) if name else ("item", item) for name, item in zip(names, items, strict=True)]
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def read_ratings(path: Path, group_column: str = "") -> tuple[list[Rating], int]:
    """The ratings of a table with one row per rating, and the number of rows without a class.

    The columns are the first of `ITEM_COLUMNS`, `ANNOTATOR_COLUMNS` and `CLASS_COLUMNS` that the table has. Two rows
    with the same image and person are a repeat; the upper row is the first look.

    Args:
        path: a table that `pelagia.tables` reads: CSV, TSV, Excel, Parquet.
        group_column: the column of the sample or station; empty: each image is its own group.

    Raises:
        InputError: the table cannot be read, or lacks a column; a row has no image or no person.
    """
    table = open_table(path, what="table of ratings", known=(*ITEM_COLUMNS, *ANNOTATOR_COLUMNS, *CLASS_COLUMNS))
    item, annotator, class_name = (
        _column(table.columns, names, path) for names in (ITEM_COLUMNS, ANNOTATOR_COLUMNS, CLASS_COLUMNS)
    )
    if group_column and group_column not in table.columns:
        hint = did_you_mean(group_column, table.columns)
        raise InputError(f"{path} has no column '{group_column}'{hint}; it has: {', '.join(table.columns)}")
    ratings, without = [], 0
    for line, row in table.rows():
        if is_missing(row[item]) or is_missing(row[annotator]):
            empty = item if is_missing(row[item]) else annotator
            raise InputError(f"{path}, line {line}: the column '{empty}' is empty: fill it in, or remove the row")
        if is_missing(row[class_name]):
            without += 1
            continue
        group = row[group_column].strip() if group_column else ""
        ratings.append(Rating(row[item].strip(), row[annotator].strip(), row[class_name].strip(), group))
    return ratings, without


def _column(columns: Iterable[str], names: tuple[str, ...], path: Path) -> str:
    plain: Mapping[str, Any] = {column.strip().lower(): column for column in columns}
    found = next((str(plain[name]) for name in names if name in plain), None)
    if found is None:
        raise InputError(
            f"{path} needs one row per rating with the columns item, annotator and class: it has none of "
            f"{', '.join(names)}; its columns are: {', '.join(columns)}"
        )
    return found
