"""IFCB ``.hdr`` files: settings of the instrument, ``name: value`` a line, or what older software wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pelagia.sources.image import read_at

_LONGEST = 1 << 20
_ALTERNATIVE = re.compile(r"^run time = ([\d.]+) s\s+inhibit time = ([\d.]+)", re.MULTILINE)
_PLACES = (("gpslatitude", "gpslongitude"), ("latitude", "longitude"))


def read_hdr(path: Path) -> dict[str, str]:
    """Values by name in lower case; empty where there is no header or it cannot be read: it only adds to the images."""
    text = ""
    with suppress(OSError):
        text = read_at(path, 0, _LONGEST).decode("utf-8", "replace")
    values = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            values[name.strip().lower()] = value.strip()
    if found := _ALTERNATIVE.search(text):
        values |= {"runtime": found[1], "inhibittime": found[2]}
    return values


def number(values: Mapping[str, str], name: str) -> float | None:
    """A header's value as a number, or None where it is absent or none."""
    try:
        found = float(values[name])
    except (KeyError, ValueError):
        return None
    return found if math.isfinite(found) else None


def position(values: Mapping[str, str]) -> tuple[float, float] | None:
    """Latitude and longitude in degrees, where a receiver was connected; 0, 0 is what is written without one."""
    for names in _PLACES:
        latitude, longitude = (number(values, name) for name in names)
        if latitude is None or longitude is None or latitude == longitude == 0:
            continue
        if abs(latitude) <= 90 and abs(longitude) <= 180:
            return latitude, longitude
    return None
