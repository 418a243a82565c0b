"""Turns the names of archive members into names of images.

Members are never unpacked to the disk, but their names go into tables and reports.
"""

from __future__ import annotations

import re
from collections import Counter

from pelagia.sources.flowcam.in_folders import is_other_image
from pelagia.sources.image import is_image_name, is_junk
from pelagia.sources.instruments.uvp6 import is_vignette
from pelagia.sources.listing import Listing, archive_ending
from pelagia.sources.seen import Seen
from pelagia.system.files import printable

_DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])")


_FLOWCAM = (
    "an archive has a FlowCam run, whose collages are listed as whole images: unpack the archive, and name the folder "
    "with the .lst"
)


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is likely to be an archive."""
    return bool(archive_ending(name))


def archive_stem(name: str) -> str:
    """An archive's name without its ending, which most programs use as the name of the unpacked folder."""
    return name.removesuffix(archive_ending(name))


def member_name(name: str) -> str:
    """A member's name as a relative path: forward slashes, no drive, no root, no ``.``; ``..`` becomes ``__``."""
    parts = _DRIVE.sub("", name).replace("\\", "/").split("/")
    kept = ("__" if part == ".." else part for part in parts if part not in ("", "."))
    return printable("/".join(kept))


class Names:
    """Gives each image of an archive a unique name. A second ``a.png`` becomes ``a.png#2``, so that none is lost."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._seen = Seen()
        self._again: Counter[str] = Counter()

    def of(self, raw: str) -> str:
        """The name of a member that is an image; empty for other members, which are counted."""
        name = member_name(raw)
        if any(map(is_junk, name.split("/"))):
            return ""
        if not is_image_name(name):
            if is_archive_name(name):
                self._listing.count_archive(name)
            elif is_vignette(name):
                self._listing.left_out["uvp6_vignette"] += 1
            elif name:
                self._listing.count_other_file(name)
            return ""
        if name[-1] in "fF" and is_other_image(name):
            if not self._listing.left_out["flowcam_in_archive"]:
                self._listing.warn(_FLOWCAM)
            self._listing.left_out["flowcam_in_archive"] += 1
            return ""
        return self.unique(name)

    def has(self, name: str) -> bool:
        """Whether ``name`` was given before. From then on it counts as given."""
        return self._seen.add(name)

    def unique(self, name: str) -> str:
        """``name``, with a number appended if it was used before."""
        if not self._seen.add(name):
            return name
        while True:
            self._again[name] += 1
            numbered = f"{name}#{self._again[name] + 1}"
            if not self._seen.add(numbered):  # another member may have that name
                return numbered
