"""GeoJSON (RFC 7946): one feature for each sample, with its counts as properties that a map program can show.

The point is longitude and latitude in WGS 84, as in the columns ``decimalLongitude`` and ``decimalLatitude``. A sample
without a position is a feature without geometry, which the standard allows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from pelagia.system.files import new_file
from pelagia_inference.counts.counts import Count
from pelagia_inference.counts.samples import Sample
from pelagia_inference.counts.taxa import TAXON
from pelagia_inference.exports.exporting import Exporting
from pelagia_inference.exports.extents import within
from pelagia_inference.exports.tidy import notes_of

FILE = "samples.geojson"
_NUMBERS = (
    *("raw", "confirmed", "corrected", "low", "high", "per_liter", "per_liter_low", "per_liter_high"),
    *("cells_per_liter", "biovolume_mm3_per_m3", "biovolume_mm3_per_m3_low", "biovolume_mm3_per_m3_high"),
    *("carbon_ug_per_liter", "carbon_ug_per_liter_low", "carbon_ug_per_liter_high"),
)
"""Fields of a count that are properties of a sample."""


def write(work: Exporting) -> list[str]:
    """Writes the samples, one feature on a line."""
    counts: dict[str, list[Count]] = {}
    for count in work.counts.counts:
        counts.setdefault(count.sample, []).append(count)
    without = 0
    with new_file(work.folder / FILE, "w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [\n')
        for number, sample in enumerate(work.counts.samples):
            point = position_of(sample)
            without += point is None
            feature = {
                "type": "Feature",
                "geometry": None if point is None else {"type": "Point", "coordinates": point},
                "properties": dict(_properties(sample, counts.get(sample.name, []))),
            }
            file.write(",\n" * bool(number) + json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")
    notes = [f"{without} of {len(work.counts.samples)} samples have no position, or several: they have no point"]
    return [*(notes if without else []), *notes_of(work)]


def position_of(sample: Sample) -> list[float] | None:
    """Longitude and latitude of a sample in degrees; None if its images have no position, or not the same one."""
    longitude = within(sample.columns.get("decimalLongitude", ""), 180)
    latitude = within(sample.columns.get("decimalLatitude", ""), 90)
    return None if longitude is None or latitude is None else [longitude, latitude]


def _properties(sample: Sample, counts: list[Count]) -> Iterator[tuple[str, Any]]:
    """What a sample is, and its counts: ``raw copepod``, ``per_liter taxon Copepoda``; only those that are known."""
    yield from sample.columns.items()
    yield from {"sample": sample.name, "images": sample.images, "failed": sample.failed}.items()
    yield from {"volume_l": sample.volume_l, "fraction": sample.fraction}.items()
    for count in counts:
        for name in _NUMBERS:
            value = getattr(count, name)
            if value is not None and math.isfinite(value):
                yield f"{name} {'taxon ' * (count.kind == TAXON)}{count.name}", value
