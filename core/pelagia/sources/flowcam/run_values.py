"""The time, place, volume and pixel size of a FlowCam run, from its ``.ctx`` or its summary.

The ``.ctx`` has sections and ``name=value``. The summary is ``run_summary.txt``, or ``_summary.csv`` of later versions,
with ``name: value`` or ``name, value``. Sources: a ``.ctx`` of VisualSpreadsheet 3.4.5 in the R package flowcamr, the
keys of other versions in ZooImage (``readFlowCAMctx``), and the VisualSpreadsheet user guide, which gives the
calibration factor in micrometers per pixel.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from pelagia.sources.flowcam.lst import CONTEXT, SUFFIX
from pelagia.sources.image import read_at
from pelagia.sources.listing import Listing
from pelagia.tables.values import number

_LONGEST = 1 << 20
_VOLUMES = ("fluidvolumeimaged_ml", "totalvolumeml")
_SIZES = ("calibrationconstant", "calibconstant")
_TRIGGERS = ("ch1trigger", "ch2trigger", "ch3trigger", "ch4trigger", "scattertrigger")
_REGION = ("acceptableleft", "acceptableright", "acceptabletop", "acceptablebottom")
_SUMMARY = {
    "volume": re.compile(r"fluid volume imaged\W+([0-9][0-9.,]*)\s*ml\b", re.IGNORECASE),
    "size": re.compile(r"calibration factor\W+([0-9][0-9.,]*)", re.IGNORECASE),
    "start": re.compile(r"^\W*start(?: time)?\W+(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.IGNORECASE | re.MULTILINE),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{3}|\.\d{6})?)?", re.ASCII)
NO_VOLUME = "a FlowCam run has no imaged volume in its .ctx and its summary: its images have no sampleSizeValue"
NO_SIZE = "a FlowCam run has no calibration constant in its .ctx and its summary: its images have no pixel_size_um"
COMPUTED = (
    "a FlowCam run has no imaged volume in its .ctx: it was computed from the acceptable region, the depth of the flow "
    "cell and the number of frames"
)
_CUBIC_MICROMETERS = 1e12
"""Cubic micrometers in a milliliter."""


def run_columns(lst: Path, listing: Listing) -> dict[str, str]:
    """The columns that all images of a run share, as Darwin Core terms if there are any.

    A volume or a pixel size that neither file has is a warning.

    Args:
        lst: the list of the run; the other files have its name with another ending.
    """
    context, summary = _read_context(lst), _read_summary(lst)
    columns = {"sample": lst.name[: -len(SUFFIX)], "instrument": f"FlowCam {context.get('serialno', '')}".strip()}
    if started := _time(context.get("runstarttime", "") or summary.get("start", "")):
        columns["eventDate"] = started
    columns |= _position(context)
    volume = _volume(context) or positive(summary.get("volume", ""))
    if volume is None and (volume := _computed_volume(context)) is not None:
        listing.warn(COMPUTED)
    if volume is None:
        listing.warn(NO_VOLUME)
    else:
        columns |= {"sampleSizeValue": f"{volume:.6g}", "sampleSizeUnit": "millilitre"}
    if context.get("usedilutioncalculation") == "1" and (dilution := positive(context.get("sampledilution", ""))):
        columns["dilution"] = f"{dilution:g}"
    if size := pixel_size(context) or positive(summary.get("size", "")):
        columns["pixel_size_um"] = f"{size:g}"
    return columns


def pixel_size(context: Mapping[str, str]) -> float | None:
    """Micrometers per pixel; None if the context has no calibration constant."""
    return next((size for name in _SIZES if (size := positive(context.get(name, "")))), None)


def _position(context: Mapping[str, str]) -> dict[str, str]:
    """Latitude and longitude in degrees; empty for 0, 0 and for values that are not degrees."""
    latitude, longitude = (number(context.get(name, "")) for name in ("locationlatitude", "locationlongitude"))
    if latitude is None or longitude is None or latitude == longitude == 0:
        return {}
    if abs(latitude) > 90 or abs(longitude) > 180:
        return {}
    return {"decimalLatitude": str(latitude), "decimalLongitude": str(longitude)}


def _volume(context: Mapping[str, str]) -> float | None:
    """The imaged volume in milliliters that the context states; None if it states none."""
    if context.get("usemanualvolume") == "1":
        return positive(context.get("manualvolumeml", ""))
    return next((volume for name in _VOLUMES if (volume := positive(context.get(name, "")))), None)


def _computed_volume(context: Mapping[str, str]) -> float | None:
    """The imaged volume in milliliters of a context without one, as ZooImage computes it for old versions.

    It is the area of the acceptable region times the depth of the flow cell times the number of frames. None for a run
    whose frames were triggered by particles, because its frames are no sample of the fluid.
    """
    if any(name in context for name in _VOLUMES) or any(context.get(name) == "1" for name in _TRIGGERS):
        return None
    region = [number(context.get(name, "")) for name in _REGION]
    size, depth = pixel_size(context), positive(context.get("flowcelldepth", ""))
    frames = positive(context.get("rawimagetotal", ""))
    left, right, top, bottom = (math.nan if value is None else value for value in region)
    area = (right - left) * (bottom - top)
    if size is None or depth is None or frames is None or not area > 0:
        return None
    return area * size**2 * depth * frames / _CUBIC_MICROMETERS


def _read_context(lst: Path) -> dict[str, str]:
    """Values by name in lower case, whatever their section; empty if there is no context that can be read."""
    values: dict[str, str] = {}
    for line in _text_of(lst, (CONTEXT,)).splitlines():
        name, equals, value = line.partition("=")
        if equals:
            values.setdefault(name.strip().lower(), value.strip())
    return values


def _read_summary(lst: Path) -> dict[str, str]:
    text = _text_of(lst, ("_summary.csv", "_run_summary.txt", "_summary.txt"))
    return {name: found[1] for name, pattern in _SUMMARY.items() if (found := pattern.search(text))}


def _text_of(lst: Path, endings: tuple[str, ...]) -> str:
    """The text of the first file of the run with one of these endings; its ending may be in upper case."""
    stem = lst.name[: -len(SUFFIX)]
    for ending in endings:
        for name in (stem + ending, stem + ending.upper()):
            with suppress(OSError):
                data = read_at(lst.with_name(name), 0, _LONGEST)
                with suppress(UnicodeDecodeError):
                    return data.decode("utf-8-sig")
                return data.decode("cp1252", "replace")
    return ""


def _time(text: str) -> str:
    """A time of the instrument's clock as ISO 8601, without a time zone; empty if it is written in another way."""
    with suppress(ValueError):
        if _TIME.fullmatch(text.strip()):
            return datetime.fromisoformat(text.strip()).isoformat(timespec="seconds")
    return ""


def positive(text: str) -> float | None:
    """A number above 0, with a point or a comma; None for other texts."""
    found = number(text)
    return found if found is not None and found > 0 else None
