"""The only calls of OpenCV's decoder, and the only conversion of its pixels to 8 bits."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pelagia.images.error import ImageError, too_many_pixels

Pixels = NDArray[np.uint8]

COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
"""Three channels, BGR, of 8 or 16 bits. Only JPEG and PNG are decoded to RGB directly: OpenCV 4.12 decodes a TIFF of
3 x 16 bits to RGB as uninitialized memory."""
GRAY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH
_LIMITS = ("CV_IO_MAX_IMAGE", "MAX_TILE_SIZE", "maxFileSize")
"""Names of OpenCV's limits in the text of a failed assertion. All its assertions have the same error code."""


def imdecode(data: bytes, flags: int) -> NDArray[Any] | None:
    """OpenCV's result: an array of any type, or None if it cannot decode ``data``.

    Raises:
        ImageError: the image is too large, or OpenCV says what is wrong.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise image_error(error) from None


def image_error(error: cv2.error) -> ImageError:
    """The ImageError for an error of OpenCV."""
    if error.code == cv2.Error.StsNoMem:
        return ImageError("too_large", "it does not fit into the memory of this machine")
    if any(limit in error.err for limit in _LIMITS):
        return too_many_pixels()
    return ImageError("undecodable", error.err)


def eight_bits(pixels: NDArray[Any], white: int = 65535) -> Pixels:
    """Pixels of 8 bits as they are; pixels of 16 bits scaled and rounded, so that 0..white becomes 0..255.

    Raises:
        ImageError: they have another type.
    """
    if pixels.dtype == np.uint16:
        return cv2.convertScaleAbs(pixels, alpha=255 / white).astype(np.uint8, copy=False)
    if pixels.dtype != np.uint8:
        raise unsupported_type(str(pixels.dtype))
    return pixels


def rgb(pixels: Pixels) -> Pixels:
    """RGB from BGR or from one channel, in place where possible."""
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels).astype(np.uint8, copy=False)


def unsupported_type(name: str) -> ImageError:
    """The ImageError for pixels of a type such as ``float32``."""
    return ImageError("unsupported", f"pixels of type {name}; 8 and 16 bit are supported")


def built_with(codec: str) -> bool:
    """Whether this OpenCV decodes a format, such as ``AVIF``; its wheels differ between systems and versions."""
    return re.search(rf"^\s*{codec}:\s+(?!NO\b)\S", cv2.getBuildInformation(), re.MULTILINE) is not None


def missing_decoder(codec: str) -> ImageError:
    """The ImageError for a format that this OpenCV does not decode."""
    return ImageError("unsupported", f"{codec}, which OpenCV does not decode on this system: convert it to PNG or JPEG")


_silencing = threading.Lock()


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Drops what libraries, and the other threads of this process, write to the terminal for as long as it lasts."""
    with _silencing:
        try:
            before = os.dup(2)
        except OSError:  # a process without a terminal
            yield
            return
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            yield
        finally:
            with suppress(OSError):
                os.dup2(before, 2)
            os.close(before)
