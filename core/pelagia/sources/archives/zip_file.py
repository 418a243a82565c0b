"""Zip archives: any thread reads a member directly from the archive; members are never unpacked to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import instruments
from pelagia.sources.archives import cut_short
from pelagia.sources.archives.bins import Bins
from pelagia.sources.archives.names import Names
from pelagia.sources.archives.zip_format import Broken, Entry, entries, entries_without_directory, find_directory
from pelagia.sources.archives.zip_index import open_member
from pelagia.sources.ifcb.names import is_packed
from pelagia.sources.ifcb.parts import Part, Stream, gunzipped
from pelagia.sources.image import Kind, NoImageError, SourceImage, base_name, failed, inside, known_suffixes
from pelagia.sources.listing import Listing


def images(archive: Path, listing: Listing) -> Iterator[SourceImage]:
    """The images of a zip, in the archive's order.

    If the archive is truncated, yields its complete members, then one failed image with the reason.

    Raises:
        InputError: the archive cannot be read, is not a zip, or has no image.
    """
    names = Names(listing)
    bins = Bins(archive, names, listing)
    found = 0
    try:
        for entry in members(archive):
            for image in _images_of(entry, names, bins):
                found += 1
                yield image
        for image in bins.rest():
            found += 1
            yield image
    except Broken as error:
        yield from bins.rest()
        yield failed(base_name(archive), archive, "damaged", cut_short(error, found))
        return
    except OSError as error:
        raise InputError(f"cannot read {archive}: {error.strerror}; check that your account may read it") from None
    if not found:
        looked = f"there is no image in {archive} (looked for {known_suffixes()})"
        raise NoImageError(f"{looked}{instruments.hints(listing.left_out) or ': name another archive'}")


def _images_of(entry: Entry, names: Names, bins: Bins) -> Iterator[SourceImage]:
    if entry.is_folder:
        return
    if bins.takes(entry.name):
        yield from bins.add(entry.name, _part(entry))
    elif not bins.is_extracted(entry.name) and (name := names.of(entry.name)):
        yield SourceImage(name, inside(entry.archive, name), {}, entry)


def _part(entry: Entry) -> Part:
    """A file of a bin. Its checksum is checked before the first image is read."""
    if is_packed(entry.name):
        return Stream(lambda: gunzipped(open_member(entry)))
    return Stream(lambda: open_member(entry))


def members(archive: Path) -> Iterator[Entry]:
    """All members of a zip.

    Raises:
        OSError: the archive cannot be read.
        InputError: it is not a zip.
        Broken: it is damaged; the members before the damage have been listed.
    """
    with archive.open("rb") as file:
        directory = find_directory(file)
        if directory is not None:
            for _, entry in entries(archive, file, directory):
                yield entry
            return
        file.seek(0)
        if file.read(4) != b"PK\3\4":
            raise InputError(f"{archive} is named .zip but is not a zip archive: download or copy it again")
        yield from entries_without_directory(archive, file)


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


KIND = Kind(claims=_claims, images=images)
