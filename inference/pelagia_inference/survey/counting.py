"""Counts the images of a run while it works, so that a person can see how long it will take.

Invariant: counting never ends or delays a run. It lists images and reads none, and it stops when the run stops. Nothing
is counted if listing would need unpacking, as for a compressed tar.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pelagia.errors import PelagiaError
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, ListingOptions, list_images
from pelagia.sources.image import Held


@contextmanager
def count_in_background(
    inputs: Sequence[Path],
    listing: ListingOptions = ListingOptions(),
) -> Iterator[Callable[[], int | None]]:
    """Yields a function that returns the number of images in ``inputs``; None until they are all counted."""
    stopped = threading.Event()
    result: list[int] = []

    def count() -> None:
        images = 0
        try:
            for image in list_images(inputs, Listing(listing)):
                if stopped.is_set() or isinstance(image.reader, Held):
                    return
                images += 1
        except (PelagiaError, ImageError, OSError):  # the run itself reports it
            return
        result.append(images)

    threading.Thread(target=count, name="pelagia-count", daemon=True).start()
    try:
        yield lambda: result[0] if result else None
    finally:
        stopped.set()
