"""Cuts particles from the collages of a FlowCam run.

Invariant: `pelagia.images.preprocess.decode` decodes a collage, once for the particles that are read one after the
other: each process keeps the two collages that it decoded last.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pelagia.images.preprocess import Image, ImageError, decode
from pelagia.sources.image import read_file
from pelagia.system.files import printable

_KEPT = 2
_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """Reads one particle as a binary PGM or PPM file.

    Attributes:
        file: the collage.
        x, y, width, height: the rectangle of the particle in the collage, in pixels.
    """

    file: Path
    x: int
    y: int
    width: int
    height: int

    def __call__(self) -> bytes:
        pixels = _collages.get(self.file)
        high, wide = pixels.shape[:2]
        if self.x + self.width > wide or self.y + self.height > high:
            raise ImageError(
                "damaged",
                f"the .lst places it at {self.x}, {self.y} with {self.width} x {self.height} pixels, outside its "
                f"collage of {wide} x {high} pixels: the .lst and the collage are not of the same run",
            )
        part = pixels[self.y : self.y + self.height, self.x : self.x + self.width]
        kind = b"P5" if part.ndim == 2 else b"P6"
        return b"%s\n%d %d\n255\n" % (kind, self.width, self.height) + part.tobytes()


class _Collages:
    """The collages that were decoded last: uint8, H x W x 3, RGB, 0..255; H x W if all pixels are gray.

    A collage that cannot be decoded is kept as its error.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[_Key, Image | ImageError] = OrderedDict()

    def get(self, file: Path) -> Image:
        """The pixels of a collage. Raises OSError or ImageError if it cannot be read."""
        found = os.stat(file)
        key = (os.fspath(file), found.st_mtime_ns, found.st_size)
        with self._lock:  # other threads wait: they need the same collage
            if key not in self._kept:
                while len(self._kept) >= _KEPT:
                    self._kept.popitem(last=False)
                self._kept[key] = _decoded(file)
            self._kept.move_to_end(key)
            kept = self._kept[key]
        if isinstance(kept, ImageError):
            raise ImageError(kept.reason, str(kept))
        return kept


def _decoded(file: Path) -> Image | ImageError:
    try:
        pixels = decode(read_file(file))
    except ImageError as error:
        return ImageError(error.reason, f"its collage {printable(file.name)}: {error}")
    is_gray = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()
    return pixels[..., 0].copy() if is_gray else pixels


_collages = _Collages()
