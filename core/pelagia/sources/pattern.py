"""Patterns such as ``'2024*/*.png'``, in quotes so that the shell does not replace them by a million names.

``*``, ``?`` and ``[...]`` match within one name; ``**`` matches any number of folders. Hidden names and junk do
not match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import translate
from itertools import takewhile
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import ifcb
from pelagia.sources.image import is_junk
from pelagia.sources.listing import Listing

WILD = re.compile(r"[*?\[]")


def is_pattern(path: Path) -> bool:
    """Whether a path has wildcards and is not the name of an existing file or folder."""
    return bool(WILD.search(str(path))) and not os.path.lexists(path)


def root_of(pattern: Path) -> Path:
    """The folder that a pattern starts from: its parts before the first wildcard."""
    return Path(*takewhile(lambda part: not WILD.search(part), pattern.parts))


@dataclass(frozen=True, slots=True)
class _Level:
    """A folder, its path below the root, ending in a slash, and the parts of the pattern for what is in it."""

    folder: Path
    prefix: str
    parts: tuple[str, ...]


def matches(pattern: Path, listing: Listing) -> Iterator[tuple[str, OSError | None]]:
    """Paths below `root_of` that match, sorted by name within each folder, one folder in memory at a time.

    A folder that cannot be listed comes with its error. Only one of the three files of an IFCB bin is listed, so that
    each bin is listed once.

    Raises:
        InputError: the fixed part of the pattern cannot be listed.
    """
    root = root_of(pattern)
    levels = [_in_level(_Level(root, "", pattern.parts[len(root.parts) :]), listing)]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif isinstance(found, _Level):
            levels.append(_in_level(found, listing))
        elif found[1] is not None and not found[0]:
            raise InputError(f"cannot list {root}: {found[1].strerror}")
        else:
            yield found


def _in_level(level: _Level, listing: Listing) -> Iterator[_Level | tuple[str, OSError | None]]:
    """Matches in a folder, and the folders below it where the rest of the pattern, or a ``**``, goes on."""
    part, rest = level.parts[0], level.parts[1:]
    try:
        names, folders = _list(level.folder)
    except OSError as error:
        yield level.prefix.rstrip("/"), error
        return
    if part == "**" and not rest:  # a folder that matches is listed with everything in it
        part = "*"
    if part == "**":
        yield _Level(level.folder, level.prefix, rest)
        for name in names:
            if name in folders:
                yield _Level(level.folder / name, f"{level.prefix}{name}/", level.parts)
        return
    fits = re.compile(translate(part)).match
    fitting = [name for name in names if fits(name)]
    if not rest:
        yield from ((level.prefix + name, None) for name in ifcb.one_file_per_bin(fitting, listing))
        return
    for name in fitting:
        if name in folders:
            yield _Level(level.folder / name, f"{level.prefix}{name}/", rest)


def _list(folder: Path) -> tuple[list[str], set[str]]:
    with os.scandir(folder) as entries:
        found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries if not is_junk(entry.name)}
    return sorted(found), {name for name, is_folder in found.items() if is_folder}
