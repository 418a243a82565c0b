"""PlanktoScopes: folders of whole frames, and the pictures that the segmenter makes to check its work.

The folder of an acquisition (``img/DATE/SAMPLE/ACQUISITION``) has the frames and a ``metadata.json``. The segmenter
cuts the organisms, and writes them with an EcoTaxa table to ``export/ecotaxa/ecotaxa_ACQUISITION.zip`` and, if they are
kept, to ``objects/DATE/SAMPLE/ACQUISITION``. Its pictures for checks are in ``clean``. Source: the segmenter of the
PlanktoScope (github.com/PlanktoScope/device-backend, ``processing/segmenter``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pelagia.sources.image import read_at
from pelagia.sources.instruments.contents import Contents
from pelagia.sources.listing import Listing

_METADATA = "metadata.json"
_LONGEST = 1 << 20
_CHECKS = "clean"
FOLDERS = frozenset({"img", "objects", _CHECKS})
"""Folders that the data of an instrument has all."""
HINTS = {
    "planktoscope_frame": "it has whole frames of a PlanktoScope: give the zip that its segmenter wrote to "
    "export/ecotaxa, or the folder objects"
}


def is_sign(name: str) -> bool:
    """Whether a file is named like the metadata of an acquisition."""
    return name.lower() == _METADATA


def arrange(contents: Contents, listing: Listing) -> None:
    """Leaves out the frames of an acquisition, and the folder of the segmenter's pictures for checks."""
    if contents.folders >= FOLDERS:
        contents.leave_out_folders([_CHECKS], "planktoscope_folder", listing)
    metadata = [name for name in contents.signs if is_sign(name)]
    if any(_is_acquisition(contents.folder / name) for name in metadata):
        contents.leave_out(contents.images, "planktoscope_frame", listing)


def _is_acquisition(file: Path) -> bool:
    """Whether a ``metadata.json`` is that of a PlanktoScope: other programs use the same name."""
    try:
        values: Any = json.loads(read_at(file, 0, _LONGEST))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(values, dict):
        return False
    return "planktoscope" in str(values.get("acq_instrument", "")).lower() or {"acq_id", "acq_nb_frame"} <= set(values)
