"""One image of an input, and what every kind of input shares: names, limits, and reading bytes from a place in a file.

Invariant: every kind of input gives `SourceImage`s, and no other module asks what kind the input was. ``read`` gives
encoded bytes for `pelagia.images.preprocess.decode`, or raises OSError or ImageError, and nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pelagia.errors import InputError, PelagiaError, first_line
from pelagia.images.preprocess import ImageError
from pelagia.sources.listing import Listing
from pelagia.system.files import printable, read_fully

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm"}
    | {".jp2", ".j2k", ".avif", ".heic", ".heif"}
)
"""The endings of images. A HEIC becomes a failed row that says what to do. The decoder goes by the content alone."""
_ENDINGS = tuple(IMAGE_SUFFIXES)
JUNK_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"})
MAX_BYTES = 1 << 28
"""The largest encoded image, in bytes, also inside an archive: a larger one is ``too_large``."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of an input.

    Attributes:
        path: its name, relative to its input, with forward slashes. Control characters and bytes that are not UTF-8 are
            escaped (`pelagia.system.files.printable`).
        file: the place of its bytes: a `Path` that can be opened, or, inside an archive or a bin, text such as
            ``cast7.zip!/a/b.png``.
        columns: the values that the input has for it, as text: the manifest's other columns, or Darwin Core terms.
        reader: a function that returns the bytes if ``file`` cannot be opened.
    """

    path: str
    file: Path | str
    columns: Mapping[str, str] = field(default_factory=dict)
    reader: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.path.isprintable():
            object.__setattr__(self, "path", printable(self.path))

    def read(self) -> bytes:
        """The encoded image.

        Raises:
            OSError, ImageError: as `read_encoded`.
        """
        return read_encoded(self.reader or Path(self.file))


class NoImageError(InputError):
    """An input was listed to its end and has no image."""


@dataclass(frozen=True)
class Kind:
    """One kind of input: the interface of each module of `pelagia.sources`.

    Attributes:
        claims: a function that returns whether an input is of this kind.
        images: a function that lists its images one by one, in an order that depends only on the input, and counts in
            the `Listing` what it leaves out.
        label: a function that returns the input's name, which comes before the paths of its images if there are several
            inputs.
        self_named: whether the images have unique names already, so that no label comes before them.
    """

    claims: Callable[[Path], bool]
    images: Callable[[Path, Listing], Iterator[SourceImage]]
    label: Callable[[Path], str] = lambda path: base_name(path)
    self_named: bool = False

    def listed(self, path: Path, listing: Listing) -> Iterator[SourceImage]:
        """As `images`; whatever a reader does not expect in a damaged input becomes a failed image, the last one.

        Raises:
            InputError, OSError: as `images`.
        """
        try:
            yield from self.images(path, listing)
        except (PelagiaError, OSError):
            raise
        except MemoryError:
            yield failed(base_name(path), path, "unreadable", f"{_REST}: it does not fit into the memory")
        except Exception as error:
            yield failed(base_name(path), path, "damaged", f"{_REST}: {type(error).__name__}, {first_line(error)}")


_REST = "the rest of it cannot be listed; copy it again"


@dataclass(frozen=True, slots=True)
class Fault:
    """A reader for an image that cannot be used: raises the ImageError of the reason."""

    reason: str
    message: str

    def __call__(self) -> bytes:
        raise ImageError(self.reason, self.message)


@dataclass(frozen=True, slots=True)
class Held:
    """A reader for bytes that are in memory already, such as those of a member of a compressed tar."""

    data: bytes = field(repr=False)

    def __call__(self) -> bytes:
        return self.data


def failed(
    path: str, file: Path | str, reason: str, message: str, columns: Mapping[str, str] | None = None
) -> SourceImage:
    """An image that becomes a failed row."""
    return SourceImage(path, file, columns or {}, Fault(reason, message))


def read_encoded(source: Callable[[], bytes] | Path | str) -> bytes:
    """An encoded image from its file or its reader. Nothing else calls a reader.

    Raises:
        OSError: it cannot be read.
        ImageError: its archive or bin is damaged, also in a way that the reader does not expect, or it is too large.
    """
    try:
        return read_file(source) if isinstance(source, str | Path) else source()
    except (OSError, ImageError):
        raise
    except MemoryError:
        raise ImageError("too_large", "it does not fit into the memory of this machine") from None
    except Exception as error:
        raise ImageError("damaged", f"it cannot be read: {type(error).__name__}, {first_line(error)}") from None


def read_file(path: Path | str) -> bytes:
    """A file's bytes.

    Raises:
        OSError: the file cannot be read.
        ImageError: it is a pipe or a device, which might never end, or larger than `MAX_BYTES`.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ImageError("unreadable", "a pipe or a device, not a file")
    if found.st_size > MAX_BYTES:
        raise ImageError("too_large", f"{found.st_size} bytes; the limit is {MAX_BYTES}")
    with open(path, "rb", buffering=0) as file:
        data = file.read()
    if len(data) < found.st_size:  # a network drive that ended the file early: another run may read it
        raise OSError(errno.EIO, f"only {len(data)} of {found.st_size} bytes could be read")
    return data


def read_at(path: Path, offset: int, size: int) -> bytes:
    """``size`` bytes of a file from ``offset``, fewer only at its end; none if ``offset`` is beyond it or negative.

    It opens the file itself, so any thread may call it.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        if not 0 <= offset < os.fstat(file.fileno()).st_size:
            return b""
        file.seek(offset)
        return read_fully(file, size)


def inside(container: Path, member: str) -> str:
    """The place of a member of an archive or a bin, as text for people: ``container!/member``.

    It is text: a `Path` would add each of its parts to the interpreter's table of names, which then takes more memory
    than the images.
    """
    return f"{container.as_posix()}!/{member}"


def is_image_name(name: str) -> bool:
    """Whether the ending of a file's name is that of an image."""
    return name.lower().endswith(_ENDINGS)


def image_files(root: Path) -> Iterator[Path]:
    """Files under ``root`` that have the ending of an image, without hidden files, junk and unreadable folders."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if not is_junk(name)]
        yield from (Path(folder, name) for name in names if is_image_name(name) and not is_junk(name))


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or was made by an operating system or a NAS for itself."""
    return name.startswith(".") or name in JUNK_FOLDERS


def known_suffixes() -> str:
    """The endings of image names, for messages."""
    return " ".join(sorted(IMAGE_SUFFIXES))


def base_name(path: Path) -> str:
    """The last name of a path, also of ``.`` and ``a/..``, as printable text."""
    return printable(Path(os.path.abspath(path)).name)
