"""Searches the names in a zip without parsing them, which is fast even with a million members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pelagia.sources.archives.zip_format import find_directory
from pelagia.sources.image import read_at

_PIECE = 1 << 16
_OVERLAP = 64


def names_contain(archive: Path, groups: Sequence[Sequence[bytes]]) -> bool:
    """Whether the directory of a zip contains, of each group, at least one text of up to 64 bytes.

    False for an archive that cannot be read: the error is reported when it is listed.
    """
    open_groups = list(groups)
    try:
        with archive.open("rb") as file:
            directory = find_directory(file)
        at = directory.start if directory is not None else 0
        end = at + directory.size if directory is not None else 0
        while open_groups and at < end:
            piece = read_at(archive, at, min(_PIECE + _OVERLAP, end - at))
            open_groups = [texts for texts in open_groups if not any(text in piece for text in texts)]
            at += _PIECE
    except OSError:
        return False
    return not open_groups
