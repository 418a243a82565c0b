"""Folders and all folders below them: image files, by the ending of their names, and IFCB bins.

Invariant: images come sorted by name within each folder, in whatever order the disk lists them. Only the names in the
current folder and the folders above it are in memory, so that millions of files need little time and memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import flowcam, ifcb, instruments
from pelagia.sources.archives import is_archive_name
from pelagia.sources.image import Kind, SourceImage, failed, is_image_name, is_junk, known_suffixes
from pelagia.sources.instruments.contents import no_columns
from pelagia.sources.listing import Listing
from pelagia.system.files import printable


@dataclass(frozen=True, slots=True)
class _Level:
    """The current folder or one above it: its path below the root, ending in a slash, and the names not listed yet.

    The names are in reverse order, so that each can be removed from the end when it is used. ``columns`` is a function
    from the name of an image to its columns, ``runs`` the names that are the list of a FlowCam run.
    """

    prefix: str
    names: list[str]
    folders: frozenset[str]
    columns: Callable[[str], Mapping[str, str]] = no_columns
    runs: frozenset[str] = frozenset()


def images(root: Path, listing: Listing) -> Iterator[SourceImage]:
    """Images under ``root``. Links to folders, pipes, devices, hidden names and junk are skipped.

    A folder below ``root`` that cannot be listed is a failed image.

    Raises:
        InputError: ``root`` cannot be listed, or has no image.
    """
    found = False
    before = listing.left_out.copy()
    for image in _walk(root, listing):
        found = True
        yield image
    if not found:
        inside = listing.left_out["archive_inside"]
        hint = f"; it contains {inside} archives: name those, as in '{root}/*.zip'" if inside else ""
        hint += instruments.hints(listing.left_out - before)
        raise InputError(f"there is no image in {root} (looked for {known_suffixes()}, in all its folders){hint}")


def _walk(root: Path, listing: Listing) -> Iterator[SourceImage]:
    try:
        levels = [_list(root, "", listing)]
    except OSError as error:
        raise InputError(f"cannot list {root}: {error.strerror}") from None
    while levels:
        level = levels[-1]
        if not level.names:
            levels.pop()
            continue
        name = level.names.pop()
        relative = level.prefix + name
        if name in level.folders:
            try:
                levels.append(_list(root / relative, f"{relative}/", listing))
            except OSError as error:  # the other images are still listed
                why = f"the folder cannot be listed: {error.strerror}"
                yield failed(printable(relative), root / relative, "unreadable", why)
        elif name in level.runs or ifcb.is_bin_file(name):
            for image in _images_inside(root / relative, name in level.runs, listing):
                yield SourceImage(printable(level.prefix) + image.path, image.file, image.columns, image.reader)
        else:
            yield SourceImage(printable(relative), root / relative, level.columns(name))


def _images_inside(file: Path, is_run: bool, listing: Listing) -> Iterator[SourceImage]:
    """The images of a FlowCam run or of a bin."""
    return flowcam.images_or_fault(file, listing) if is_run else ifcb.images_or_fault(file, listing)


def _list(folder: Path, prefix: str, listing: Listing) -> _Level:
    names: list[str] = []
    folders: set[str] = set()
    signs: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_junk(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
            elif _is_wanted(entry, listing):
                names.append(entry.name)
            elif instruments.is_sign(entry.name):
                signs.append(entry.name)
    layout = None
    if instruments.has_layout(folder, folders, signs):
        layout = instruments.arrange(folder, names, folders, signs, listing)
        names, folders = [*layout.images, *layout.runs], layout.folders
    names.extend(folders)
    names.sort()
    level = _Level(prefix, ifcb.one_file_per_bin(names)[::-1], frozenset(folders))
    return level if layout is None else replace(level, columns=layout.columns, runs=frozenset(layout.runs))


def _is_wanted(entry: os.DirEntry[str], listing: Listing) -> bool:
    if is_image_name(entry.name):
        return entry.is_symlink() or entry.is_file()
    if ifcb.has_bin_suffix(entry.name) and entry.is_file():
        if ifcb.is_bin_file(entry.name):
            return True
        listing.left_out["bin_without_name"] += 1
    elif is_archive_name(entry.name):
        listing.left_out["archive_inside"] += 1
    elif entry.is_symlink() and entry.is_dir():
        listing.left_out["folder_link"] += 1
    return False


KIND = Kind(claims=Path.is_dir, images=images)
