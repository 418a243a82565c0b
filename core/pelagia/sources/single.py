"""Single image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.sources.image import Kind, SourceImage, is_image_name
from pelagia.sources.listing import Listing
from pelagia.system.files import printable


def images(file: Path, _: Listing) -> Iterator[SourceImage]:
    """The image ``file``."""
    yield SourceImage(printable(file.name), file)


def _claims(path: Path) -> bool:
    return is_image_name(path.name) and path.is_file()


KIND = Kind(claims=_claims, images=images, label=lambda path: path.name, self_named=True)
