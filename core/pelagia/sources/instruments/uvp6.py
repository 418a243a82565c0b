"""UVP6: sequences as the instrument stores them, and samples as UVPapp writes them for EcoTaxa.

A sequence (``raw/YYYYMMDD-HHMMSS``) has a ``_data.txt`` with counts of particles, and a zip with the vignettes in the
instrument's own format, which has no public description. A sample (``ecodata/SAMPLE``) has a zip with a table for
EcoTaxa, vignettes as PNG, and ``compute_vignettes.txt``, which tells EcoTaxa to invert the vignettes and to add a scale
bar. Source: the UVP6 user guide and the manual of UVPapp (Hydroptic, LOV).
"""

from __future__ import annotations

import re

from pelagia.sources.instruments.contents import Contents
from pelagia.sources.listing import Listing

_SEQUENCE = re.compile(r"\d{8}-\d{6}.*_data\.txt$", re.IGNORECASE)
_COMPUTED = re.compile(r"compute_vignettes?\.txt$", re.IGNORECASE)
_VIGNETTE = re.compile(r".*\.vig$", re.IGNORECASE)
_HINT = (
    "it has sequences of a UVP6, whose vignettes cannot be read: process the samples with UVPapp, and give the "
    "images.zip of each sample in ecodata, or an export from EcoTaxa"
)
HINTS = {"uvp6_sequence": _HINT, "uvp6_vignette": _HINT}
NOT_INVERTED = (
    "an input has vignettes of a UVP6 with the file compute_vignettes.txt: EcoTaxa inverts such vignettes and adds a "
    "scale bar, and Pelagia reads them as they are; use a model that was trained with such files, not "
    "with images from EcoTaxa"
)


def is_sign(name: str) -> bool:
    """Whether a file is that of a sequence, or tells EcoTaxa what to do with vignettes."""
    return any(pattern.match(name) for pattern in (_SEQUENCE, _COMPUTED, _VIGNETTE))


def is_vignette(name: str) -> bool:
    """Whether a file is a vignette in the instrument's own format."""
    return name.lower().endswith(".vig")


def arrange(contents: Contents, listing: Listing) -> None:
    """Counts sequences, and warns of vignettes that EcoTaxa shows in another way."""
    contents.leave_out_signs(filter(_SEQUENCE.match, contents.signs), "uvp6_sequence", listing)
    contents.leave_out_signs(filter(_VIGNETTE.match, contents.signs), "uvp6_vignette", listing)
    if any(map(_COMPUTED.match, contents.signs)):
        listing.warn(NOT_INVERTED)
