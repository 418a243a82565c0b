"""The files of a bin, wherever they are: on the disk, packed with gzip, or inside an archive.

Invariant: the pixels of a file that can be read from any place are read when they are needed (`RoiReader`). Those of a
packed file are read from start to end while the bin is listed, and stay with their images.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from pelagia.images.preprocess import ImageError
from pelagia.sources.ifcb.adc import Roi
from pelagia.sources.ifcb.stitch import Pixels, stitch
from pelagia.sources.image import Fault, Held, read_at
from pelagia.system.files import read_fully

_PIECE = 1 << 20
_MOST_STARTS = 8
Reader = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Span:
    """A file, or a part of a file, such as a member of a plain tar. ``size``: None up to the end of the file."""

    file: Path
    start: int = 0
    size: int | None = None

    def head(self, limit: int) -> bytes:
        """At most ``limit`` bytes from its start. Raises OSError."""
        return read_at(self.file, self.start, limit if self.size is None else min(limit, self.size))


@dataclass(frozen=True, slots=True)
class Stream:
    """A packed file. ``opened`` opens it, and raises OSError, or ImageError if it cannot be unpacked."""

    opened: Callable[[], BinaryIO]

    def head(self, limit: int) -> bytes:
        """At most ``limit`` bytes from its start. Raises OSError or ImageError."""
        with _damage_found(), self.opened() as file:
            return read_fully(file, limit)


Part = Span | Stream


def gunzipped(file: Path | BinaryIO) -> BinaryIO:
    """A file that gzip has packed, as a stream of its unpacked bytes."""
    return cast("BinaryIO", gzip.open(file, "rb"))


@dataclass(frozen=True, slots=True)
class RoiReader:
    """Reads one image of a ``.roi``, or two that are parts of one image, as a binary PGM file."""

    file: Path
    roi: Roi
    second: Roi | None = None
    start: int = 0
    size: int | None = None

    def __call__(self) -> bytes:
        return _encoded(self._bytes, self.roi, self.second)

    def _bytes(self, offset: int, size: int) -> bytes:
        if self.size is not None:
            size = max(0, min(size, self.size - offset))
        return read_at(self.file, self.start + offset, size)


def roi_readers(part: Part, pairs: Iterator[tuple[Roi, Roi | None]]) -> Iterator[tuple[Roi, Roi | None, Reader]]:
    """Each image, the image that is joined to it, and a reader of its pixels."""
    if isinstance(part, Span):
        for roi, second in pairs:
            yield roi, second, RoiReader(part.file, roi, second, part.start, part.size)
        return
    forward = _Forward(part)
    try:
        for roi, second in pairs:
            yield roi, second, forward.reader(roi, second)
    finally:
        forward.close()


class _Forward:
    """Reads the images of a packed ``.roi`` one by one. The instrument writes them in the order of the rows."""

    def __init__(self, part: Stream) -> None:
        self._part = part
        self._file: BinaryIO | None = None
        self._at = self._starts = 0

    def reader(self, roi: Roi, second: Roi | None) -> Reader:
        if roi.is_empty or roi.fault:
            return Held(b"")
        try:
            with _damage_found():
                return Held(_encoded(self._bytes, roi, second))
        except ImageError as error:
            return Fault(error.reason, str(error))
        except OSError as error:
            return Fault("unreadable", f"the bin's .roi cannot be read: {error.strerror}")

    def _bytes(self, offset: int, size: int) -> bytes:
        if self._file is None or offset < self._at:
            self._starts += 1
            if self._starts > _MOST_STARTS:
                raise ImageError("unsupported", "the rows of the .adc are not in the order of the .roi: unpack the bin")
            self.close()
            self._file, self._at = self._part.opened(), 0
        while self._at < offset:
            skipped = len(self._file.read(min(_PIECE, offset - self._at)))
            if not skipped:
                return b""
            self._at += skipped
        data = read_fully(self._file, size)
        self._at += len(data)
        return data

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def _damage_found() -> Iterator[None]:
    """Turns the errors of damaged packed bytes into ImageError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageError("damaged", f"the packed file is damaged or cut short: {error}") from None
    except OSError as error:
        if error.errno is None:
            raise ImageError("damaged", str(error.strerror or error)) from None
        raise


def _encoded(read: Callable[[int, int], bytes], roi: Roi, second: Roi | None) -> bytes:
    pixels = _pixels(read, roi)
    if second is not None:
        pixels = stitch(roi, second, (pixels, _pixels(read, second)))
    height, width = pixels.shape
    return b"P5\n%d %d\n255\n" % (width, height) + pixels.tobytes()


def _pixels(read: Callable[[int, int], bytes], roi: Roi) -> Pixels:
    size = roi.width * roi.height
    data = read(roi.offset, size)
    if len(data) < size:
        raise ImageError("damaged", f"the .roi ends within target {roi.target}: it is cut short")
    return np.frombuffer(data, np.uint8).reshape(roi.height, roi.width)
