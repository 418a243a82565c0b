"""Warns of samples of a UVP6 that UVPapp wrote for EcoTaxa: EcoTaxa shows their vignettes in another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pelagia.sources.archives.zip_search import names_contain
from pelagia.sources.image import Kind, SourceImage
from pelagia.sources.instruments.uvp6 import NOT_INVERTED
from pelagia.sources.listing import Listing

_RULES = ("compute_vignettes.txt", "compute_vignette.txt")


def warned_of(kind: Kind) -> Kind:
    """A kind of folders or zips, with a warning for samples that have rules for their vignettes."""

    def images(path: Path, listing: Listing) -> Iterator[SourceImage]:
        if _has_rules(path):
            listing.warn(NOT_INVERTED)
        yield from kind.images(path, listing)

    return replace(kind, images=images)


def _has_rules(path: Path) -> bool:
    if path.is_dir():
        return any((path / name).exists() for name in _RULES)
    return names_contain(path, [[name.encode() for name in _RULES]])
