"""Why an image cannot be used: the only list of reasons."""

from __future__ import annotations

from pelagia.images.limits import MAX_PIXELS


class ImageError(Exception):
    """An image that cannot be used. It is not a PelagiaError: it becomes a row of the results, and the run continues.

    Attributes:
        reason: one of `REASONS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


REASONS = {
    "missing": "the file is not there",
    "unreadable": "the file cannot be read (permissions, disk)",
    "empty": "the file has no bytes",
    "undecodable": "the bytes are not a complete image of a known format",
    "too_large": "the image has more pixels than the limit",
    "unsupported": "the format, the type of its pixels or its compression is not supported",
    "encrypted": "the archive's member is encrypted",
    "damaged": "the archive or the bin of the image is damaged or cut short",
    "crashed": "the process that decoded it crashed",
    "timed_out": "reading or decoding it took longer than a minute",
}
"""Why an image can fail: the fixed list of reasons, and what each means."""


def undecodable() -> ImageError:
    """The ImageError for bytes that no decoder reads."""
    return ImageError("undecodable", "not a complete image of a known format")


def too_many_pixels() -> ImageError:
    """The ImageError for more pixels than `MAX_PIXELS`."""
    return ImageError("too_large", f"more than {MAX_PIXELS} pixels")


def require_few_pixels(height: int, width: int) -> None:
    """Raises ImageError for an image that has more pixels than `MAX_PIXELS`."""
    if height * width > MAX_PIXELS:
        raise too_many_pixels()
