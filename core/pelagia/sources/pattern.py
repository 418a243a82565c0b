"""Patterns such as ``'2024*/*.png'``, in quotes so that the shell does not replace them by a million names.

``*``, ``?`` and ``[...]`` match within one name; ``**`` matches any number of folders. Hidden names and junk do
not match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import translate
from itertools import takewhile
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import ifcb
from pelagia.sources.image import is_junk

WILD = re.compile(r"[*?\[]")


def is_pattern(path: Path) -> bool:
    """Whether a path has wildcards and is not the name of an existing file or folder."""
    return bool(WILD.search(str(path))) and not os.path.lexists(path)


def root_of(pattern: Path) -> Path:
    """The folder that a pattern starts from: its parts before the first wildcard."""
    return Path(*takewhile(lambda part: not WILD.search(part), pattern.parts))


def matches(pattern: Path) -> Iterator[str]:
    """Paths below `root_of` that match, sorted by name within each folder, one folder in memory at a time.

    Only one of the three files of an IFCB bin is listed, so that each bin is listed once.
    """
    root = root_of(pattern)
    return _match(root, "", pattern.parts[len(root.parts) :])


def _match(folder: Path, prefix: str, parts: tuple[str, ...]) -> Iterator[str]:
    """Calls itself for each further part of the pattern, and for each folder below a ``**``."""
    part, rest = parts[0], parts[1:]
    names, folders = _list(folder)
    if part == "**" and not rest:  # a folder that matches is listed with everything in it
        part = "*"
    if part == "**":
        yield from _match(folder, prefix, rest)
        for name in names:
            if name in folders:
                yield from _match(folder / name, f"{prefix}{name}/", parts)
        return
    fits = re.compile(translate(part)).match
    fitting = [name for name in names if fits(name)]
    if not rest:
        yield from (prefix + name for name in ifcb.one_file_per_bin(fitting))
        return
    for name in fitting:
        if name in folders:
            yield from _match(folder / name, f"{prefix}{name}/", rest)


def _list(folder: Path) -> tuple[list[str], set[str]]:
    try:
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries if not is_junk(entry.name)}
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from None
    return sorted(found), {name for name, is_folder in found.items() if is_folder}
