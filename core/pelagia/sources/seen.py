"""Finds names that appear twice in a list of millions. The memory depends only on the largest folder.

Archives are written folder by folder. So the names of a folder stay in memory while the list is in it or in a folder
below, as hashes of 8 bytes each (a set of strings takes 150); then the hashes go to a temporary file. If the list comes
back to a folder that it has left, all hashes are read back and stay in memory.
"""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

_RECENT = 1 << 14


class Seen:
    """Names by their 64-bit hash. In a million names, two different ones have the same hash with a chance of 3e-8.

    ``add`` raises OSError if the disk of temporary files is full.
    """

    def __init__(self) -> None:
        self._open: list[tuple[str, _Hashes]] = [("", _Hashes())]
        self._folders = _Hashes()
        self._done: IO[bytes] | None = None
        self._in_order = True

    def add(self, name: str) -> bool:
        """Adds a name, its folders separated by ``/``. Returns whether it was added before."""
        folder = name.rpartition("/")[0]
        if self._in_order and folder != self._open[-1][0]:
            self._enter(folder)
        return self._open[-1][1].add(name)

    def _enter(self, folder: str) -> None:
        """Makes ``folder`` the last of the open folders, and stores the hashes of those that the list has left."""
        while not f"{folder}/".startswith(f"{self._open[-1][0]}/") and len(self._open) > 1:
            self._store(self._open.pop()[1])
        if folder == self._open[-1][0] or not folder:
            return
        if self._folders.add(folder):
            self._restore()
        else:
            self._open.append((folder, _Hashes()))

    def _store(self, hashes: _Hashes) -> None:
        if self._done is None:
            self._done = TemporaryFile(prefix="pelagia-names-")  # noqa: SIM115 - it stays open as long as this object lives
        for run in hashes.runs():
            self._done.write(run.tobytes())

    def _restore(self) -> None:
        everything = [run for _, hashes in self._open for run in hashes.runs()]
        if self._done is not None:
            self._done.seek(0)
            everything.append(np.frombuffer(self._done.read(), np.int64))
        self._open = [("", _Hashes(np.concatenate(everything)))]
        self._in_order = False

    def __del__(self) -> None:
        if self._done is not None:
            self._done.close()


class _Hashes:
    """64-bit hashes of names: the latest in a set, the others in sorted arrays, each smaller than the one before."""

    def __init__(self, known: NDArray[np.int64] | None = None) -> None:
        self._recent: set[int] = set()
        self._sorted: list[NDArray[np.int64]] = [] if known is None else [np.sort(known)]

    def add(self, name: str) -> bool:
        """Adds a name. Returns whether it was added before."""
        key = hash(name)
        if key in self._recent or any(_holds(run, key) for run in self._sorted):
            return True
        self._recent.add(key)
        if len(self._recent) == _RECENT:
            run = np.fromiter(self._recent, np.int64, _RECENT)
            self._recent.clear()
            while self._sorted and len(self._sorted[-1]) <= len(run):
                run = np.concatenate((run, self._sorted.pop()))
            run.sort()
            self._sorted.append(run)
        return False

    def runs(self) -> list[NDArray[np.int64]]:
        """All hashes, each once, int64."""
        return [*self._sorted, np.fromiter(self._recent, np.int64, len(self._recent))]


def _holds(run: NDArray[np.int64], key: int) -> bool:
    at = int(run.searchsorted(key))
    return at < len(run) and int(run[at]) == key
