"""Zip archives: any thread reads a member directly from the archive; members are never unpacked to the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources import instruments
from pelagia.sources.archives import cut_short
from pelagia.sources.archives.names import Names
from pelagia.sources.archives.zip_format import Broken, Entry, entries, entries_without_directory, find_directory
from pelagia.sources.image import Kind, SourceImage, base_name, failed, inside, known_suffixes
from pelagia.sources.listing import Listing


def images(archive: Path, listing: Listing) -> Iterator[SourceImage]:
    """The images of a zip, in the archive's order.

    If the archive is truncated, yields its complete members, then one failed image with the reason.

    Raises:
        InputError: the archive cannot be read, is not a zip, or has no image.
    """
    names = Names(listing)
    found = 0
    try:
        for entry in members(archive):
            name = "" if entry.is_folder else names.of(entry.name)
            if name:
                found += 1
                yield SourceImage(name, inside(archive, name), {}, entry)
    except Broken as error:
        yield failed(base_name(archive), archive, "damaged", cut_short(error, found))
        return
    except OSError as error:
        raise InputError(f"cannot read {archive}: {error.strerror}; check that your account may read it") from None
    if not found:
        looked = f"there is no image in {archive} (looked for {known_suffixes()})"
        raise InputError(f"{looked}{instruments.hints(listing.left_out) or ': name another archive'}")


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
