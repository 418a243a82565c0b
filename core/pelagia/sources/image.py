"""One image of a survey, and what every kind of input shares: names, limits, and reading bytes where they lie.

Invariant: whatever an input is, its images are `SourceImage`s; nobody downstream asks what the input was. ``read``
gives encoded bytes for `pelagia.images.preprocess.decode`, or raises OSError or ImageError, and nothing else.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.images.preprocess import ImageError
from pelagia.system.files import printable

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
_ENDINGS = tuple(IMAGE_SUFFIXES)
JUNK_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
MAX_BYTES = 1 << 28
"""Bytes of one encoded image, wherever it lies: a member that claims or grows to more is ``too_large``."""

Tally = Counter[str]
"""What an input held that is not an image, by a key of `LEFT_OUT`."""

LEFT_OUT = {
    "archive_inside": "archives inside a folder or an archive, not opened",
    "unpacked": "archives that lie unpacked beside them, taken once",
    "folder_link": "links to folders, not followed",
    "no_image": "rows of an IFCB .adc without an image",
    "stitched": "IFCB images that became part of the image before them, which they overlap",
    "bin_without_name": "IFCB files whose name is no bin's",
    "not_in_table": "images of an EcoTaxa export that its tables do not name",
}


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of a survey.

    Attributes:
        path: its name, relative to its input, with forward slashes; printable, whatever bytes the disk holds.
        file: where its bytes lie. A `Path` can be opened; inside an archive or a bin it is text that only says so, as
            ``cast7.zip!/a/b.png``.
        columns: what its input says of it, as text: the manifest's other columns, or Darwin Core's names.
        reader: gives the bytes where ``file`` cannot simply be read.
    """

    path: str
    file: Path | str
    columns: Mapping[str, str] = field(default_factory=dict)
    reader: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            OSError: it cannot be read.
            ImageError: its archive or bin is at fault, or it is too large.
        """
        return read_file(Path(self.file)) if self.reader is None else self.reader()


@dataclass(frozen=True)
class Kind:
    """One kind of input: what a module of `pelagia.sources` is to the rest.

    Attributes:
        claims: whether an input is of this kind.
        images: its images, lazily, in an order that the input alone decides; notes in the tally what it leaves out.
        label: the input's name, which its images' paths start with where there are several inputs.
        self_named: the images' own names tell the input apart already, so nothing is put before them.
    """

    claims: Callable[[Path], bool]
    images: Callable[[Path, Tally], Iterator[SourceImage]]
    label: Callable[[Path], str] = lambda path: base_name(path)
    self_named: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A reader of an image that is known to be unusable before it is read."""

    reason: str
    message: str

    def __call__(self) -> bytes:
        raise ImageError(self.reason, self.message)


@dataclass(frozen=True, slots=True)
class Held:
    """A reader of bytes that had to be taken when they came by, as in a compressed tar."""

    data: bytes

    def __call__(self) -> bytes:
        return self.data


def failed(
    path: str, file: Path | str, reason: str, message: str, columns: Mapping[str, str] | None = None
) -> SourceImage:
    """An image that becomes a failed row."""
    return SourceImage(path, file, columns or {}, Fault(reason, message))


def read_file(path: Path | str) -> bytes:
    """A file's bytes. A pipe or a device, which could be read for ever, and a file beyond the limit are refused.

    Raises:
        OSError, ImageError
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ImageError("unreadable", "a pipe or a device, not a file")
    if found.st_size > MAX_BYTES:
        raise ImageError("too_large", f"{found.st_size} bytes; the limit is {MAX_BYTES}")
    with open(path, "rb", buffering=0) as file:
        return file.read()


def read_at(path: Path, offset: int, size: int) -> bytes:
    """At most ``size`` bytes of a file from ``offset``; the file is opened for it, so any thread may call this.

    Raises:
        OSError
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        return file.read(size)


def inside(container: Path, member: str) -> str:
    """Where a member of an archive or a bin lies, for people: ``container!/member``.

    It is text, because a path would put each of its parts into the interpreter's table of names, which then outgrows
    the images that are at hand.
    """
    return f"{container.as_posix()}!/{member}"


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return name.lower().endswith(_ENDINGS)


def image_files(root: Path) -> Iterator[Path]:
    """Files under ``root`` that are named as images are; not the junk, the hidden, and what cannot be listed."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not is_junk(name)]
        yield from (Path(folder, name) for name in names if is_image_name(name) and not is_junk(name))


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or is what an operating system or a NAS leaves behind."""
    return name.startswith(".") or name in JUNK_FOLDERS


def known_suffixes() -> str:
    """The endings of image names, for messages."""
    return " ".join(sorted(IMAGE_SUFFIXES))


def base_name(path: Path) -> str:
    """The last name of a path, also of ``.`` and ``a/..``."""
    return printable(Path(os.path.abspath(path)).name)
