"""FlowCam runs inside zip archives are refused: their collages have to be unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources.archives.zip_search import names_contain
from pelagia.sources.image import Kind, SourceImage
from pelagia.sources.listing import Listing

_RUN = ((b".lst", b".LST"), (b"cal_image_", b"_bin.tif", b"CAL_IMAGE_", b"_BIN.TIF"))


def _images(archive: Path, _: Listing) -> Iterator[SourceImage]:
    raise InputError(
        f"{archive} has a FlowCam run, whose particles are cut from collages: unpack the archive, and name the folder "
        "with the .lst"
    )


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file() and names_contain(path, _RUN)


ZIP = Kind(claims=_claims, images=_images)
"""It comes before the other zips."""
