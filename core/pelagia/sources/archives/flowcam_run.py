"""FlowCam runs inside archives are refused: their collages have to be unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pelagia.errors import InputError
from pelagia.sources.archives.zip_format import find_directory
from pelagia.sources.image import Kind, SourceImage, read_at
from pelagia.sources.listing import Listing

_PIECE = 1 << 16
_OVERLAP = 64
_OTHERS = (b"cal_image_", b"_bin.tif")


def _images(archive: Path, _: Listing) -> Iterator[SourceImage]:
    raise InputError(
        f"{archive} has a FlowCam run, whose particles are cut from collages: unpack the archive, and name the folder "
        "with the .lst"
    )


def _claims(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file() and _has_run(path)


def _has_run(archive: Path) -> bool:
    """Whether the directory of a zip names a ``.lst``, and masks or calibration images of a FlowCam.

    Searches its bytes, which is fast even with a million members.
    """
    has_list = has_others = False
    try:
        with archive.open("rb") as file:
            directory = find_directory(file)
        at = directory.start if directory is not None else 0
        end = at + directory.size if directory is not None else 0
        while at < end:
            piece = read_at(archive, at, min(_PIECE + _OVERLAP, end - at))
            if not piece:
                return False
            has_list = has_list or b".lst" in piece or b".LST" in piece
            has_others = has_others or any(name in piece for name in _OTHERS)
            if has_list and has_others:
                return True
            at += _PIECE
    except OSError:
        pass  # the error is reported when the archive is listed
    return False


ZIP = Kind(claims=_claims, images=_images)
