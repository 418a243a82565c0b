"""Folders in the layout of an instrument: which of their files are images of organisms, and what is known about them.

Invariant: `arrange` gets the files of one folder and leaves out those that are not pictures of single organisms: masks,
whole frames, calibration images, scans. Each is counted with its reason. A layout is recognized by files of its own,
the signs, so that other folders cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pelagia.sources.flowcam import in_folders as flowcam
from pelagia.sources.instruments import pi10, planktoscope, uvp6, zooprocess
from pelagia.sources.instruments.contents import Contents
from pelagia.sources.listing import Listing

_SIGNS = (planktoscope.is_sign, zooprocess.is_sign, uvp6.is_sign, pi10.is_sign)
_ARRANGE = (planktoscope.arrange, zooprocess.arrange, uvp6.arrange, pi10.arrange)
_FOLDERS = planktoscope.FOLDERS | zooprocess.FOLDERS
_HINTS = (planktoscope.HINTS, zooprocess.HINTS, uvp6.HINTS)


def is_sign(name: str) -> bool:
    """Whether a file that is not an image shows the layout of an instrument."""
    return flowcam.is_run_file(name) or any(is_sign(name) for is_sign in _SIGNS)


def has_layout(folder: Path, folders: set[str], signs: list[str]) -> bool:
    """Whether a folder with these folders and signs may have the layout of an instrument."""
    return bool(signs) or not _FOLDERS.isdisjoint(folders) or folder.name == pi10.FOLDER


def arrange(folder: Path, images: list[str], folders: set[str], signs: list[str], listing: Listing) -> Contents:
    """What is listed of a folder.

    Args:
        folder: the folder.
        images: the names of its images.
        folders: the names of its folders.
        signs: the names of its files for which `is_sign` is true.
        listing: gets the counts and warnings.
    """
    images, runs = flowcam.arrange(folder, images, [name for name in signs if flowcam.is_run_file(name)], listing)
    contents = Contents(folder, images, folders, [name for name in signs if not flowcam.is_run_file(name)])
    contents.runs = runs
    for arrange_layout in _ARRANGE:
        arrange_layout(contents, listing)
    for name in contents.signs:
        listing.count_other_file(name)
    return contents


def hints(left_out: Mapping[str, int]) -> str:
    """What to give instead, if all that a folder holds was left out; empty if no instrument was recognized."""
    found = dict.fromkeys(hint for table in _HINTS for key, hint in table.items() if left_out.get(key))
    return "".join(f"; {hint}" for hint in found)
