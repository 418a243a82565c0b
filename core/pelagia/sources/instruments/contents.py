"""The files of one folder, while the layouts of instruments are recognized."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.sources.listing import Listing


def no_columns(_: str) -> Mapping[str, str]:
    """The columns of an image of which nothing is known."""
    return {}


@dataclass
class Contents:
    """What is listed of a folder.

    Attributes:
        folder: the folder.
        images: the names of its images.
        folders: the names of its folders.
        signs: the names of its files that show the layout of an instrument.
        runs: the names of the lists of FlowCam runs.
        columns: a function from the name of an image to what is known about it.
    """

    folder: Path
    images: list[str]
    folders: set[str]
    signs: list[str]
    runs: list[str] = field(default_factory=list)
    columns: Callable[[str], Mapping[str, str]] = no_columns

    def leave_out(self, images: Iterable[str], key: str, listing: Listing) -> None:
        """Removes images, and counts them under a key of `LEFT_OUT`."""
        gone = set(images)
        _count(len(gone), key, listing)
        self.images = [name for name in self.images if name not in gone]

    def leave_out_folders(self, folders: Iterable[str], key: str, listing: Listing) -> None:
        """Removes folders with all that is in them, and counts the folders under a key of `LEFT_OUT`."""
        gone = set(folders) & self.folders
        _count(len(gone), key, listing)
        self.folders -= gone

    def leave_out_signs(self, signs: Iterable[str], key: str, listing: Listing) -> None:
        """Removes signs, and counts them under a key of `LEFT_OUT`."""
        gone = set(signs)
        _count(len(gone), key, listing)
        self.signs = [name for name in self.signs if name not in gone]


def _count(number: int, key: str, listing: Listing) -> None:
    if number:
        listing.left_out[key] += number
