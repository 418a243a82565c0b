"""Names of folders and files that every system can hold: the only rule for names in an export.

Invariant: two names of an export never differ only in their capitals, because Windows and macOS take them for one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?$", re.IGNORECASE)
_MOST_BYTES = 200


def safe_name(name: str) -> str:
    """``name`` as the name of a file or folder on Windows, macOS and Linux. Letters of all languages and spaces stay.

    See https://learn.microsoft.com/windows/win32/fileio/naming-a-file for what Windows forbids.
    """
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name))
    text = text.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore").rstrip(". ").lstrip(" ")
    if not text or text.startswith("."):
        text = f"_{text[1:]}"
    if _DEVICE.match(text):
        stem, dot, ending = text.partition(".")
        text = f"{stem}_{dot}{ending}"
    return text


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> its safe name; no two of these differ only in their capitals."""
    found: dict[str, str] = {}
    used: set[str] = set()
    for name in dict.fromkeys(names):
        first = text = safe_name(name)
        number = 2
        while text.casefold() in used:
            text, number = f"{first}_{number}", number + 1
        used.add(text.casefold())
        found[name] = text
    return found
