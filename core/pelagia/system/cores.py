"""The number of processor cores that this process may use: every pool of threads or workers uses it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def usable_cores() -> int:
    """Cores that this process may use, at least 1. A CPU affinity, such as that of a container, limits them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_pool() -> ThreadPoolExecutor:
    """A pool with one thread for each usable core."""
    from concurrent.futures import ThreadPoolExecutor  # a worker process starts sooner without it

    return ThreadPoolExecutor(usable_cores())
