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
    ranks, parents, ids = _Found("rank"), _Found("parent"), _Found("AphiaID")
    taxa: dict[str, None] = {}
    classes: dict[str, str] = {}
    faults: list[str] = []
    for line, row in _rows(path, warn):
        name, taxon = row["class"], row["taxon"]
        if name in classes:
            faults.append(f"line {line}: the class '{name}' has two rows: remove one")
        elif name:
            classes[name] = taxon
        if not taxon:
            faults += [f"line {line}: it has neither a class nor a taxon"] * (not name)
            continue
        lineage = [*_above(row, taxon), taxon]
        taxa |= dict.fromkeys(lineage)
        for higher, lower in pairwise(lineage):
            parents.add(lower, higher, line)
        for found, column in ((ranks, "rank"), (ids, "aphia_id")):
            if row[column]:
                found.add(taxon, row[column], line)
    faults += [*ranks.faults, *parents.faults, *ids.faults, *_wrong_ids(ids)]
    if not classes:
        faults.append("no row has a class")
    if faults:
        raise ConfigError(str(path), faults)
    plain = taxonomy_of_names(path.stem, classes)
    document = {
        "name": plain.name,
        "taxa": [_taxon(name, ranks, parents, ids).model_dump() for name in taxa],
        "classes": [one.model_dump() | {"taxon": classes[one.name] or None} for one in plain.classes],
    }
    return validate(document, Taxonomy, str(path))


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


def _taxon(name: str, ranks: _Found, parents: _Found, ids: _Found) -> Taxon:
    return Taxon(
        name=name,
        rank=ranks.values[name][0] if name in ranks.values else UNRANKED,
        parent=parents.values[name][0] if name in parents.values else None,
        aphia_id=_whole(ids.values[name][0]) if name in ids.values else None,
    )
