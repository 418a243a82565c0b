"""IFCB bins inside archives, whose files are members in any order.

Invariant: a bin is listed when its three files have been met, or at the end of the archive without those that are
missing. An image that was extracted from a bin of the archive is listed once, whichever of the two comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pelagia.sources import ifcb
from pelagia.sources.archives.names import Names, member_name
from pelagia.sources.ifcb.bin_id import parse_bin_id
from pelagia.sources.image import SourceImage, inside, is_junk
from pelagia.sources.listing import Listing

_MOST_WAITING = 4096
_MOST_BYTES = 1 << 28
"""More bins that wait for files, or more bytes of them in memory: then the bin that waits longest is listed."""


class Bins:
    """The bins of an archive.

    Args:
        archive: the archive.
        names: the names of its images.
        listing: gets the counts.
    """

    def __init__(self, archive: Path, names: Names, listing: Listing) -> None:
        self._archive, self._names, self._listing = archive, names, listing
        self._waiting: dict[str, dict[str, ifcb.Part]] = {}
        self._held: Counter[str] = Counter()
        """How many bytes of each bin that waits are in memory; ``_bytes`` is their sum."""
        self._bytes = 0
        self._listed: set[str] = set()

    def takes(self, raw: str) -> bool:
        """Whether a member is a file of a bin."""
        if not ifcb.has_bin_suffix(raw):
            return False
        parts = member_name(raw).split("/")
        if any(map(is_junk, parts)):
            return False
        if ifcb.is_bin_file(parts[-1]):
            return True
        self._listing.left_out["bin_without_name"] += 1
        return False

    def add(self, raw: str, part: ifcb.Part, held: int = 0) -> Iterator[SourceImage]:
        """The images of the bin that is complete with this member, if one is.

        Args:
            raw: the name of the member.
            part: the member.
            held: how many bytes of it are in memory.
        """
        folder, slash, name = member_name(raw).rpartition("/")
        base = f"{folder}{slash}{ifcb.stem(name)}"
        files = self._waiting.setdefault(base, {})
        files.setdefault(ifcb.suffix_of(name), part)
        self._held[base] += held
        self._bytes += held
        if len(files) == len(ifcb.SUFFIXES):
            yield from self._images(base)
        while len(self._waiting) > _MOST_WAITING or (len(self._waiting) > 1 and self._bytes > _MOST_BYTES):
            yield from self._images(next(iter(self._waiting)))

    def rest(self) -> Iterator[SourceImage]:
        """The images of the bins whose files are not complete, at the end of the archive."""
        while self._waiting:
            yield from self._images(next(iter(self._waiting)))

    def _images(self, base: str) -> Iterator[SourceImage]:
        files = self._waiting.pop(base)
        self._bytes -= self._held.pop(base)
        folder, slash, name = base.rpartition("/")
        bin_id = parse_bin_id(name)
        if bin_id is None:
            return
        self._listed.add(base)
        adc, hdr, roi = (files.get(suffix) for suffix in ifcb.SUFFIXES)
        place = inside(self._archive, f"{base}.roi")
        for image in ifcb.images_of(ifcb.BinFiles(bin_id, place, adc, roi, hdr), self._listing):
            path = f"{folder}{slash}{image.path}"
            if self._names.has(f"{path}.png"):
                self._listing.left_out["extracted"] += 1
            else:
                yield SourceImage(self._names.unique(path), image.file, image.columns, image.reader)

    def is_extracted(self, raw: str) -> bool:
        """Whether a member is an image that was extracted from a bin listed before; if so, counts it."""
        if not self._listed:
            return False
        folder, slash, name = member_name(raw).rpartition("/")
        found = ifcb.bin_of_extracted(name)
        if not found or f"{folder}{slash}{found}" not in self._listed:
            return False
        self._listing.left_out["extracted"] += 1
        return True
