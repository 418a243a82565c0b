"""A taxonomy from a table with a row for each class.

| column | what |
| --- | --- |
| ``class`` | the name of the class; empty in a row that only describes a taxon |
| ``scientificName`` | its taxon; empty if it is not an organism |
| ``taxonRank``, ``rank`` | the rank of the taxon; ``unranked`` if it is not given |
| ``parent`` | the next taxon above |
| ``lineage`` | instead of ``parent``: all taxa above, from the root down, with ``>``, ``;`` or a bar between them |
| ``aphia_id`` | its AphiaID in WoRMS |

Names of columns are compared without case, spaces and signs. One message lists all faults of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pelagia.config import validate
from pelagia.errors import ConfigError, InputError
from pelagia.lineages import UNRANKED
from pelagia.tables.reader import open_table
from pelagia.tables.values import is_missing, plain_name
from pelagia.taxonomy import Taxon, Taxonomy, taxonomy_of_names

COLUMNS = {
    "class": ("class", "class_name", "label"),
    "taxon": ("scientificName", "scientific name", "taxon"),
    "rank": ("taxonRank", "rank"),
    "parent": ("parent",),
    "lineage": ("lineage", "object_annotation_hierarchy"),
    "aphia_id": ("aphia_id", "AphiaID"),
}
"""What a column holds -> its names; the first is the one to use."""
_BETWEEN = re.compile(r"[>;|]")


@dataclass
class _Found:
    """What a table says of one thing of each taxon: the value, and the line that gave it."""

    what: str
    values: dict[str, tuple[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, taxon: str, value: str, line: int) -> None:
        known, first = self.values.setdefault(taxon, (value, line))
        if known != value:
            self.faults.append(
                f"line {line}: the {self.what} of '{taxon}' is '{value}', but '{known}' in line {first}: correct one"
            )


def taxonomy_of_table(path: Path, warn: Callable[[str], None] = lambda text: None) -> Taxonomy:
    """The taxonomy that a table describes. Its name is that of the file.

    Args:
        path: the table: CSV, TSV, Excel or Parquet.
        warn: called with a sentence for each thing that was assumed.

    Raises:
        InputError: the table cannot be read, or has no column with classes.
        ConfigError: rows contradict each other or hold something wrong; the message lists all faults.
    """
    found = _Table()
    for line, row in _rows(path, warn):
        found.add(line, row)
    faults = found.all_faults()
    if faults:
        raise ConfigError(str(path), faults)
    plain = taxonomy_of_names(path.stem, found.classes)
    document = {
        "name": plain.name,
        "taxa": [found.taxon(name).model_dump() for name in found.taxa],
        "classes": [one.model_dump() | {"taxon": found.classes[one.name] or None} for one in plain.classes],
    }
    return validate(document, Taxonomy, str(path))


class _Table:
    """What the rows of a table say: ``taxa`` in their order, and class -> taxon, empty if it is not an organism."""

    def __init__(self) -> None:
        self.taxa: dict[str, None] = {}
        self.classes: dict[str, str] = {}
        self._ranks, self._parents, self._ids = _Found("rank"), _Found("parent"), _Found("AphiaID")
        self._faults: list[str] = []

    def add(self, line: int, row: dict[str, str]) -> None:
        name, taxon = row["class"], row["taxon"]
        if name in self.classes:
            self._faults.append(f"line {line}: the class '{name}' has two rows: remove one")
        elif name:
            self.classes[name] = taxon
        if not taxon:
            self._faults += [f"line {line}: it has neither a class nor a taxon"] * (not name)
            return
        lineage = [*_above(row, taxon), taxon]
        self.taxa |= dict.fromkeys(lineage)
        for higher, lower in pairwise(lineage):
            self._parents.add(lower, higher, line)
        for found, column in ((self._ranks, "rank"), (self._ids, "aphia_id")):
            if row[column]:
                found.add(taxon, row[column], line)

    def all_faults(self) -> list[str]:
        faults = [*self._faults, *self._ranks.faults, *self._parents.faults, *self._ids.faults, *_wrong_ids(self._ids)]
        return faults if self.classes else [*faults, "no row has a class"]

    def taxon(self, name: str) -> Taxon:
        ranks, parents, ids = self._ranks.values, self._parents.values, self._ids.values
        return Taxon(
            name=name,
            rank=ranks[name][0] if name in ranks else UNRANKED,
            parent=parents[name][0] if name in parents else None,
            aphia_id=_whole(ids[name][0]) if name in ids else None,
        )


def _rows(path: Path, warn: Callable[[str], None]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line of each row, and what it holds, by the keys of `COLUMNS`."""
    known = {plain_name(name) for names in COLUMNS.values() for name in names}
    table = open_table(path, what="table of classes", warn=warn, known=known)
    plain = {plain_name(column): column for column in table.columns}
    columns = {
        key: next((plain[plain_name(name)] for name in names if plain_name(name) in plain), "")
        for key, names in COLUMNS.items()
    }
    for key in ("class", "taxon"):
        if not columns[key]:
            raise InputError(
                f"{path} has no column '{COLUMNS[key][0]}': it needs the columns class and scientificName, and may "
                "have taxonRank, parent or lineage, and aphia_id"
            )
    for line, row in table.rows():
        cells = {key: row.get(column, "").strip() if column else "" for key, column in columns.items()}
        yield line, {key: "" if is_missing(text) else text for key, text in cells.items()}


def _above(row: dict[str, str], taxon: str) -> list[str]:
    """The taxa above, from the root down."""
    if not row["lineage"]:
        return [row["parent"]] if row["parent"] else []
    names = [name for part in _BETWEEN.split(row["lineage"]) if (name := part.strip())]
    return names[:-1] if names and names[-1] == taxon else names


def _wrong_ids(ids: _Found) -> Iterator[str]:
    for taxon, (text, line) in ids.values.items():
        if not _whole(text):
            yield f"line {line}: the AphiaID of '{taxon}' is '{text}', not a whole number above 0"


def _whole(text: str) -> int:
    """A whole number above 0, which Excel may have written as ``1080.0``; 0 if it is none."""
    digits = text.removesuffix(".0")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
