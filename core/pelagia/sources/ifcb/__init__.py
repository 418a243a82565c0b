"""Bins of the Imaging FlowCytobot: ``.adc`` (a table), ``.hdr`` (settings) and ``.roi`` (raw 8-bit pixels).

Invariant: an image has the name that the IFCB community uses, bin and target number (`BinId.target`), wherever the
files are. Its pixels become a binary PGM file, so that `pelagia.images.preprocess.decode` stays the only decoder. A row
that is wrong is a failed image; a row without an image is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb import adc as adc_module
from pelagia.sources.ifcb import hdr as hdr_module
from pelagia.sources.ifcb.adc import Adc, Roi
from pelagia.sources.ifcb.bin_id import BinId, parse_bin_id
from pelagia.sources.ifcb.hdr import parse_hdr, position
from pelagia.sources.ifcb.names import (
    SUFFIXES,
    bin_of_extracted,
    has_bin_suffix,
    is_bin_file,
    is_packed,
    one_file_per_bin,
    stem,
    suffix_of,
)
from pelagia.sources.ifcb.parts import Part, RoiReader, Span, Stream, gunzipped, roi_readers
from pelagia.sources.ifcb.stitch import overlap
from pelagia.sources.ifcb.volume import volume
from pelagia.sources.image import Fault, Kind, NoImageError, SourceImage, failed
from pelagia.sources.listing import Listing

__all__ = [
    "KIND",
    "SUFFIXES",
    "BinFiles",
    "Part",
    "RoiReader",
    "Span",
    "Stream",
    "bin_of",
    "bin_of_extracted",
    "files_at",
    "files_of",
    "has_bin_suffix",
    "images",
    "images_of",
    "images_or_fault",
    "is_bin_file",
    "one_file_per_bin",
    "stem",
    "suffix_of",
]


@dataclass(frozen=True, slots=True)
class BinFiles:
    """One bin: its name and its files.

    Attributes:
        bin_id: its name.
        place: the ``.roi``, or the bin if there is none, for people: a path, or text such as ``cast.zip!/X.roi``.
        adc: the table; None if it is missing.
        roi: the pixels; None if they are missing.
        hdr: the settings; None if they are missing, because the images do not need them.
    """

    bin_id: BinId
    place: str
    adc: Part | None
    roi: Part | None
    hdr: Part | None

    def read_adc(self) -> Adc:
        """The table. Raises OSError or ImageError."""
        if self.adc is None:
            raise ImageError("missing", "the bin has no .adc, which lists its images")
        return Adc(self.adc.head(adc_module.LONGEST + 1), self.bin_id.style)

    def read_hdr(self) -> dict[str, str]:
        """The settings; empty if they are missing or cannot be read."""
        try:
            return parse_hdr(b"" if self.hdr is None else self.hdr.head(hdr_module.LONGEST))
        except (OSError, ImageError):
            return {}


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
    files, table = _on_disk(base, bin_id), _with(base, ".adc")
    try:
        adc = files.read_adc()
    except OSError as error:
        raise InputError(f"cannot read {table}, which lists the bin's images: {error.strerror}") from None
    except ImageError as error:
        raise InputError(f"{table} is not an .adc file: {error}") from None
    found = False
    for image in _images(files, adc, listing):
        found = True
        yield image
    if not found:
        raise NoImageError(f"the bin {base} has no image: its .adc has {len(adc)} rows without an image")


def images_or_fault(path: Path, listing: Listing) -> Iterator[SourceImage]:
    """As `images`, for a bin in a folder: a bin that cannot be read is a failed image, and the bin may be empty."""
    base = _base(path)
    bin_id = parse_bin_id(base.name)
    if bin_id is not None:
        yield from images_of(_on_disk(base, bin_id), listing)


def images_of(files: BinFiles, listing: Listing) -> Iterator[SourceImage]:
    """The images of a bin, wherever its files are. A bin that cannot be read is a failed image; it may be empty."""
    try:
        adc = files.read_adc()
    except OSError as error:
        text = f"the bin's .adc cannot be read: {error.strerror}"
        yield failed(files.bin_id.name, files.place, "unreadable", text)
    except ImageError as error:
        text = str(error) if error.reason == "missing" else f"the bin's .adc is not an .adc file: {error}"
        yield failed(files.bin_id.name, files.place, error.reason if error.reason == "missing" else "damaged", text)
    else:
        yield from _images(files, adc, listing)


def _images(files: BinFiles, adc: Adc, listing: Listing) -> Iterator[SourceImage]:
    columns = _columns(files.bin_id, adc, files.read_hdr())
    pairs = _pairs(adc, listing) if files.bin_id.style == "I" else ((roi, None) for roi in adc.rois())
    if files.roi is not None:
        readers = roi_readers(files.roi, pairs)
    else:
        missing = Fault("missing", "the bin has no .roi, which holds its pixels")
        readers = ((roi, second, missing) for roi, second in pairs)
    is_empty = True
    for roi, second, reader in readers:
        if roi.is_empty:
            listing.left_out["no_image"] += 1
            continue
        is_empty = False
        name = files.bin_id.target(roi.target)
        own = columns | {"target": str(roi.target)}
        if roi.fault:
            yield failed(name, f"{files.place}!/{name}", "damaged", roi.fault, own)
            continue
        if second is not None:
            listing.left_out["stitched"] += 1
            own["stitched_with"] = str(second.target)
        yield SourceImage(name, f"{files.place}!/{name}", own, reader)
    if is_empty:
        listing.empty_samples.append(columns)


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


def _columns(bin_id: BinId, adc: Adc, header: dict[str, str]) -> dict[str, str]:
    """The columns that all images of the bin share, as Darwin Core terms if there are any."""
    columns = {"sample": bin_id.name, "instrument": f"IFCB{bin_id.instrument}"}
    if bin_id.start is not None:
        columns["eventDate"] = bin_id.start.strftime("%Y-%m-%dT%H:%M:%SZ")
    if (place := position(header)) is not None:
        columns |= {"decimalLatitude": str(place[0]), "decimalLongitude": str(place[1])}
    if (millilitres := volume(bin_id, adc, header)) is not None:
        columns |= {"sampleSizeValue": f"{millilitres:.6f}", "sampleSizeUnit": "millilitre"}
    return columns


def bin_of(path: Path) -> Path | None:
    """The bin that ``path`` belongs to: its path without an ending; None if ``path`` belongs to no bin."""
    return _base(path) if _claims(path) else None


def files_at(base: Path) -> BinFiles | None:
    """A bin on the disk, from its path without an ending; None if that is not the name of a bin."""
    bin_id = parse_bin_id(base.name)
    return None if bin_id is None else _on_disk(base, bin_id)


def files_of(path: Path) -> Iterator[Path]:
    """The three files of the bin that ``path`` belongs to."""
    return (_with(_base(path), suffix) for suffix in SUFFIXES)


def _claims(path: Path) -> bool:
    if has_bin_suffix(path.name):
        return path.is_file()
    return parse_bin_id(path.name) is not None and not path.exists() and _with(path, ".adc").is_file()


def _base(path: Path) -> Path:
    return path.with_name(stem(path.name)) if has_bin_suffix(path.name) else path


def _with(base: Path, suffix: str) -> Path:
    """A file of the bin; its ending may be in upper case, and it may be packed with gzip."""
    names = (suffix, suffix.upper(), f"{suffix}.gz", f"{suffix.upper()}.gz", f"{suffix.upper()}.GZ")
    files = [base.with_name(base.name + name) for name in names]
    return next((file for file in files if file.exists()), files[0])


def _on_disk(base: Path, bin_id: BinId) -> BinFiles:
    adc, hdr, roi = (_with(base, suffix) for suffix in SUFFIXES)
    return BinFiles(bin_id, roi.as_posix(), _part(adc), _part(roi), _part(hdr))


def _part(file: Path) -> Part:
    return Stream(partial(gunzipped, file)) if is_packed(file.name) else Span(file)


KIND = Kind(claims=_claims, images=images, label=lambda path: _base(path).name, self_named=True)
