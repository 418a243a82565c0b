"""Folders and all folders below them: image files, by the ending of their names, and IFCB bins.

Invariant: images come sorted by name within each folder, in whatever order the disk lists them. Only the names in the
current folder and the folders above it are in memory, so that millions of files need little time and memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import ifcb
from pelagia.sources.archives import is_archive_name
from pelagia.sources.image import Kind, NoImageError, SourceImage, failed, is_image_name, is_junk, known_suffixes
from pelagia.sources.listing import LEFT_OUT, Listing
from pelagia.system.files import printable


@dataclass(frozen=True, slots=True)
class _Level:
    """The current folder or one above it: its path below the root, ending in a slash, and the names not listed yet.

    The names are in reverse order, so that each can be removed from the end when it is used.
    """

    prefix: str
    names: list[str]
    folders: frozenset[str]


def images(root: Path, listing: Listing) -> Iterator[SourceImage]:
    """Images under ``root``. Links to folders, pipes, devices, hidden names and junk are skipped.

    A folder below ``root`` that cannot be listed is a failed image.

    Raises:
        InputError: ``root`` cannot be listed, or has no image.
    """
    found = False
    for image in _walk(root, listing):
        found = True
        yield image
    if not found:
        inside, others = listing.left_out["archive_inside"], listing.left_out["other_archive"]
        patterns = " or ".join(listing.archive_patterns(root))
        hint = f"; it contains {inside} archives: name those, as in {patterns}" if inside else ""
        hint += f"; it contains {others} {LEFT_OUT['other_archive']}" if others else ""
        raise NoImageError(f"there is no image in {root} (looked for {known_suffixes()}, in all its folders){hint}")


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
        elif ifcb.is_bin_file(name):
            for image in ifcb.images_or_fault(root / relative, listing):
                yield SourceImage(printable(level.prefix) + image.path, image.file, image.columns, image.reader)
        else:
            yield SourceImage(printable(relative), root / relative)


def _list(folder: Path, prefix: str, listing: Listing) -> _Level:
    names: list[str] = []
    folders: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_junk(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
                names.append(entry.name)
            elif _is_wanted(entry, listing):
                names.append(entry.name)
    names.sort()
    return _Level(prefix, ifcb.one_file_per_bin(names, listing)[::-1], frozenset(folders))


def _is_wanted(entry: os.DirEntry[str], listing: Listing) -> bool:
    if is_image_name(entry.name):
        return entry.is_symlink() or entry.is_file()
    if ifcb.has_bin_suffix(entry.name) and entry.is_file():
        if ifcb.is_bin_file(entry.name):
            return True
        listing.left_out["bin_without_name"] += 1
    elif is_archive_name(entry.name):
        listing.count_archive(entry.path)
    elif entry.is_symlink() and entry.is_dir():
        listing.left_out["folder_link"] += 1
    return False


KIND = Kind(claims=Path.is_dir, images=images)
