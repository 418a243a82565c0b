"""How many images a run will have, counted beside it, for the person who wants to know how long it takes.

Invariant: counting never ends or delays a run: it lists and reads nothing, it stops with the run, and where listing
means unpacking, as in a compressed tar, there is no count.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pelagia.errors import PelagiaError
from pelagia.images.preprocess import ImageError
from pelagia.sources import list_images
from pelagia.sources.image import Held


@contextmanager
def count_in_background(inputs: Sequence[Path]) -> Iterator[Callable[[], int | None]]:
    """Yields a call that gives the number of images of ``inputs`` once it is known, and None before."""
    over = threading.Event()
    found: list[int] = []

    def count() -> None:
        number = 0
        try:
            for image in list_images(inputs):
                if over.is_set() or isinstance(image.reader, Held):
                    return
                number += 1
        except (PelagiaError, ImageError, OSError):  # whoever classifies them says so
            return
        found.append(number)

    threading.Thread(target=count, name="pelagia-count", daemon=True).start()
    try:
        yield lambda: found[0] if found else None
    finally:
        over.set()
