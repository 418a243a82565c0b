"""Where and when a camera took an image, from the EXIF block of a JPEG, PNG or TIFF (CIPA DC-008, Exif 2.32).

Invariant: whatever the bytes are, `exif_columns` returns quickly and raises nothing. It reads each directory once, up
to a limit, and follows only the links to the two directories that it needs. A damaged file can make libraries that read
all of EXIF run forever.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime

_SEARCHED_BYTES = 1 << 17
_MAX_ENTRIES = 256
_MAX_VALUE_BYTES = 64
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
"""EXIF's number of a type -> bytes of one value of that type."""

_EXIF_DIRECTORY, _GPS_DIRECTORY = 0x8769, 0x8825
_TAKEN, _TAKEN_OFFSET = 0x9003, 0x9011
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE, _GPS_TIME, _GPS_DATE = 1, 2, 3, 4, 7, 29

_Directory = dict[int, bytes]


def exif_columns(data: bytes) -> dict[str, str]:
    """Darwin Core's ``eventDate``, ``decimalLatitude`` and ``decimalLongitude``, if an encoded image has them.

    The date is ISO 8601. It is the camera's date with its offset from UTC; if the camera wrote no offset, the GPS
    receiver's date, in UTC; if there is none, the camera's date without a time zone. A position of exactly 0, 0 is left
    out: the receiver had no fix.
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
    """An EXIF block is a small TIFF file inside another file. Offsets count from its start."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._order = "<" if data[:2] == b"II" else ">"

    def number(self, raw: bytes) -> int:
        """An unsigned number of 2 or 4 bytes; 0, which is never a directory's offset, if ``raw`` has another length."""
        kind = {2: "H", 4: "I"}.get(len(raw))
        return int(struct.unpack(self._order + kind, raw)[0]) if kind else 0

    def rationals(self, raw: bytes) -> list[float]:
        """The fractions in ``raw``; an empty list if a denominator is 0."""
        numbers = struct.unpack(f"{self._order}{len(raw) // 4}I", raw[: len(raw) // 4 * 4])
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
        if any(denominator == 0 for _, denominator in pairs):
            return []
        return [numerator / denominator for numerator, denominator in pairs]

    def directory(self, offset: int) -> _Directory:
        """Tag -> the bytes of its value. Long values are left out."""
        if not 8 <= offset <= len(self.data) - 2:
            return {}
        found = {}
        for index in range(min(self.number(self.data[offset : offset + 2]), _MAX_ENTRIES)):
            entry = self.data[offset + 2 + 12 * index : offset + 14 + 12 * index]
            if len(entry) < 12:
                break
            size = _SIZES.get(self.number(entry[2:4]), 0) * self.number(entry[4:8])
            if 0 < size <= _MAX_VALUE_BYTES:
                start = self.number(entry[8:12])
                found[self.number(entry[:2])] = entry[8 : 8 + size] if size <= 4 else self.data[start : start + size]
        return found


def _tiff_of(data: bytes) -> _Tiff | None:
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _Tiff(data)
    start = -1
    if data[:2] == b"\xff\xd8":
        start = data.find(b"Exif\0\0", 0, _SEARCHED_BYTES)
        start = start + 6 if start >= 4 and data[start - 4 : start - 2] == b"\xff\xe1" else -1
    elif data[:4] == b"\x89PNG":
        start = data.find(b"eXIf", 0, _SEARCHED_BYTES)
        start = start + 4 if start >= 0 else -1
    block = data[start : start + _SEARCHED_BYTES] if start >= 0 else b""
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
    """``2024:05:06 07:08:09`` in ISO 8601; empty if ``text`` is not a date."""
    try:
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return ""


def _degrees(gps: _Directory, tag: int, reference: int, sides: bytes, limit: float, tiff: _Tiff) -> float | None:
    """Latitude or longitude in degrees; None if it is missing or impossible. ``sides`` is b"NS" or b"EW"."""
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
