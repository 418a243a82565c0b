"""Dates and times of EcoTaxa tables as ISO 8601: the only clock for EcoTaxa, at import and in the field.

Invariant: a text that is not surely a time gives no time. An event without a time is a day, never midnight.

EcoTaxa's times are UTC. Its backups have ``20240708`` and ``080000``, its general exports ``2024-07-08`` and
``08:00:00``. Tables that people import into EcoTaxa also have hours and minutes alone, and spreadsheets remove zeros
from the left (``time_from_txt`` in EcoTaxa's ``DB/Object.py`` reads ``320`` as 03:20).
"""

from __future__ import annotations

import re
from datetime import date, time
from functools import lru_cache

_DAY = re.compile(r"(\d{4})(-?)(\d\d)\2(\d\d)")
_FLOAT_DAY = re.compile(r"(\d{8})[.,]0+")
_COLONS = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?")
_DIGITS = re.compile(r"(\d{1,6})(?:[.,](\d+))?")
_MOST_VALUES = 1 << 12
_MINUTES_ONLY = 4
"""A time of so many digits or fewer has no seconds: ``1153`` is 11:53."""


@lru_cache(_MOST_VALUES)
def day_of(text: str) -> str:
    """``20240708``, ``2024-07-08`` or ``20240708.0`` as ``2024-07-08``; empty if the text is not such a date."""
    text = text.strip()
    if number := _FLOAT_DAY.fullmatch(text):
        text = number[1]
    found = _DAY.fullmatch(text)
    if found is None:
        return ""
    try:
        return date(int(found[1]), int(found[3]), int(found[4])).isoformat()
    except ValueError:
        return ""


@lru_cache(_MOST_VALUES)
def time_of(text: str) -> str:
    """A time of day as ``08:00:00``, with a fraction of a second if it has one; empty if the text is not a time.

    Args:
        text: ``HHMMSS`` or ``HHMM``, where zeros on the left may be missing, or ``HH:MM:SS`` or ``HH:MM``. Seconds may
            have a fraction, after a point or a comma.
    """
    text = text.strip()
    if found := _COLONS.fullmatch(text):
        return _checked(found[1], found[2], found[3] or "0", found[4] or "")
    found = _DIGITS.fullmatch(text)
    if found is None:
        return ""
    digits, fraction = found[1], (found[2] or "").rstrip("0")
    if len(digits) > _MINUTES_ONLY:
        digits = digits.zfill(6)
    elif fraction:  # half a minute, or half a second?
        return ""
    else:
        digits = digits.zfill(4) + "00"
    return _checked(digits[:2], digits[2:4], digits[4:], fraction)


def _checked(hours: str, minutes: str, seconds: str, fraction: str) -> str:
    try:
        found = time(int(hours), int(minutes), int(seconds)).isoformat()
    except ValueError:
        return ""
    fraction = fraction.rstrip("0")
    return f"{found}.{fraction}" if fraction else found


def event_date(day: str, clock: str) -> str:
    """A date and a time of a table as one ISO 8601 text in UTC; the day alone if ``clock`` is not a time.

    Returns:
        ``2024-07-08T08:00:00Z``, ``2024-07-08``, or empty if ``day`` is not a date.
    """
    found, hour = day_of(day), time_of(clock)
    return f"{found}T{hour}Z" if found and hour else found
