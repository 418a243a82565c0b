"""Numbers and positions in EcoTaxa tables, which may have decimal commas, degrees and values for "unknown".

Invariant: a number is passed on with the digits that the table has. Only degrees with minutes are computed.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from pelagia.tables.reader import MISSING, is_missing

_FIRST_OF_MISSING = frozenset(letter for value in MISSING if value for letter in (value[0], value[0].upper()))
_MOST_VALUES = 1 << 12
"""Values that are converted once and kept: most values of a table are those of its samples."""

_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_DEGREES = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<degrees>\d{1,3})\s*°\s*"
    r"((?P<minutes>\d{1,2})\s*(?:['′’]\s*|\s)(?P<seconds>\d{1,2}([.,]\d+)?)\s*(\"|″|”|'')?"
    r"|(?P<decimal>\d{1,2}([.,]\d+)?)\s*['′’])?"
    r"\s*(?P<side>[NSEWnsewOo]?)"
)
_PLAIN = re.compile(r"(?P<value>[+-]?\d+([.,]\d+)?)\s*°?\s*(?P<side>[NSEWnsewOo])")
_SOUTH_OR_WEST = frozenset("swo")
"""``O`` is west in French, Spanish and Italian."""


def is_unknown(text: str) -> bool:
    """Whether a value of a table stands for no value."""
    plain = text.strip()
    return not plain or (plain[0] in _FIRST_OF_MISSING and is_missing(plain))


@lru_cache(_MOST_VALUES)
def number_of(text: str) -> str:
    """A number with a decimal point; empty if the text is not a finite number."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return ""
    text = text.replace(",", ".")
    return text if math.isfinite(float(text)) else ""


@lru_cache(_MOST_VALUES)
def latitude_of(text: str) -> str:
    """A latitude in decimal degrees; empty if the text is not one. The forms are those of `_degrees_of`."""
    return _degrees_of(text, 90, "ew")


@lru_cache(_MOST_VALUES)
def longitude_of(text: str) -> str:
    """A longitude in decimal degrees; empty if the text is not one. The forms are those of `_degrees_of`."""
    return _degrees_of(text, 180, "ns")


def _degrees_of(text: str, limit: int, not_sides: str) -> str:
    """Decimal degrees.

    Args:
        text: ``43.685``, ``43,685``, ``43.685 N``, ``43°41 06`` (degrees, minutes and seconds, as UVPapp writes them),
            ``43°41'06"N`` or ``43°41.1'N``. ``43°41.06`` is none of these: it could be 41.06 minutes, or 41 minutes and
            6 seconds.
        limit: the largest number of degrees.
        not_sides: sides of the world, in lower case, that the text must not name.
    """
    text = text.strip()
    number, side = number_of(text), ""
    if not number and (found := _PLAIN.fullmatch(text)):
        number, side = found["value"].replace(",", "."), found["side"].lower()
    if not number and (found := _DEGREES.fullmatch(text)):
        number, side = _computed(found), found["side"].lower()
    if not number or (side and side in not_sides) or (side and number.startswith("-")):
        return ""
    if side in _SOUTH_OR_WEST:
        number = f"-{number.lstrip('+')}"
    return number if abs(float(number)) <= limit else ""


def _computed(found: re.Match[str]) -> str:
    """Degrees, minutes and seconds as decimal degrees, to a millionth; empty if there are 60 minutes or seconds."""
    minutes, seconds = (float((found[name] or "0").replace(",", ".")) for name in ("minutes", "seconds"))
    minutes += float((found["decimal"] or "0").replace(",", "."))
    if minutes >= 60 or seconds >= 60:
        return ""
    value = f"{int(found['degrees']) + minutes / 60 + seconds / 3600:.6f}".rstrip("0")
    return f"{'-' if found['sign'] == '-' else ''}{value}{'0' if value.endswith('.') else ''}"
