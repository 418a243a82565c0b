"""The vector of each crop, by which crops are compared: a model's embedding, or the crop's look.

Invariant: all vectors are of one kind. If embeddings are given, a crop without one has none, and stands at the end of
every order; it is counted. Looks are computed when they are first needed, and in the background.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pelagia.embeddings import Embeddings
from pelagia.errors import StudioError
from pelagia.images.preprocess import ImageError
from pelagia.system.console import ProgressCallback
from pelagia.system.cores import thread_pool
from pelagia_desk.pictures import LOOK, Pictures
from pelagia_desk.sheets.crops import Crop
from pelagia_desk.sheets.similar import Vectors as Matrix
from pelagia_desk.sheets.similar import normalized

CHUNK = 200


class Vectors:
    """The vectors of all crops of a project.

    Attributes:
        from_model: whether they are embeddings of a model.
        matrix: float32, N x D, length 1; zeros where ``known`` is false.
        known: bool, N.
        sides: int, N x 2, width and height of each crop in pixels; zeros until it was measured.
    """

    def __init__(self, crops: Sequence[Crop], pictures: Pictures, embeddings: Embeddings | None = None) -> None:
        self._crops, self._pictures = crops, pictures
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        count = len(crops)
        self.from_model = embeddings is not None
        self.sides: NDArray[np.int32] = np.zeros((count, 2), np.int32)
        self.known: NDArray[np.bool_] = np.zeros(count, bool)
        if embeddings is None:
            self.matrix: Matrix = np.zeros((count, LOOK * LOOK + 6), np.float32)
            return
        rows = embeddings.index()
        found = [rows.get(crop.source.sha256, -1) for crop in crops]
        self.known = np.array([row >= 0 for row in found], bool)
        self.matrix = np.zeros((count, embeddings.vectors.shape[1]), np.float32)
        self.matrix[self.known] = normalized(embeddings.vectors[[row for row in found if row >= 0]])

    @property
    def measured(self) -> int:
        """How many crops were measured."""
        return int((self.sides[:, 0] > 0).sum()) + sum(bool(crop.fault) for crop in self._crops)

    def measure(self, crops: Iterable[Crop]) -> None:
        """Makes the thumbnails of crops, and with them their sides and looks. A crop without an image gets a fault.

        Raises:
            StudioError: the server does not answer.
        """
        missing = [crop for crop in crops if not self.sides[crop.row, 0] and not crop.fault]
        if not missing:
            return
        with thread_pool() as pool:
            list(pool.map(self._measure, missing))

    def _measure(self, crop: Crop) -> None:
        try:
            picture = self._pictures.picture(crop.source)
        except ImageError as error:
            crop.fault = str(error)
            return
        except StudioError as error:
            if error.status != 404:
                raise
            crop.fault = "the image is gone"
            return
        with self._lock:
            if not self.from_model:
                self.matrix[crop.row] = picture.look
                self.known[crop.row] = True
            self.sides[crop.row] = picture.width, picture.height

    def measure_all(self, progress: ProgressCallback = lambda done, total: None) -> None:
        """Measures all crops, a few at a time, until `stop`."""
        for start in range(0, len(self._crops), CHUNK):
            if self._stopped.is_set():
                return
            self.measure(self._crops[start : start + CHUNK])
            progress(min(start + CHUNK, len(self._crops)), len(self._crops))

    def in_background(self) -> threading.Thread:
        """Starts `measure_all` in a thread; a server that does not answer ends it."""

        def run() -> None:
            try:
                self.measure_all()
            except StudioError:
                return  # what is missing is measured when its sheet is opened

        thread = threading.Thread(target=run, name="thumbnails", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Ends `measure_all`."""
        self._stopped.set()
