"""Searches the names in a zip without parsing them, which is fast even with a million members."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pelagia.sources.archives.zip_format import Directory, find_directory
from pelagia.sources.image import read_at

_PIECE = 1 << 16
_OVERLAP = 64


def names_contain(archive: Path, groups: Sequence[Sequence[bytes]]) -> bool:
    """Whether the directory of a zip contains, of each group, at least one text of up to 64 bytes.

    False for an archive that cannot be read: the error is reported when it is listed.
    """
    try:
        with archive.open("rb") as file:
            directory = find_directory(file)
        return directory is not None and all(_contains(archive, directory, texts) for texts in groups)
    except OSError:
        return False


def _contains(archive: Path, directory: Directory, texts: Sequence[bytes]) -> bool:
    at, end = directory.start, directory.start + directory.size
    while at < end:
        piece = read_at(archive, at, min(_PIECE + _OVERLAP, end - at))
        if any(text in piece for text in texts):
            return True
        if not piece:
            return False
        at += _PIECE
    return False
