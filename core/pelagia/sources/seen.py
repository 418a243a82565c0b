"""Which names have come before, at 8 bytes a name: a million cost 8 MB, where a set of strings costs 150."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RECENT = 1 << 14


class Seen:
    """Names by their 64-bit hash: a few in a set, the others in sorted arrays, each at least half the one before.

    Two different names are taken for one with a chance of about 3e-8 in a million names.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._runs: list[NDArray[np.int64]] = []

    def add(self, name: str) -> bool:
        """Notes a name; tells whether it came before."""
        key = hash(name)
        if key in self._recent or any(_holds(run, key) for run in self._runs):
            return True
        self._recent.add(key)
        if len(self._recent) == _RECENT:
            run = np.fromiter(self._recent, np.int64, _RECENT)
            self._recent.clear()
            while self._runs and len(self._runs[-1]) <= len(run):
                run = np.concatenate((run, self._runs.pop()))
            run.sort()
            self._runs.append(run)
        return False


def _holds(run: NDArray[np.int64], key: int) -> bool:
    at = int(run.searchsorted(key))
    return at < len(run) and int(run[at]) == key
