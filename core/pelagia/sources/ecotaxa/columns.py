"""The columns of EcoTaxa under Pelagia's names: at import and in the field, by one function.

Invariant: a value that cannot be converted keeps the column that it has in the table, and the listing says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from pelagia.sources.ecotaxa import clock
from pelagia.sources.ecotaxa.numbers import is_unknown, latitude_of, longitude_of, number_of
from pelagia.sources.ecotaxa.sizes import PIXEL_COLUMNS, VOLUME_COLUMNS, pixel_size, sample_size
from pelagia.sources.listing import Listing

RENAMED = {
    "object_lat": "decimalLatitude",
    "object_lon": "decimalLongitude",
    "object_depth_min": "minimumDepthInMeters",
    "object_depth_max": "maximumDepthInMeters",
    "sample_id": "sample",
    "sample_stationid": "station",
    "acq_instrument": "instrument",
    "object_annotation_date": "object_annotation_date",
    "object_annotation_status": "object_annotation_status",
}
"""EcoTaxa's column -> the column in Pelagia. Further columns: ``eventDate`` (`clock`), sizes and volumes (`sizes`)."""

_CONVERT: dict[str, tuple[Callable[[str], str], str]] = {
    "object_lat": (latitude_of, "a latitude"),
    "object_lon": (longitude_of, "a longitude"),
    "object_depth_min": (number_of, "a number"),
    "object_depth_max": (number_of, "a number"),
    "object_annotation_date": (clock.day_of, "a date"),
    "object_annotation_status": (lambda text: text.strip().lower(), "a status"),
}
_FIELD = re.compile(
    r"sample_|object_(id|annotation_(status|category|date))$"
    r"|acq_(id|(min|max)_mesh|(minimum|maximum)_mesh|sub_part|sub_method|celltype|nb_frame|volimage"
    r"|(imaged_|pumped_|analysed_)?volume(_[a-z]+)?|fluid_volume_imaged)$"
)
_AS_IT_IS: tuple[Callable[[str], str], str] = (str.strip, "")
_OBJECT = "object_"
_PRIVATE = re.compile(r"person|email|operator|author")
_NOT_SAID = frozenset({"img_file_name", "img_rank"})


class Columns:
    """Turns the rows of one table into columns of Pelagia.

    Args:
        header: the columns of the table, in lower case.
        table: the name of the table, for warnings.
        listing: gets a warning for each kind of value that cannot be converted.
        everything: whether the measurements of the object and the settings of the instrument are kept, as in a dataset.
            Names and addresses of people are never kept.
    """

    def __init__(self, header: Sequence[str], table: str, listing: Listing, everything: bool = False) -> None:
        self._table, self._listing = table, listing
        self._warnings: dict[str, str] = {}
        handled = {*RENAMED, *PIXEL_COLUMNS, *VOLUME_COLUMNS, "object_date", "object_time", *_NOT_SAID}
        self._sizes = [name for name in (*PIXEL_COLUMNS, *VOLUME_COLUMNS) if name in header]
        self._has_date = "object_date" in header or "object_time" in header
        kept = [
            name
            for name in header
            if name and name not in handled and (everything or _FIELD.match(name)) and not _PRIVATE.search(name)
        ]
        names = [*(name for name in RENAMED if name in header), *kept]
        self._of_object = [name for name in names if name.startswith(_OBJECT)]
        self._of_sample = [name for name in names if not name.startswith(_OBJECT)]
        self._sample: list[str] = []
        self._sample_columns: dict[str, str] = {}

    def __call__(self, row: Mapping[str, str]) -> dict[str, str]:
        """The columns of a row under Pelagia's names. Unknown values (`is_unknown`) are left out."""
        found = self._converted(row, self._of_object)
        if self._has_date:
            self._add_time(row, found)
        found.update(self._columns_of_sample(row))
        return found

    def _converted(self, row: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in names:
            text = row.get(name, "")
            if is_unknown(text):
                continue
            convert, what = _CONVERT.get(name, _AS_IT_IS)
            if value := convert(text):
                found[RENAMED.get(name, name)] = value
            else:
                found[name] = text.strip()
                self._warn(name, f"the column {name} has values that are not {what}, such as '{text.strip()}'")
        return found

    def _columns_of_sample(self, row: Mapping[str, str]) -> dict[str, str]:
        """The columns of the sample, the instrument and the process: rows of one sample follow each other."""
        values = [row.get(name, "") for name in (*self._of_sample, *self._sizes, "acq_instrument")]
        if values != self._sample:
            self._sample = values
            self._sample_columns = self._converted(row, self._of_sample) | self._sizes_of(row)
        return self._sample_columns

    def _add_time(self, row: Mapping[str, str], found: dict[str, str]) -> None:
        day, time = row.get("object_date", ""), row.get("object_time", "")
        if event := clock.event_date(day, time):
            found["eventDate"] = event
        elif not is_unknown(day):
            found["object_date"] = day.strip()
            wanted = "dates such as 20240708 or 2024-07-08"
            self._warn(
                "object_date", f"the column object_date has values that are not {wanted}, such as '{day.strip()}'"
            )
        if not is_unknown(time) and "T" not in event:
            found["object_time"] = time.strip()
            if not clock.time_of(time):
                wanted = "times such as 080000, 0800 or 08:00:00"
                text = f"the column object_time has values that are not {wanted}, such as '{time.strip()}'"
                self._warn("object_time", text)

    def _sizes_of(self, row: Mapping[str, str]) -> dict[str, str]:
        used: set[str] = set()
        found: dict[str, str] = {}
        if size := pixel_size(row, self._say):
            column, value, name = size
            found[column] = value
            used.add(name)
        if volume := sample_size(row, self._say):
            found["sampleSizeValue"], found["sampleSizeUnit"], name = volume
            used.add(name)
        for name in self._sizes:
            if name not in used and not is_unknown(text := row.get(name, "")):
                found[name] = text.strip()
        return found

    def _warn(self, name: str, text: str) -> None:
        """Warns with the first text for a column, so that a million values are one warning with a number."""
        self._say(self._warnings.setdefault(name, f"{text}: such a value keeps its column {name}"))

    def _say(self, text: str) -> None:
        self._listing.warn(f"{self._table}: {text}")
