"""Pi-10 (Plankton Imager): a tar for each ten minutes, ``CRUISE/YYYY-MM-DD/HHMM.tar``.

A tar has images in ``RawImages``, whose names have the date and the time, such as
``pia7.2024-06-24.1454+N00000017.tif``, and ``Background.tif``, which is no image of an organism. Source: the README of
github.com/geoJost/plankton_imager_classifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pelagia.sources.instruments.contents import Contents
from pelagia.sources.listing import Listing

_SIGNS = frozenset({"hitsmisses.txt", "bubbles.txt", "cameralog.txt"})
_BACKGROUND = "background.tif"
FOLDER = "RawImages"
_NAME = re.compile(r"\.(\d{4}-\d\d-\d\d)\.(\d\d)(\d\d)\+N\d+\.tiff?$", re.ASCII | re.IGNORECASE)
_TAR = re.compile(r"\d{4}\.tar$", re.IGNORECASE)


def is_sign(name: str) -> bool:
    """Whether a file is one of the instrument's own records."""
    return name.lower() in _SIGNS


def is_tar(name: str) -> bool:
    """Whether an archive is named as the instrument names its tars."""
    return _TAR.fullmatch(name) is not None


def is_background(name: str) -> bool:
    """Whether a file in the folder or the tar of an instrument is its background image."""
    return name.lower() == _BACKGROUND


def columns(name: str) -> Mapping[str, str]:
    """The instrument and the time in the name of an image, in the clock of the instrument; empty for other names."""
    found = _NAME.search(name)
    if not found:
        return {}
    date, hour, minute = found.groups()
    return {"instrument": "Pi-10", "eventDate": f"{date}T{hour}:{minute}"}


def arrange(contents: Contents, listing: Listing) -> None:
    """Leaves out the background image of an unpacked tar, and gives the others their time."""
    has_records = any(map(is_sign, contents.signs))
    if has_records or contents.folder.name == FOLDER:
        contents.columns = columns
    if has_records:
        contents.leave_out(filter(is_background, contents.images), "pi10_background", listing)
