"""Reads EcoTaxa tables: the rows of objects, with the columns of EcoTaxa in lower case.

Invariant: this module alone knows which rows of a table are objects, and which image of an object counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pelagia.errors import InputError, did_you_mean, first_few
from pelagia.sources.ecotaxa.columns import Columns
from pelagia.sources.ecotaxa.numbers import number_of
from pelagia.sources.ecotaxa.ranks import Ranked, lowest_ranks
from pelagia.sources.image import SourceImage
from pelagia.sources.listing import Listing
from pelagia.tables.reader import Table, is_missing

FILE_COLUMN = "img_file_name"
_RANK_COLUMN = "img_rank"
_TYPES = ("[t]", "[f]")
_KEY = ("sample_id", "acq_id", "object_id")
_TABLE = re.compile(r"(?:^|/)ecotaxa[^/]*\.(?:tsv|txt)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Object:
    """One image of an export.

    Attributes:
        image: the image, with columns under Pelagia's names.
        row: the values of its row in the table, by EcoTaxa's column in lower case.
        table: the path of its table below the export.
    """

    image: SourceImage
    row: Mapping[str, str]
    table: str


@dataclass(frozen=True)
class Options:
    """What a caller needs from the tables of an export.

    Attributes:
        required: columns that each table must have, in lower case.
        group: the column of groups, in lower case, which each table must have too; empty for none.
        everything: as in `Columns`.
    """

    required: Sequence[str] = ()
    group: str = ""
    everything: bool = False


FOR_SURVEY = Options()


def is_table_name(path: str) -> bool:
    """Whether a path, with forward slashes, ends in the name of an EcoTaxa table: ``ecotaxa*.tsv`` or ``.txt``."""
    return _TABLE.search(path) is not None


def is_text_name(path: str) -> bool:
    """Whether a table ends in ``.txt``: then its columns decide whether it is a table of EcoTaxa."""
    return path.lower().endswith(".txt")


def lower(columns: Sequence[str]) -> list[str]:
    """The names of columns as EcoTaxa reads them: in lower case, without the spaces around them."""
    return [name.strip().lower() for name in columns]


def read_rows(
    table: Table, place: str, listing: Listing, options: Options
) -> Iterator[tuple[str, dict[str, str], Mapping[str, str]]]:
    """Yields (name of the image, columns under Pelagia's names, columns of EcoTaxa) for each object.

    Rows without the name of an image, and images of a higher rank than another image of their object, are left out and
    counted.

    Args:
        table: the table, as `pelagia.tables.reader` opened it.
        place: the path of the table, for messages.
        listing: gets the counts and the warnings.
        options: what the caller needs.

    Raises:
        InputError: the table lacks a column or is damaged.
    """
    header = lower(table.columns)
    for column in (FILE_COLUMN, *options.required):
        if column not in header:
            meant = did_you_mean(column, header)
            raise InputError(f"{place} has no column '{column}'{meant}: is it an EcoTaxa export with images?")
    if options.group and options.group not in header:
        meant = did_you_mean(options.group, header)
        likely_first = sorted(header, key=lambda name: not name.startswith("sample_"))
        raise InputError(
            f"{place} has no column '{options.group}'{meant}: name another one with --group-column; it has: "
            f"{first_few(likely_first, 20)}"
        )
    columns = Columns(header, place, listing, options.everything)
    for row in _of_lowest_rank(_objects(table, header, listing), header, place, listing):
        yield row[FILE_COLUMN], columns(row), row


def require_objects(found: int, place: str, listing: Listing) -> None:
    """Raises InputError if the tables of an export have no object; ``place`` is the last of them."""
    if found:
        return
    unnamed = listing.left_out["no_file_name"]
    if unnamed:
        raise InputError(
            f"{place} has {unnamed} rows, and none names an image: export it from EcoTaxa again, with the images"
        )
    raise InputError(f"{place} has no object")


def _objects(table: Table, header: Sequence[str], listing: Listing) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each object. The row of types is skipped."""
    as_written = tuple(header) == tuple(table.columns)
    first = True
    for number, raw in table.rows():
        row = raw if as_written else {name.strip().lower(): value for name, value in raw.items()}
        name = row[FILE_COLUMN].strip().replace("\\", "/")
        if first and name.lower() in _TYPES:
            first = False
            continue
        first = False
        if is_missing(name) or "\0" in name:
            listing.left_out["no_file_name"] += 1
            continue
        row[FILE_COLUMN] = name
        yield number, row


def _of_lowest_rank(
    rows: Iterator[tuple[int, dict[str, str]]], header: Sequence[str], place: str, listing: Listing
) -> Iterator[dict[str, str]]:
    if listing.options.all_ranks or _RANK_COLUMN not in header or "object_id" not in header:
        yield from (row for _, row in rows)
        return
    names = [name for name in _KEY if name in header]

    def ranked() -> Iterator[Ranked]:
        for number, row in rows:
            rank = number_of(row[_RANK_COLUMN])
            key = "" if is_missing(row["object_id"]) else "\x1f".join(row[name].strip() for name in names)
            yield Ranked(key.replace("/", "\x1e"), float(rank) if rank else None, f"{place}, line {number}", row)

    yield from lowest_ranks(ranked(), listing)
