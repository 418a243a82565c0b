"""Finds the images that the rows of a table name, in a folder.

Invariant: a table never reaches a file outside the folder of its images, and a name that fits several files is a failed
image, not a guess. A name that differs from its file is found where only one file fits, and a warning says so.

Where a name is not that of a file, these are tried in turn: the name in another Unicode form or case; the name without
the folders before it, as for a path of another computer; the name of the file alone, in any folder, if it is a bare
name or a path of another computer.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from pelagia.sources.image import SourceImage, failed, is_junk
from pelagia.sources.listing import Listing
from pelagia.system.files import printable

_MOST_FILES = 300_000
"""The most files of a folder whose names are searched: their names take about 60 MB of memory."""

_LIST_AFTER = frozenset({64, 256, 1024})
"""After so many questions for files of one folder, its names are listed."""
_NAMES_FOR_EACH = 16
"""The most names that are listed for each of these questions: 16,384 names in all, in 2 MB of memory."""

_DRIVE = re.compile(r"[A-Za-z]:/|//")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, slots=True)
class Found:
    """What a name was found as.

    Attributes:
        path: the path of the file below the root, with forward slashes; empty if there is none.
        how: how the name differs from the path, a key of `_WARNINGS`; empty if it does not.
        cause: why there is no such file, in words.
    """

    path: str = ""
    how: str = ""
    cause: str = ""


_WARNINGS = {
    "spelling": "differ from the files in the case or the Unicode form of their letters",
    "folders": "are paths with other folders and were found by their last parts",
    "name": "were found by the name of the file alone, which only one file has",
}


class NamedFiles:
    """The files of a folder, by the names that a table has for them.

    Args:
        root: the folder that the names are relative to.
        listing: gets a warning for each kind of difference between a name and the file that it was found as. Its option
            ``follow_links`` allows links that lead out of the folder.
    """

    def __init__(self, root: Path, listing: Listing) -> None:
        self._root, self._listing = root, listing
        self._real_root = os.path.realpath(root)
        self._folder_is_inside = lru_cache(1 << 10)(self._is_inside)
        self._names_in = lru_cache(1 << 5)(self._list_folder)
        self._files: dict[str, list[str]] | None = None
        self._said: dict[str, str] = {}
        self._status: os.stat_result | None = None
        self._prefix, self._folder, self._asked = "", root, 0
        """The folder of the last file that was asked for: its path below the root, and how often it was asked for."""
        self._known: frozenset[str] = frozenset()
        """Names of files in this folder that are no links."""

    def image(self, name: str, columns: Mapping[str, str], path: str = "") -> SourceImage:
        """The image that a row names; a failed image if the folder has no such file, or several.

        Args:
            name: the name as the table has it.
            columns: the other values of the row.
            path: the name of the image in Pelagia; by default that in the table, with forward slashes. For an absolute
                path or a URL it is the path of the file below the root.
        """
        return self.as_image(name, self.find(name), columns, path)

    def as_image(self, name: str, found: Found, columns: Mapping[str, str], path: str = "") -> SourceImage:
        """The image of a name that `find` was called with; otherwise as `image`. Warns if the file has another name."""
        if found.path and not found.how:
            return SourceImage(path or found.path, self._file(found.path), columns)
        plain = clean(name)
        path = path or printable(found.path if found.path and is_foreign(plain) else plain)
        if found.cause:
            return failed(path, self._root / plain, "missing", found.cause, columns)
        if found.how:
            example = f"such as '{printable(name.strip())}', which is '{printable(found.path)}'"
            text = f"names of images in the table {_WARNINGS[found.how]}, {example}"
            self._listing.warn(self._said.setdefault(found.how, text))
        return SourceImage(path, self._root / found.path, columns)

    def find(self, name: str) -> Found:
        """The file that a name means. It looks at the file at most once, and searches only if none has this name."""
        plain = clean(name)
        end = plain.rfind("/") + 1
        if plain[end:] in self._known and plain[:end] == self._prefix:
            return Found(plain)
        if not plain or "\0" in plain:
            return Found(cause="the table names no file")
        below = self._below(plain)
        if below and self._exists(below):
            found = self._checked(below, "")
            if found.path:
                self._look_around(below[: below.rfind("/") + 1])
            return found
        if not is_foreign(plain) and (plain == ".." or plain.startswith("../")):
            return Found(cause=f"the table names a file outside the folder {self._root}: put table and images together")
        return self._search(plain)

    def _below(self, plain: str) -> str:
        """The path below the root; empty for a path that is not below it."""
        if not is_foreign(plain):
            return "" if plain == ".." or plain.startswith("../") else plain
        for root in (self._root.absolute().as_posix(), Path(self._real_root).as_posix()):
            if plain.startswith(f"{root.rstrip('/')}/"):
                return plain[len(root.rstrip("/")) + 1 :]
        return ""

    def _exists(self, below: str) -> bool:
        """Whether there is such a name; a name that cannot be asked for counts, so that its fault is reported."""
        try:
            self._status = os.lstat(os.path.join(self._root, below))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError):
            self._status = None
        return True

    def _file(self, below: str) -> Path:
        """The path of a file below the root; quick for the files of one folder."""
        end = below.rfind("/") + 1
        return self._folder / below[end:] if below[:end] == self._prefix else self._root / below

    def _look_around(self, prefix: str) -> None:
        """Lists names of a folder in which many files were asked for: one listing is quicker than many questions.

        It lists few names more than were asked for, so a few rows for a folder of a million files are quick.
        """
        if prefix != self._prefix:
            self._prefix, self._folder, self._asked, self._known = prefix, self._root / prefix, 0, frozenset()
        self._asked += 1
        if self._asked in _LIST_AFTER:
            with suppress(OSError), os.scandir(self._folder) as entries:
                some = islice(entries, self._asked * _NAMES_FOR_EACH)
                self._known = frozenset(entry.name for entry in some if not entry.is_symlink())

    def _is_inside(self, below: str) -> bool:
        """Whether a path, its links followed, is inside the root."""
        real = os.path.realpath(os.path.join(self._root, below))
        return real == self._real_root or real.startswith(self._real_root.rstrip(os.sep) + os.sep)

    def _checked(self, below: str, how: str) -> Found:
        """The file that `_exists` has just found, if no link leads out of the root; folders are asked for once each."""
        if not self._listing.options.follow_links:
            is_link = self._status is not None and stat.S_ISLNK(self._status.st_mode)
            inside = self._is_inside(below) if is_link else self._folder_is_inside(below.rpartition("/")[0])
            if not inside:
                return Found(cause=self._leads_out(below))
        return Found(below, how)

    def _leads_out(self, below: str) -> str:
        target = printable(os.path.realpath(os.path.join(self._root, below)))
        return f"a link to {target}, outside the folder {self._root}; --follow-links follows it"

    def _search(self, plain: str) -> Found:
        foreign = is_foreign(plain)
        parts = [part for part in _path_of(plain).split("/") if part not in ("", ".")]
        for start in range(len(parts)):
            fitting = self._alike("", parts[start:])
            if fitting:
                return self._only(fitting, "spelling" if start == 0 and not foreign else "folders")
        fitting = self._anywhere(parts[-1]) if parts and (foreign or len(parts) == 1) else []
        return self._only(fitting, "name") if fitting else Found(cause=self._cause(plain))

    def _only(self, fitting: list[str], how: str) -> Found:
        """The only file that fits."""
        return self._checked(fitting[0], how) if self._exists(fitting[0]) and len(fitting) == 1 else _several(fitting)

    def _alike(self, folder: str, parts: list[str]) -> list[str]:
        """The paths below ``folder`` that have these parts, apart from Unicode forms and case; an exact one alone."""
        exact = posixpath.join(folder, *parts)
        if ".." in parts:
            return []
        if self._exists(exact):
            return [exact]
        names = self._names_in(folder).get(_key(parts[0]), ())
        same_case = [
            name for name in names if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", parts[0])
        ]
        found = []
        for name in same_case or names:
            path = posixpath.join(folder, name)
            found += self._alike(path, parts[1:]) if len(parts) > 1 else [path]
        return found

    def _list_folder(self, folder: str) -> dict[str, tuple[str, ...]]:
        """The names in a folder below the root, by `_key`."""
        names: dict[str, tuple[str, ...]] = {}
        try:
            listed = sorted(os.listdir(os.path.join(self._root, folder)))
        except (OSError, ValueError):
            return names
        for name in listed:
            names[_key(name)] = (*names.get(_key(name), ()), name)
        return names

    def _anywhere(self, name: str) -> list[str]:
        """The files of this name in any folder below the root, without hidden ones and junk."""
        if self._files is None:
            self._files = {}
            for count, path in enumerate(_files_below(self._root)):
                if count >= _MOST_FILES:
                    self._files.clear()
                    break
                self._files.setdefault(_key(path.rpartition("/")[2]), []).append(path)
        return self._files.get(_key(name), [])

    def _cause(self, plain: str) -> str:
        if _URL.match(plain):
            return f"a web address: Pelagia downloads nothing; download the images to {self._root}"
        if is_foreign(plain):
            where = (
                "on this computer, but outside" if os.path.exists(plain) else "of another computer, and not found in"
            )
            remedy = "put table and images together" if os.path.exists(plain) else "copy the images there"
            return f"a path {where} the folder {self._root}: {remedy}"
        return f"there is no such file in {self._root}"


@lru_cache(8)  # a row asks for its name several times
def clean(name: str) -> str:
    """A name of a table with forward slashes, without spaces around it and parts such as ``./``; a URL as it is."""
    plain = name.strip().replace("\\", "/")
    if "//" not in plain and "/." not in plain and not plain.startswith(".") and not plain.endswith("/"):
        return plain  # most names, and a table may have millions
    return posixpath.normpath(plain) if plain and not _URL.match(plain) else plain


def is_foreign(plain: str) -> bool:
    """Whether a name is absolute: a path with a drive or from the root of a computer, or a URL."""
    if plain.startswith("/"):
        return True
    return ":/" in plain and (_DRIVE.match(plain) is not None or _URL.match(plain) is not None)


def _path_of(plain: str) -> str:
    """The path in a URL, without what follows ``?`` or ``#``; any other name without its drive."""
    if _URL.match(plain):
        return unquote(re.split("[?#]", plain.partition("://")[2], maxsplit=1)[0])
    return plain[2:] if _DRIVE.match(plain) else plain


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _several(paths: list[str]) -> Found:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    listed = ", ".join(printable(path) for path in paths[:3])
    return Found(cause=f"several files fit: {listed}{more}; write the path of one into the table")


def _files_below(root: Path) -> Iterator[str]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not is_junk(name))
        start = os.path.relpath(folder, root).replace(os.sep, "/")
        yield from (posixpath.normpath(f"{start}/{name}") for name in sorted(names) if not is_junk(name))
