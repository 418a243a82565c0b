"""The only search for names in the directory of a zip without parsing it, which is fast even with a million members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pelagia.sources.archives.zip_format import Directory, find_directory
from pelagia.sources.image import read_at

_PIECE = 1 << 16
_OVERLAP = 1 << 10


def names_contain(archive: Path, groups: Sequence[Sequence[bytes]]) -> bool:
    """Whether the directory of a zip contains, of each group, at least one text of up to 64 bytes.

    False for an archive that cannot be read: the error is reported when it is listed.
    """
    try:
        with archive.open("rb") as file:
            directory = find_directory(file)
        return directory is not None and all(
            directory_has(archive, directory, partial(_has_any, texts)) for texts in groups
        )
    except OSError:
        return False


def _has_any(texts: Sequence[bytes], piece: bytes) -> bool:
    return any(text in piece for text in texts)


def directory_has(archive: Path, directory: Directory, fits: Callable[[bytes], object]) -> bool:
    """Whether a piece of a directory fits. Pieces overlap, so that each text of up to 1 KB is whole in one of them.

    Raises OSError.
    """
    at, end = directory.start, directory.start + directory.size
    while at < end:
        piece = read_at(archive, at, min(_PIECE + _OVERLAP, end - at))
        if fits(piece):
            return True
        if not piece:
            return False
        at += _PIECE
    return False
