"""Where and when a camera took an image, of the EXIF block in a JPEG, PNG or TIFF (CIPA DC-008, Exif 2.32).

Invariant: whatever the bytes are, the answer comes at once and without an error: each directory is read once, up to a
limit, and no link is followed but those to the two that are needed. Libraries that read all of EXIF can be made to
run without end by a damaged file.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime

_BLOCK_WITHIN = 1 << 17
_MAX_ENTRIES = 256
_MAX_BYTES = 64
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
"""Bytes of a value, by EXIF's number of its type."""

_EXIF_DIRECTORY, _GPS_DIRECTORY = 0x8769, 0x8825
_TAKEN, _TAKEN_OFFSET = 0x9003, 0x9011
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE, _GPS_TIME, _GPS_DATE = 1, 2, 3, 4, 7, 29

_Directory = dict[int, bytes]


def exif_columns(data: bytes) -> dict[str, str]:
    """Darwin Core's ``eventDate``, ``decimalLatitude`` and ``decimalLongitude``, as far as an encoded image has them.

    The date is ISO 8601: the camera's with its offset from UTC, where it says that; else the GPS receiver's, in UTC;
    else the camera's, of which nobody knows the zone. A position of exactly 0, 0 is a receiver without a fix.
    """
    tiff = _tiff_of(data)
    if tiff is None:
        return {}
    main = tiff.directory(tiff.number(tiff.data[4:8]))
    exif, gps = (tiff.directory(tiff.number(main.get(tag, b""))) for tag in (_EXIF_DIRECTORY, _GPS_DIRECTORY))
    columns = {}
    if date := _date(exif, gps, tiff):
        columns["eventDate"] = date
    latitude = _degrees(gps, _LATITUDE, _LATITUDE_REF, b"NS", 90, tiff)
    longitude = _degrees(gps, _LONGITUDE, _LONGITUDE_REF, b"EW", 180, tiff)
    if latitude is not None and longitude is not None and (latitude, longitude) != (0, 0):
        columns |= {"decimalLatitude": f"{latitude:.6f}", "decimalLongitude": f"{longitude:.6f}"}
    return columns


class _Tiff:
    """EXIF is a small TIFF file inside another file; offsets count from its start."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._order = "<" if data[:2] == b"II" else ">"

    def number(self, raw: bytes) -> int:
        """An unsigned number of 2 or 4 bytes; 0, which is no directory's place, where there is none."""
        kind = {2: "H", 4: "I"}.get(len(raw))
        return int(struct.unpack(self._order + kind, raw)[0]) if kind else 0

    def rationals(self, raw: bytes) -> list[float]:
        """Fractions; empty where one has no denominator."""
        numbers = struct.unpack(f"{self._order}{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        return [] if any(below == 0 for _, below in pairs) else [above / below for above, below in pairs]

    def directory(self, at: int) -> _Directory:
        """Tag -> the bytes of its value, of those that are short."""
        if not 8 <= at <= len(self.data) - 2:
            return {}
        found = {}
        for index in range(min(self.number(self.data[at : at + 2]), _MAX_ENTRIES)):
            entry = self.data[at + 2 + 12 * index : at + 14 + 12 * index]
            if len(entry) < 12:
                break
            size = _SIZES.get(self.number(entry[2:4]), 0) * self.number(entry[4:8])
            if 0 < size <= _MAX_BYTES:
                place = self.number(entry[8:12])
                found[self.number(entry[:2])] = entry[8 : 8 + size] if size <= 4 else self.data[place : place + size]
        return found


def _tiff_of(data: bytes) -> _Tiff | None:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _Tiff(data)
    at = -1
    if data[:2] == b"\xff\xd8":
        at = data.find(b"Exif\0\0", 0, _BLOCK_WITHIN)
        at = at + 6 if at >= 4 and data[at - 4 : at - 2] == b"\xff\xe1" else -1
    elif data[:4] == b"\x89PNG":
        at = data.find(b"eXIf", 0, _BLOCK_WITHIN)
        at = at + 4 if at >= 0 else -1
    block = data[at : at + _BLOCK_WITHIN] if at >= 0 else b""
    return _Tiff(block) if block[:4] in (b"II*\0", b"MM\0*") else None


def _date(exif: _Directory, gps: _Directory, tiff: _Tiff) -> str:
    taken = _iso(_text(exif, _TAKEN))
    offset = _text(exif, _TAKEN_OFFSET)
    if taken and re.fullmatch(r"[+-]\d\d:\d\d", offset):
        return taken + offset
    time = tiff.rationals(gps.get(_GPS_TIME, b""))
    if len(time) == 3:
        in_utc = _iso(f"{_text(gps, _GPS_DATE)} {time[0]:02.0f}:{time[1]:02.0f}:{int(time[2]):02d}")
        if in_utc:
            return f"{in_utc}Z"
    return taken


def _text(directory: _Directory, tag: int) -> str:
    return directory.get(tag, b"").split(b"\0")[0].decode("ascii", "replace").strip()


def _iso(text: str) -> str:
    """``2024:05:06 07:08:09`` in ISO 8601; empty where it is no date."""
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _degrees(gps: _Directory, tag: int, reference: int, sides: bytes, limit: float, tiff: _Tiff) -> float | None:
    parts = tiff.rationals(gps.get(tag, b""))
    if len(parts) != 3:
        return None
    value = parts[0] + parts[1] / 60 + parts[2] / 3600
    if value > limit:
        return None
    side = gps.get(reference, b"")[:1]
    if not side or side not in sides:
        return None
    return -value if side == sides[1:] else value
