"""What a cell of a table means: a missing value, a number, or the name of a column.

Invariant: every reader of a table asks this module whether a value is missing, so ``NA`` means the same in a manifest,
an EcoTaxa table and a list of labels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from pelagia.errors import InputError

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "#n/a", "-999", "99999"})
"""Values that stand for no value, in lower case: those of R, pandas, SQL, Python, Excel, CTDs and ZooProcess."""

_MISSING_NUMBER = re.compile(r"(-999|99999)[.,]0+")
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def is_missing(text: str) -> bool:
    """Whether a value stands for no value: one of `MISSING` in any case, or ``-999`` or ``99999`` with zeros behind."""
    plain = text.strip().lower()
    return plain in MISSING or _MISSING_NUMBER.fullmatch(plain) is not None


def number(text: str) -> float | None:
    """A number with a decimal point or a decimal comma; None if the value is missing or not a number.

    A single comma is a decimal comma, never a separator of thousands. Infinite values are not numbers.
    """
    plain = text.strip()
    if is_missing(plain) or not _NUMBER.fullmatch(plain):
        return None
    value = float(plain.replace(",", "."))
    return value if math.isfinite(value) else None


def plain_name(name: str) -> str:
    """The name of a column without case, spaces and signs: ``Image Path``, ``image_path`` and ``imagePath`` agree."""
    letters = unicodedata.normalize("NFC", name).casefold()
    return "".join(letter for letter in letters if letter.isalnum()) or letters.strip()


def find_column(columns: Sequence[str], names: Sequence[str], table: str, option: str) -> str | None:
    """The first column that has one of ``names``, whatever its case, spaces and signs; None if there is none.

    Args:
        columns: the columns of the table.
        names: the names to look for, the preferred one first. A column that is exactly the first is preferred.
        table: the path of the table, for the message.
        option: the option that names the column, for the message; empty if there is none.

    Raises:
        InputError: two columns have the same name, apart from case, spaces and signs.
    """
    for name in names:
        if name == names[0] and name in columns:
            return name
        alike = [column for column in columns if plain_name(column) == plain_name(name)]
        if len(alike) > 1:
            listed = " and ".join(f"'{column}'" for column in alike)
            remedy = f"name one with {option}" if option else "rename or remove one"
            raise InputError(f"{table} has the columns {listed}, which may both be the {name}: {remedy}")
        if alike:
            return alike[0]
    return None
