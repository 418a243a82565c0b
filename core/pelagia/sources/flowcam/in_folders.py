"""FlowCam runs in a folder: which list is used, and which images are not those of particles."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pelagia.images.preprocess import ImageError
from pelagia.sources.flowcam.lst import CONTEXT, SUFFIX, ParticleList, is_list
from pelagia.sources.image import is_image_name
from pelagia.sources.listing import Listing
from pelagia.system.files import printable

_MASK = re.compile(r"_[0-9]+_bin\.tiff?$", re.IGNORECASE)
_SURE = re.compile(r"_[0-9]{6}_bin\.tiff?$|(?:^|/)(?:cal_image|rawfile)_[0-9]+\.tiff?$", re.IGNORECASE)
_OF_RUN = re.compile(r"_[0-9]+(_bin)?\.tiff?$", re.IGNORECASE)
_CALIBRATION = re.compile(r"^cal_image_[0-9]+\.tiff?$", re.IGNORECASE)
_FRAME = re.compile(r"^rawfile_[0-9]+(_bin)?\.tiff?$", re.IGNORECASE)
_NUMBER = re.compile(r"_[0-9]+\.[a-z]+$", re.IGNORECASE)


def is_run_file(name: str) -> bool:
    """Whether a file of this name may be the list or the context of a run."""
    return name.lower().endswith((SUFFIX, CONTEXT))


def is_other_image(path: str) -> bool:
    """Whether an image is a mask, a calibration image or a frame of a run, by its name alone."""
    low = path.lower()
    may_be = "_bin.tif" in low or "cal_image_" in low or "rawfile_" in low  # quicker for a million other names
    return may_be and _SURE.search(low) is not None


def is_part_of_run(file: Path) -> bool:
    """Whether a file is an image of a FlowCam run in its folder: a collage, a mask, a calibration image or a frame."""
    if not _OF_RUN.search(file.name):
        return False
    try:
        return file.name in _images_of_runs(file.parent, os.stat(file.parent).st_mtime_ns)
    except OSError:
        return False


@lru_cache(maxsize=4)
def _images_of_runs(folder: Path, _changed: int) -> frozenset[str]:
    """The images of the runs in a folder, which was changed at that time."""
    names = os.listdir(folder)
    images = [name for name in names if is_image_name(name)]
    left, _ = arrange(folder, images, [name for name in names if is_run_file(name)], Listing())
    return frozenset(images).difference(left)


def arrange(folder: Path, names: Sequence[str], signs: Sequence[str], listing: Listing) -> tuple[list[str], list[str]]:
    """Finds the runs in a folder, and leaves out their other images, which are counted.

    Args:
        folder: the folder.
        names: its images.
        signs: its files for which `is_run_file` is true.

    Returns:
        the images that are left, and the files for `images_or_fault`: one for each run.
    """
    lists = [name for name in signs if name.lower().endswith(SUFFIX) and is_list(folder / name)]
    for name in signs:
        if name not in lists and not name.lower().endswith(CONTEXT):
            listing.count_other_file(name)
    collages = {name: _named_collages(folder / name) for name in lists}
    runs = _own_lists(lists, collages, listing)
    stems = {name[: -len(SUFFIX)].lower() for name in lists}
    for name in signs:
        stem = name[: -len(CONTEXT)].lower()
        is_alone = name.lower().endswith(CONTEXT) and stem not in stems
        if is_alone and any(low.startswith(stem) and _NUMBER.search(low) for low in map(str.lower, names)):
            runs.append(name)  # a run without its list
            stems.add(stem)
    if not runs:
        for name in signs:
            if name.lower().endswith(CONTEXT):
                listing.count_other_file(name)
        return list(names), []
    named, starts = set().union(*collages.values()), tuple(stems)
    return [name for name in names if not _is_of_run(name, starts, named, listing)], runs


def _named_collages(lst: Path) -> set[str]:
    """The collages that a list names, in lower case."""
    try:
        return {name.lower() for name in ParticleList(lst).collages()}
    except (OSError, ImageError):
        return set()  # it becomes a failed image


def _own_lists(lists: Sequence[str], collages: Mapping[str, set[str]], listing: Listing) -> list[str]:
    """One list for each run: of several that name the same collages, the one with the name of the collages."""
    kept: list[str] = []
    for name in sorted(lists, key=lambda name: (not _is_named_like(name, collages[name]), name)):
        first = next((other for other in kept if not collages[other].isdisjoint(collages[name])), None)
        if first is None:
            kept.append(name)
            continue
        listing.left_out["flowcam_second_list"] += 1
        listing.warn(
            f"{printable(first)} and {printable(name)} list particles of the same FlowCam collages: {printable(first)} "
            "is used; to use the other, name its path as the input"
        )
    return sorted(kept)


def _is_named_like(lst: str, collages: set[str]) -> bool:
    stem = lst[: -len(SUFFIX)].lower()
    return any(name.startswith(f"{stem}_") for name in collages)


def _is_of_run(name: str, stems: tuple[str, ...], collages: set[str], listing: Listing) -> bool:
    """Whether a file is an image of a run and not that of a particle. It is counted, unless it is a collage."""
    low = name.lower()
    if low in collages:
        return True
    if _CALIBRATION.match(name):
        key = "flowcam_calibration"
    elif _FRAME.match(name):
        key = "flowcam_frame"
    elif not (low.startswith(stems) and (_NUMBER.search(low) or _MASK.search(low))):
        return False
    else:
        key = "flowcam_mask" if _MASK.search(low) else "flowcam_unlisted"
    listing.left_out[key] += 1
    return True
