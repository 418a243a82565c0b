"""Finds the images that the rows of a table name, in a folder.

Invariant: a table never reaches a file outside the folder of its images, and a name that fits several files is a failed
image, not a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pelagia.sources.image import SourceImage
from pelagia.sources.listing import Listing
from pelagia.system.files import printable


class NamedFiles:
    """The files of a folder, by the names that a table has for them.

    Args:
        root: the folder that the names are relative to.
        listing: gets a warning for each kind of difference between a name and the file that it was found as.
    """

    def __init__(self, root: Path, listing: Listing) -> None:
        self._root, self._listing = root, listing

    def image(self, name: str, columns: Mapping[str, str], path: str = "") -> SourceImage:
        """The image that a row names; a failed image if the folder has no such file, or several.

        Args:
            name: the name as the table has it.
            columns: the other values of the row.
            path: the name of the image in Pelagia; by default the name in the table, with forward slashes.
        """
        return SourceImage(path or printable(name.replace("\\", "/")), self._root / name, columns)
