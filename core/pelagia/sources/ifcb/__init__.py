"""Bins of the Imaging FlowCytobot: ``.adc`` (a table), ``.hdr`` (settings) and ``.roi`` (raw 8-bit pixels).

Invariant: an image has the name that the IFCB community uses, bin and target number (`BinId.target`), wherever the
files are. Its pixels become a binary PGM file, so that `pelagia.images.preprocess.decode` stays the only decoder. A row
that is wrong is a failed image; a row without an image is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb.adc import Adc, Roi
from pelagia.sources.ifcb.bin_id import BinId, parse_bin_id
from pelagia.sources.ifcb.hdr import position, read_hdr
from pelagia.sources.ifcb.stitch import Pixels, overlap, stitch
from pelagia.sources.ifcb.volume import volume
from pelagia.sources.image import Kind, NoImageError, SourceImage, failed, inside, read_at
from pelagia.sources.listing import Listing

SUFFIXES = (".adc", ".hdr", ".roi")


@dataclass(frozen=True, slots=True)
class RoiReader:
    """Reads one image of a ``.roi``, or two that are parts of one image, as a binary PGM file."""

    file: Path
    roi: Roi
    second: Roi | None = None

    def __call__(self) -> bytes:
        pixels = self._pixels(self.roi)
        if self.second is not None:
            pixels = stitch(self.roi, self.second, (pixels, self._pixels(self.second)))
        height, width = pixels.shape
        return b"P5\n%d %d\n255\n" % (width, height) + pixels.tobytes()

    def _pixels(self, roi: Roi) -> Pixels:
        size = roi.width * roi.height
        data = read_at(self.file, roi.offset, size)
        if len(data) < size:
            raise ImageError("damaged", f"the .roi ends within target {roi.target}: it is cut short")
        return np.frombuffer(data, np.uint8).reshape(roi.height, roi.width)


def images(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """The images of a bin.

    Args:
        path: one of the three files of the bin, or their path without an ending.

    Raises:
        InputError: the name is not that of a bin, its ``.adc`` cannot be read, or no row has an image.
    """
    base = _base(path)
    bin_id = parse_bin_id(base.name)
    if bin_id is None:
        raise InputError(
            f"{path} does not have the name of an IFCB bin, such as D20220519T124533_IFCB134: give the files their "
            "original names"
        )
    try:
        adc = Adc(_with(base, ".adc"), bin_id.style)
    except OSError as error:
        raise InputError(f"cannot read {_with(base, '.adc')}, which lists the bin's images: {error.strerror}") from None
    except ImageError as error:
        raise InputError(f"{_with(base, '.adc')} is not an .adc file: {error}") from None
    found = False
    for image in _images(base, bin_id, adc, listing):
        found = True
        yield image
    if not found:
        raise NoImageError(f"the bin {base} has no image: its .adc has {len(adc)} rows without an image")


def images_or_fault(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """As `images`, for a bin in a folder: a bin that cannot be read is a failed image, and the bin may be empty."""
    base = _base(path)
    bin_id = parse_bin_id(base.name)
    if bin_id is None:
        return
    try:
        adc = Adc(_with(base, ".adc"), bin_id.style)
    except OSError as error:
        yield failed(bin_id.name, base, "unreadable", f"the bin's .adc cannot be read: {error.strerror}")
    except ImageError as error:
        yield failed(bin_id.name, base, "damaged", f"the bin's .adc is not an .adc file: {error}")
    else:
        yield from _images(base, bin_id, adc, listing)


def _images(base: Path, bin_id: BinId, adc: Adc, listing: Listing) -> Iterator[SourceImage]:
    columns = _columns(base, bin_id, adc)
    file = _with(base, ".roi")
    for roi, second in _pairs(adc, listing) if bin_id.style == "I" else ((roi, None) for roi in adc.rois()):
        if roi.is_empty:
            listing.left_out["no_image"] += 1
            continue
        name = bin_id.target(roi.target)
        own = columns | {"target": str(roi.target)}
        if roi.fault:
            yield failed(name, inside(file, name), "damaged", roi.fault, own)
            continue
        if second is not None:
            listing.left_out["stitched"] += 1
            own["stitched_with"] = str(second.target)
        yield SourceImage(name, inside(file, name), own, RoiReader(file, roi, second))


def _pairs(adc: Adc, listing: Listing) -> Iterator[tuple[Roi, Roi | None]]:
    """Each image, and the next one if the two are parts of one image; that second image is not listed separately."""
    before: Roi | None = None
    for roi in adc.rois():
        if roi.is_empty:
            listing.left_out["no_image"] += 1
        elif before is None:
            before = roi
        elif overlap(before, roi):
            yield before, roi
            before = None
        else:
            yield before, None
            before = roi
    if before is not None:
        yield before, None


def _columns(base: Path, bin_id: BinId, adc: Adc) -> dict[str, str]:
    """The columns that all images of the bin share, as Darwin Core terms if there are any."""
    header = read_hdr(_with(base, ".hdr"))
    columns = {"sample": bin_id.name, "instrument": f"IFCB{bin_id.instrument}"}
    if bin_id.start is not None:
        columns["eventDate"] = bin_id.start.strftime("%Y-%m-%dT%H:%M:%SZ")
    if (place := position(header)) is not None:
        columns |= {"decimalLatitude": str(place[0]), "decimalLongitude": str(place[1])}
    if (millilitres := volume(bin_id, adc, header)) is not None:
        columns |= {"sampleSizeValue": f"{millilitres:.6f}", "sampleSizeUnit": "millilitre"}
    return columns


def has_bin_suffix(name: str) -> bool:
    """Whether a file of this name may belong to a bin."""
    return name.lower().endswith(SUFFIXES)


def is_bin_file(name: str) -> bool:
    """Whether a file of this name belongs to a bin."""
    return has_bin_suffix(name) and parse_bin_id(name[:-4]) is not None


def one_file_per_bin(names: Sequence[str]) -> list[str]:
    """``names``, which are sorted, without the second and third file of each bin."""
    kept: list[str] = []
    last = ""
    for name in names:
        if is_bin_file(name):
            if name[:-4] == last:
                continue
            last = name[:-4]
        kept.append(name)
    return kept


def bin_of(path: Path) -> Path | None:
    """The bin that ``path`` belongs to: its path without an ending; None if ``path`` belongs to no bin."""
    return _base(path) if _claims(path) else None


def files_of(path: Path) -> Iterator[Path]:
    """The three files of the bin that ``path`` belongs to."""
    return (_with(_base(path), suffix) for suffix in SUFFIXES)


def _claims(path: Path) -> bool:
    if has_bin_suffix(path.name):
        return path.is_file()
    return parse_bin_id(path.name) is not None and not path.exists() and _with(path, ".adc").is_file()


def _base(path: Path) -> Path:
    return path.with_name(path.name[:-4]) if has_bin_suffix(path.name) else path


def _with(base: Path, suffix: str) -> Path:
    """A file of the bin; its ending may be in upper case."""
    file = base.with_name(base.name + suffix)
    return file if file.exists() or not (upper := base.with_name(base.name + suffix.upper())).exists() else upper


KIND = Kind(claims=_claims, images=images, label=lambda path: _base(path).name, self_named=True)
