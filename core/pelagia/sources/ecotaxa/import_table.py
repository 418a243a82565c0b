"""Tables that EcoTaxa imports: their columns, types and limits. The only definition, for datasets and surveys.

The rules are those of EcoTaxa's import (``py/BO/TSVFile.py`` and ``py/BO/Mappings.py`` of ecotaxa/ecotaxa_back): a
table ``ecotaxa*.tsv``, a second line with the type of each column (``[t]`` text, ``[f]`` number), an ``object_id`` in
each row, and an ``img_file_name`` unless objects are updated. A status needs a category, and a category a status. A
table without the mark of UTF-8 is read as Latin-1, so every table has the mark. A project has at most 500 further
columns of numbers and 20 of text (250 characters) for an object, and its page takes zips of less than 500 MB.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Any

from pelagia.errors import first_few
from pelagia.sources.ecotaxa.columns import RENAMED
from pelagia.tables.values import is_missing, number

VALIDATED, PREDICTED = "validated", "predicted"
STATUSES = (VALIDATED, PREDICTED)
MOST_BYTES = 480_000_000
"""The largest zip: less than the 500 MB of EcoTaxa's page, which may count in other megabytes."""

MOST_CHARACTERS = 250
BYTES_OF_ROW = 4096
"""Room for the row of an image in the table, and for its entry in the zip."""

ENCODING = "utf-8-sig"
PLACE = {new: old for old, new in RENAMED.items() if old.startswith(("object_lat", "object_lon", "object_depth"))}
"""Column in Pelagia -> EcoTaxa's column of a position or a depth."""

STATED = frozenset(
    {*PLACE, "sample", "station", "instrument", "eventDate", "object_annotation_status", "object_annotation_date"}
)
"""Columns in Pelagia that have a column of their own in EcoTaxa."""

_MOST_TEXTS, _MOST_NUMBERS = 17, 499  # of 20 texts, three are in `_OWN`; of 500 numbers, one
# fmt: off
_OWN = frozenset((
    "object_id", "object_split", "object_sha256", "object_source", "object_date", "object_time", "object_lat",
    "object_lon", "object_depth_min", "object_depth_max", "object_link", "object_probability", "sample_id",
    "sample_stationid", "acq_id", "acq_instrument", "process_id", "img_rank",
))
# fmt: on
_NUMERIC = frozenset({*PLACE.values(), "img_rank", "object_probability"})
_DATE = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ](\d{2}):?(\d{2})(?::?(\d{2}))?)?")


class FreeColumns:
    """Chooses the columns of a project for columns of the input that EcoTaxa has no column for.

    A column whose values are all numbers becomes a column of numbers. Memory does not depend on the number of rows.
    """

    def __init__(self) -> None:
        self._longest: dict[str, int] = {}
        self._texts: set[str] = set()

    def add(self, columns: Mapping[str, str]) -> None:
        """Takes note of the columns of one image."""
        for name, value in columns.items():
            if value and name not in STATED:
                self._longest[name] = max(self._longest.get(name, 0), len(value))
                if name not in self._texts and not _is_number(value):
                    self._texts.add(name)

    def chosen(self) -> tuple[dict[str, tuple[str, str]], list[str]]:
        """EcoTaxa's column -> (type, the input's column); and sentences that say what does not fit."""
        texts: list[str] = []
        numbers: list[str] = []
        left_out: list[str] = []
        for name in sorted(self._longest):
            if name not in self._texts:
                (numbers if len(numbers) < _MOST_NUMBERS else left_out).append(name)
            elif self._longest[name] <= MOST_CHARACTERS and len(texts) < _MOST_TEXTS:
                texts.append(name)
            else:
                left_out.append(name)
        columns: dict[str, tuple[str, str]] = {}
        for kind, names in (("[t]", texts), ("[f]", numbers)):
            for name in names:
                columns[_ecotaxa_name(name, columns)] = (kind, name)
        note = (
            f"{len(left_out)} columns do not fit into EcoTaxa (20 of text with 250 characters, 500 of numbers) and are "
            f"left out: {first_few(left_out)}"
        )
        return columns, [note] if left_out else []


def _ecotaxa_name(name: str, taken: Container[str]) -> str:
    """EcoTaxa's name of a column: with the prefix of its table, and unlike the columns that every export has."""
    plain = re.sub(r"[^a-z0-9_]+", "_", name.lower())
    if not plain.startswith(("object_", "sample_", "acq_", "process_")):
        plain = f"object_{plain}"
    while plain in taken or plain in _OWN or plain.startswith("object_annotation_"):
        plain = f"object_survey_{plain.removeprefix('object_')}"
    return plain


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)  # not nan
    except ValueError:
        return False


def places_and_times(columns: Mapping[str, str]) -> dict[str, str]:
    """EcoTaxa's columns of position, depth, date, time, station and instrument, from the columns in Pelagia.

    EcoTaxa's times are UTC: a time with another zone is converted. One without a zone stays as it is.
    """
    row = {
        "sample_stationid": columns.get("station", ""),
        "acq_instrument": columns.get("instrument", ""),
        **{old: _with_point(columns.get(new, "")) for new, old in PLACE.items()},
    }
    if found := _DATE.match(_in_utc(columns.get("eventDate", ""))):
        year, month, day, hour, minute, second = found.groups()
        row["object_date"] = f"{year}{month}{day}"
        row["object_time"] = f"{hour}{minute}{second or '00'}" if hour else ""
    return row


def has_zone(event_date: str) -> bool:
    """Whether an ``eventDate`` has no time, or a time with a zone."""
    found = _DATE.match(event_date)
    when = _moment(event_date)
    return found is None or found[4] is None or (when is not None and when.tzinfo is not None)


def _moment(event_date: str) -> datetime | None:
    """The first moment of an ``eventDate``; None if it is not ISO 8601."""
    try:
        return datetime.fromisoformat(event_date.partition("/")[0].strip())
    except ValueError:
        return None


def _in_utc(event_date: str) -> str:
    when = _moment(event_date)
    return event_date if when is None or when.tzinfo is None else when.astimezone(UTC).isoformat()


def _with_point(text: str) -> str:
    """A number with a decimal point; empty for a word that stands for no value; any other text as it is."""
    return "" if is_missing(text) else text if number(text) is None else text.strip().replace(",", ".")


def person_column(person: str) -> str:
    """EcoTaxa's column for a person: that of addresses or that of names."""
    return "object_annotation_person_email" if "@" in person else "object_annotation_person_name"


class TableWriter:
    """Writes a table to a file of text that is open with `ENCODING` and without changed line ends.

    Args:
        file: the file.
        header: EcoTaxa's columns.
        free: the free columns, as `FreeColumns.chosen` returns them.
    """

    def __init__(self, file: IO[str], header: Sequence[str], free: Mapping[str, tuple[str, str]]) -> None:
        types = {key: kind for key, (kind, _) in free.items()} | dict.fromkeys(_NUMERIC, "[f]")
        self._header = header
        self._writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        self._writer.writerow(header)
        self._writer.writerow([types.get(name, "[t]") for name in header])

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows; a tab or a line end in a value becomes a space."""
        self._writer.writerows([" ".join(str(row.get(name, "")).split()) for name in self._header] for row in rows)


def entry(name: str) -> zipfile.ZipInfo:
    """The entry of a file in a zip, with a fixed date: the same input gives the same zip."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
