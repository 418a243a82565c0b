"""Folders and all folders below them: image files, by the ending of their names, and IFCB bins.

Invariant: images come sorted by name within each folder, in whatever order the disk lists them. Only the names in the
current folder and the folders above it are in memory, so that millions of files need little time and memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import flowcam, ifcb, instruments
from pelagia.sources.archives import is_archive_name
from pelagia.sources.image import Kind, NoImageError, SourceImage, failed, is_image_name, is_junk, known_suffixes
from pelagia.sources.instruments.contents import no_columns
from pelagia.sources.listing import LEFT_OUT, Listing, other_files_text
from pelagia.system.files import printable


@dataclass(frozen=True, slots=True)
class _Level:
    """The current folder or one above it: its path below the root, ending in a slash, and the names not listed yet.

    The names are in reverse order, so that each can be removed from the end when it is used. ``columns`` is a function
    from the name of an image to its columns, ``several`` the names of files with several images: bins and the
    lists of FlowCam runs.
    """

    prefix: str
    names: list[str]
    folders: frozenset[str]
    columns: Callable[[str], Mapping[str, str]] = no_columns
    several: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """The names in a folder: ``links`` are links to folders, ``signs`` show the layout of an instrument."""

    images: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    bins: list[str] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)


def images(root: Path, listing: Listing) -> Iterator[SourceImage]:
    """Images under ``root``. Hidden names and junk are skipped; every other file that is not an image is counted.

    Links to folders are counted, or followed if the options say so; no folder is listed twice. A folder below ``root``
    that cannot be listed is a failed image.

    Raises:
        InputError: ``root`` cannot be listed, or has no image.
    """
    found = False
    before = listing.left_out.copy()
    for image in _Walk(root, listing).images():
        found = True
        yield image
    if not found:
        left_out = listing.left_out - before
        inside, archives = left_out["archive_inside"], left_out["other_archive"]
        others = other_files_text(left_out)
        patterns = " or ".join(listing.archive_patterns(root))
        hint = f"; it contains other files: {others}" if others else ""
        hint += f"; it contains {inside} archives: name those, as in {patterns}" if inside else ""
        hint += f"; it contains {archives} {LEFT_OUT['other_archive']}" if archives else ""
        if left_out["folder_link"]:
            hint += "; it contains links to folders: follow them with --follow-links"
        hint += instruments.hints(left_out)
        raise NoImageError(f"there is no image in {root} (looked for {known_suffixes()}, in all its folders){hint}")


class _Walk:
    """Lists the images under ``root``, and counts in ``listing`` what it leaves out."""

    def __init__(self, root: Path, listing: Listing) -> None:
        self._root, self._listing = root, listing
        self._real: list[Path] = []
        """The root and the folders that followed links lead to, without links in their paths."""

    def images(self) -> Iterator[SourceImage]:
        """The images, sorted by name within each folder. Raises InputError if the root cannot be listed."""
        try:
            levels = [self._list("")]
        except OSError as error:
            raise InputError(f"cannot list {self._root}: {error.strerror}") from None
        while levels:
            level = levels[-1]
            if not level.names:
                levels.pop()
                continue
            name = level.names.pop()
            relative = level.prefix + name
            if name in level.folders:
                try:
                    levels.append(self._list(f"{relative}/"))
                except OSError as error:  # the other images are still listed
                    why = f"the folder cannot be listed: {error.strerror}"
                    yield failed(printable(relative), self._root / relative, "unreadable", why)
            elif name in level.several:
                for image in self._images_inside(self._root / relative):
                    yield SourceImage(printable(level.prefix) + image.path, image.file, image.columns, image.reader)
            else:
                yield SourceImage(printable(relative), self._root / relative, level.columns(name))

    def _images_inside(self, file: Path) -> Iterator[SourceImage]:
        """The images of a bin or of a FlowCam run."""
        if ifcb.is_bin_file(file.name):
            return ifcb.images_or_fault(file, self._listing)
        return flowcam.images_or_fault(file, self._listing)

    def _list(self, prefix: str) -> _Level:
        folder = self._root / prefix
        found = self._scan(folder)
        found.folders.update(
            name for name in sorted(found.links) if follows(folder / name, self._root, self._real, self._listing)
        )
        layout = None
        images, folders = found.images, found.folders
        if instruments.has_layout(folder, folders, found.signs):
            layout = instruments.arrange(folder, images, folders, found.signs, self._listing)
            images, folders = [*layout.images, *layout.runs], layout.folders
        names = sorted((*images, *folders, *found.bins))
        if found.bins:
            names = ifcb.one_file_per_bin(names, self._listing)
        several = frozenset((*found.bins, *(layout.runs if layout else ())))
        return _Level(prefix, names[::-1], frozenset(folders), layout.columns if layout else no_columns, several)

    def _scan(self, folder: Path) -> _Found:
        """The names in a folder by what they are; other files are counted."""
        found = _Found()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if is_junk(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.folders.add(name)
                elif is_image_name(name) and entry.is_file(follow_symlinks=False):
                    found.images.append(name)
                elif entry.is_symlink() and os.path.isdir(entry.path):
                    found.links.append(name)
                else:
                    self._add_other(entry, found)
        return found

    def _add_other(self, entry: os.DirEntry[str], found: _Found) -> None:
        """Adds a link to an image, a sign or a file of a bin to ``found``, and counts other files."""
        name, left_out = entry.name, self._listing.left_out
        if is_image_name(name):
            if entry.is_symlink():
                found.images.append(name)
            else:
                left_out["no_file"] += 1
        elif ifcb.has_bin_suffix(name) and entry.is_file():
            if ifcb.is_bin_file(name):
                found.bins.append(name)
            else:
                left_out["bin_without_name"] += 1
        elif is_archive_name(name):
            self._listing.count_archive(entry.path)
        elif instruments.is_sign(name):
            found.signs.append(name)  # its layout counts it
        else:
            self._listing.count_other_file(name)


def follows(link: Path, root: Path, real: list[Path], listing: Listing) -> bool:
    """Whether a link to a folder is followed. If not, it is counted.

    Args:
        link: the link.
        root: the folder that is listed.
        real: the root and the folders that followed links lead to, without links in their paths. It is filled here.
        listing: has the option, and gets the counts.
    """
    if not listing.options.follow_links:
        listing.left_out["folder_link"] += 1
        return False
    if not real:
        real.append(root.resolve())
    target = link.resolve()
    if any(target == other or target in other.parents or other in target.parents for other in real):
        listing.left_out["folder_link_again"] += 1
        return False
    real.append(target)
    return True


KIND = Kind(claims=Path.is_dir, images=images)
