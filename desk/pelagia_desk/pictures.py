"""Thumbnails of crops, and what a program can see of them without a model: made once, kept in a cache on the disk.

Invariant: a thumbnail is of the bytes that were pushed: they are recognized by their SHA-256. An image comes from the
document root if this computer can read it, otherwise from Label Studio. The cache holds nothing that cannot be made
again, and a damaged one is replaced.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.errors import StudioError
from pelagia.images.preprocess import Image, ImageError, decode
from pelagia.system.files import sha256_of
from pelagia.system.paths import folder_from_environment, user_folder
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.storage import LOCAL_FILES

HOME_VARIABLE = "PELAGIA_CACHE_HOME"
LONGEST_SIDE = 224
LOOK = 12
"""A crop's look is its gray values on a grid of LOOK x LOOK, with its size and colors."""

_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
    sha256 TEXT PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL, look BLOB NOT NULL, jpeg BLOB NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Picture:
    """A crop as the page shows it.

    Attributes:
        width, height: size of the original in pixels.
        look: float32, LOOK * LOOK + 6 values of length 1: similar images have similar looks.
        jpeg: the thumbnail.
    """

    width: int
    height: int
    look: NDArray[np.float32]
    jpeg: bytes


@dataclass(frozen=True)
class Source:
    """Where the image of a task is: its SHA-256, its file in the document root, and its address on the server."""

    task: int
    sha256: str
    file: str
    image: str


def default_file() -> Path:
    """The cache of this user."""
    return (folder_from_environment(HOME_VARIABLE) or user_folder("cache")) / "desk" / "thumbnails.sqlite"


class Pictures:
    """The thumbnails of a project. Every thread may use it."""

    def __init__(self, connection: Connection, file: Path) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = _open(file)
        except sqlite3.DatabaseError:
            file.unlink(missing_ok=True)
            self._db = _open(file)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def picture(self, source: Source) -> Picture:
        """The thumbnail of a task.

        Raises:
            ImageError: the image cannot be decoded, or its bytes are not those that were pushed.
            StudioError: the image is not on this computer and the server does not send it.
        """
        if source.sha256:
            with self._lock:
                found = self._db.execute(
                    "SELECT width, height, look, jpeg FROM pictures WHERE sha256 = ?", (source.sha256,)
                ).fetchone()
            if found:
                return Picture(found[0], found[1], np.frombuffer(found[2], np.float32), found[3])
        made = _picture(decode(self.read(source)))
        if source.sha256:
            with self._lock, suppress(sqlite3.Error):  # a full disk costs time, not the page
                self._db.execute(
                    "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?, ?)",
                    (source.sha256, made.width, made.height, made.look.tobytes(), made.jpeg),
                )
        return made

    def large(self, source: Source) -> bytes:
        """The image as a JPEG of at most 1,200 pixels a side. Raises as `picture`."""
        return _jpeg(decode(self.read(source)), 1200)

    def read(self, source: Source) -> bytes:
        """The bytes of the original. Raises as `picture`."""
        data = self._from_disk(source.file)
        if data is None:
            what = f"fetching the image of task {source.task}"
            if source.file:
                data = self._connection.get(LOCAL_FILES, {"d": source.file}, what=what)
            elif source.image.startswith("/"):
                data = self._connection.get(source.image, what=what)
            else:
                raise StudioError(f"the image of task {source.task} is on another server")
        if source.sha256 and sha256_of(data) != source.sha256:
            raise ImageError("damaged", "its bytes have changed since it was pushed")
        return data

    def _from_disk(self, relative: str) -> bytes | None:
        root = self._connection.document_root
        if root is None or not relative or ".." in PurePosixPath(relative).parts:
            return None
        try:
            return (root / relative).read_bytes()
        except OSError:
            return None


def _open(file: Path) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=30, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = OFF")
    db.execute(_TABLE)
    return db


def _picture(pixels: Image) -> Picture:
    height, width = pixels.shape[:2]
    return Picture(width, height, look_of(pixels), _jpeg(pixels, LONGEST_SIDE))


def _jpeg(pixels: Image, longest: int) -> bytes:
    height, width = pixels.shape[:2]
    shrink = min(1.0, longest / max(height, width))
    if shrink < 1:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def look_of(pixels: Image) -> NDArray[np.float32]:
    """A vector of length 1 by which images are compared if no model gave embeddings.

    It holds the gray values of the image, drawn out to a square of LOOK x LOOK; the logarithms of its sides; and mean
    and spread of its colors.

    Args:
        pixels: uint8, H x W x 3, RGB, 0..255.
    """
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (LOOK, LOOK), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    gray = small.mean(axis=2).ravel()
    gray = (gray - gray.mean()) / max(float(gray.std()), 0.02) / LOOK
    sides = np.log2([max(height, 1), max(width, 1)]).astype(np.float32) / 8
    colors = np.concatenate([small.mean(axis=(0, 1)), [small.std()]]).astype(np.float32)
    look = np.concatenate([gray, sides, colors]).astype(np.float32)
    return np.asarray(look / max(float(np.linalg.norm(look)), 1e-9), np.float32)
