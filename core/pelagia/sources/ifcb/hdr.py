"""IFCB ``.hdr`` files: the settings of the instrument, one ``name: value`` on each line, or an older form."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

LONGEST = 1 << 20
_ALTERNATIVE = re.compile(r"^run time = ([\d.]+) s\s+inhibit time = ([\d.]+)", re.MULTILINE)
_PLACES = (("gpslatitude", "gpslongitude"), ("latitude", "longitude"))


def parse_hdr(data: bytes) -> dict[str, str]:
    """Values by name in lower case."""
    text = data.decode("utf-8", "replace")
    values = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values[name.strip().lower()] = value.strip()
    if found := _ALTERNATIVE.search(text):
        values |= {"runtime": found[1], "inhibittime": found[2]}
    return values


def number(values: Mapping[str, str], name: str) -> float | None:
    """A value of the header as a number; None if it is missing or not a finite number."""
    try:
        found = float(values[name])
    except (KeyError, ValueError):
        return None
    return found if math.isfinite(found) else None


def position(values: Mapping[str, str]) -> tuple[float, float] | None:
    """Latitude and longitude in degrees; None for 0, 0, which an instrument without a GPS receiver writes."""
    for names in _PLACES:
        latitude, longitude = (number(values, name) for name in names)
        if latitude is None or longitude is None or latitude == longitude == 0:
            continue
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    return None
