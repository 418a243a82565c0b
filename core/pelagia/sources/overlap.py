"""Refuses inputs that share images, which would be counted twice, before the first image is listed.

Invariant: two inputs of a survey never reach the same file, whatever the spelling, link or pattern; and an archive and
the folder that it was unpacked to are not both used. Some cases are not checked, because every file would have to be
read: copies, links to single images, and manifests that name images outside their own folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from pathlib import Path

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources.archives.names import archive_stem
from pelagia.sources.image import Kind
from pelagia.sources.listing import Listing
from pelagia.sources.pattern import WILD

_Key = tuple[int, int] | str


@dataclass(frozen=True)
class Place:
    """What this module needs to know about an input.

    Attributes:
        path: the path of the input as the user gave it.
        files: the files of the input, such as the three of a bin; empty for a folder or a pattern.
        role: ``folder``, ``pattern``, ``manifest``, ``image``, ``archive`` or ``bin``.
        kind: the kind of the input; None for a pattern.
    """

    path: Path
    files: tuple[Path, ...]
    role: str
    kind: Kind | None = None

    @cached_property
    def real(self) -> Path:
        """The path of the input without links."""
        return Path(os.path.realpath(self.path))

    @cached_property
    def reached(self) -> tuple[Path, ...]:
        """The files of the input without links; for a folder or a pattern, the path itself without links."""
        return tuple(Path(os.path.realpath(file)) for file in self.files) or (self.real,)


def refuse_overlaps(places: Sequence[Place]) -> None:
    """Raises InputError, which names both inputs and what to do, if two inputs would reach the same image."""
    keys = _Keys()
    _refuse_same(places, keys)
    _refuse_nested(places, keys)
    for at, place in enumerate(places):
        if place.role in ("pattern", "manifest"):
            for other in (*places[:at], *places[at + 1 :]):
                _refuse_shared(place, other)
    for archive in (place for place in places if place.role == "archive"):
        for folder in (place for place in places if place.role == "folder"):
            if archive.kind is not None and is_unpacked(archive.path, archive.kind, folder.path):
                raise InputError(
                    f"the folder {folder.path} contains the images of {archive.path}, which would count "
                    "twice: name only one"
                )


class _Keys:
    """Identifies a file whatever its spelling: by its number, which also works on a disk that ignores case."""

    def __init__(self) -> None:
        self._known: dict[Path, _Key] = {}

    def of(self, path: Path) -> _Key:
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def _find(self, path: Path) -> _Key:
        with suppress(OSError):
            found = os.stat(path)
            if found.st_ino:
                return found.st_dev, found.st_ino
        return os.path.normcase(path)


def _refuse_same(places: Sequence[Place], keys: _Keys) -> None:
    known: dict[_Key, Place] = {}
    for place in places:
        other = known.setdefault(keys.of(place.real), place)
        if other is not place:
            same = "" if other.path == place.path else f", as {other.path} and as {place.path}"
            raise InputError(
                f"the input {place.path} is given twice{same}: its images would count twice: name it only once"
            )


def _refuse_nested(places: Sequence[Place], keys: _Keys) -> None:
    folders = {keys.of(place.real): place for place in places if place.role == "folder"}
    if not folders:
        return
    for place in places:
        for outer in place.real.parents:
            if keys.of(outer) in folders and place.role != "manifest":
                raise InputError(
                    f"the input {place.path} is inside the input {folders[keys.of(outer)].path}: its images would "
                    "count twice: name only one"
                )


def _refuse_shared(place: Place, other: Place) -> None:
    """Refuses a pattern or a manifest that may share images with another input."""
    if place.role == "manifest" and other.role not in ("archive", "bin"):
        start = other.reached[0] if other.role != "manifest" else other.real.parent
        if _meet(place.real.parent.parts, start.parts, deep=other.role != "image"):
            raise InputError(
                f"the input {other.path} may share images with the manifest {place.path}, which would count twice: "
                "name only one of the two"
            )
    if place.role == "pattern" and other.role != "manifest":
        deep = other.role in ("folder", "pattern")
        if any(_meet(place.real.parts, reached.parts, deep=deep) for reached in other.reached):
            raise InputError(
                f"the pattern '{place.path}' may match images of the input {other.path}, which would count twice: "
                "name only one of the two"
            )


def _meet(pattern: Sequence[str], other: Sequence[str], *, deep: bool) -> bool:
    """Whether a pattern can match ``other`` or a folder above it or, if ``deep``, something below it."""
    for first, second in zip(pattern, other, strict=False):
        if "**" in (first, second):
            return True
        if not _may_both_match(first, second):
            return False
    return deep or len(other) >= len(pattern)


def _may_both_match(first: str, second: str) -> bool:
    """Whether one name can match both. Only the beginnings and ends of two patterns are compared."""
    if not WILD.search(second):
        first, second = second, first
    if not WILD.search(first):
        return first == second or re.match(translate(second), first) is not None
    begins = [WILD.split(text)[0] for text in (first, second)]
    ends = [re.split(r"[*?\]]", text)[-1] for text in (first, second)]
    return (begins[0].startswith(begins[1]) or begins[1].startswith(begins[0])) and (
        ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])
    )


def is_unpacked(archive: Path, kind: Kind, folder: Path) -> bool:
    """Whether the first image of an archive is in ``folder``, with the same bytes, where unpacking would put it."""
    try:
        first = next(kind.listed(archive, Listing()), None)
        if first is None:
            return False
        for file in _unpacked_to(archive, folder, first.path):
            if file.is_file() and file.read_bytes() == first.read():
                return True
    except (InputError, ImageError, OSError):  # the error is reported when the archive is listed
        pass
    return False


def _unpacked_to(archive: Path, folder: Path, name: str) -> Iterator[Path]:
    stem = archive_stem(archive.name)
    yield folder / name
    yield folder / stem / name
    if folder.name == stem:
        yield folder.parent / name
