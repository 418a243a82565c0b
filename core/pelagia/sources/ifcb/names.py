"""Names of the files of bins, and of images that were extracted from bins."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pelagia.sources.ifcb.bin_id import parse_bin_id
from pelagia.sources.image import is_image_name
from pelagia.sources.listing import Listing

SUFFIXES = (".adc", ".hdr", ".roi")
_PACKED = ".gz"
_ENDINGS = (*SUFFIXES, *(suffix + _PACKED for suffix in SUFFIXES))
_EXTRACTED = re.compile(r"(.+)_\d{5}\.[A-Za-z]+", re.ASCII)


def has_bin_suffix(name: str) -> bool:
    """Whether a file of this name may belong to a bin."""
    return name.lower().endswith(_ENDINGS)


def is_bin_file(name: str) -> bool:
    """Whether a file of this name belongs to a bin."""
    return has_bin_suffix(name) and parse_bin_id(stem(name)) is not None


def stem(name: str) -> str:
    """The name of a file of a bin without its ending, which may be ``.adc`` or ``.adc.gz``."""
    return name[: -len(_PACKED) - 4] if name.lower().endswith(_PACKED) else name[:-4]


def suffix_of(name: str) -> str:
    """Which file of a bin a name is, one of `SUFFIXES`."""
    return name[len(stem(name)) :].lower().removesuffix(_PACKED)


def is_packed(name: str) -> bool:
    """Whether a file of a bin is packed with gzip."""
    return name.lower().endswith(_PACKED)


def bin_of_extracted(name: str) -> str:
    """The bin that an image such as ``D20220519T124533_IFCB134_00012.png`` was extracted from; empty for others."""
    found = _EXTRACTED.fullmatch(name)
    return found[1] if found and parse_bin_id(found[1]) is not None and is_image_name(name) else ""


def one_file_per_bin(names: Sequence[str], listing: Listing) -> list[str]:
    """The names of a folder, sorted, without the second and third file of each bin and without its extracted images."""
    kept: list[str] = []
    bins = {stem(name) for name in names if is_bin_file(name)}
    if not bins:
        return list(names)
    last = ""
    for name in names:
        if is_bin_file(name):
            if stem(name) == last:
                continue
            last = stem(name)
        elif bin_of_extracted(name) in bins:
            listing.left_out["extracted"] += 1
            continue
        kept.append(name)
    return kept
