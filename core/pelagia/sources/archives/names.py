"""Names of archive members -> names of images: nothing is ever unpacked, but names end up in tables and reports."""

from __future__ import annotations

import re
from collections import Counter

from pelagia.sources.image import Tally, is_image_name, is_junk
from pelagia.sources.seen import Seen
from pelagia.system.files import printable

_DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])")
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|(tar\.(gz|bz2|xz))|7z|rar)$", re.IGNORECASE)


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is likely to be an archive."""
    return bool(_ARCHIVE.search(name))


def archive_stem(name: str) -> str:
    """An archive's name without its ending, as programs that unpack name the folder."""
    return _ARCHIVE.sub("", name)


def member_name(name: str) -> str:
    """A member's name with forward slashes, below the archive: no drive, no root, no ``.``; ``..`` becomes ``__``."""
    parts = _DRIVE.sub("", name).replace("\\", "/").split("/")
    kept = ("__" if part == ".." else part for part in parts if part not in ("", "."))
    return printable("/".join(kept)).replace("\0", "\\x00")


class Names:
    """The names under which an archive's members go. The second ``a.png`` is ``a.png#2``: none is lost."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen = Seen()
        self._again: Counter[str] = Counter()

    def of(self, raw: str) -> str:
        """The name of a member that is taken for an image; empty for anything else, which is counted if it matters."""
        name = member_name(raw)
        if any(map(is_junk, name.split("/"))):
            return ""
        if not is_image_name(name):
            if is_archive_name(name):
                self._tally["archive_inside"] += 1
            return ""
        return self.unique(name)

    def unique(self, name: str) -> str:
        """``name``, numbered where it came before."""
        if not self._seen.add(name):
            return name
        while True:
            self._again[name] += 1
            numbered = f"{name}#{self._again[name] + 1}"
            if not self._seen.add(numbered):  # a member may be called so
                return numbered
