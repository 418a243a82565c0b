"""Turns encoded bytes into the network's input: the ONLY code that decodes and fits an image.

Invariant: `load(data, spec)` depends only on its arguments. Training, validation, the parity gate and the runner all
call it with the spec in the model, so an image is always preprocessed in the same way. Normalization is part of the
graph.

Arrays are uint8, H x W x 3, RGB, 0..255.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from pelagia.images.limits import MAX_PIXELS

Image = NDArray[np.uint8]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_NEEDED = (b"tRNS", b"eXIf")  # critical chunks, whose names begin with a capital letter, are needed too
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")  # without stuffed bytes, fill bytes and restart markers
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
_JPEG_MOST_SCANS = 64
"""Largest number of scans in a progressive JPEG. Encoders write about ten. Even a scan of 12 bytes takes much time."""
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_DECODED = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # without lossless and hierarchical frames
_JPEG_SCALES = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
_JPEG_MARGIN = 4
"""The side of a reduced JPEG is at least this many times ``size``. A smaller factor saves little time."""
_OPENCV_LIMITS = ("CV_IO_MAX_IMAGE", "MAX_TILE_SIZE", "maxFileSize")
"""Names of OpenCV's limits in the text of a failed assertion. All its assertions have the same error code."""
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RESIZE = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


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
    "unsupported": "the type of its pixels or its compression is not supported",
    "encrypted": "the archive's member is encrypted",
    "damaged": "the archive or the bin of the image is damaged or cut short",
    "crashed": "the process that decoded it crashed",
    "timed_out": "reading or decoding it took longer than a minute",
}
"""Why an image can fail: the fixed list of reasons, and what each means."""


@dataclass(frozen=True)
class PreprocessSpec:
    """How an image of any size becomes ``size`` x ``size`` pixels. Each model has a copy.

    ``letterbox`` keeps the aspect ratio, centers the image, and fills the rest with the median color of its border;
    ``stretch`` does not keep the aspect ratio. OpenCV resizes: ``shrink`` is the filter for an image that gets smaller,
    ``enlarge`` for one that gets larger (INTER_AREA and INTER_LINEAR).

    With ``jpeg_scale`` ``reduced``, a large JPEG is decoded at 1/8, 1/4 or 1/2 of its size: the smallest scale at which
    the side that decides the fit (the longer one for letterbox, the shorter one for stretch) is still four times
    ``size``.

    It is a plain dataclass, which pydantic validates inside a config or a model. So a worker process can decode without
    pydantic, whose import takes as long as all its other imports together.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    size: Annotated[int, Interval(ge=16, le=1024)] = 224
    """Side of the square input, in pixels."""
    fit: Literal["letterbox", "stretch"] = "letterbox"
    """letterbox: keeps the aspect ratio and fills the rest with the color of the border; stretch: does not keep it."""
    shrink: Literal["area", "linear"] = "area"
    """Filter of OpenCV for an image that gets smaller."""
    enlarge: Literal["area", "linear"] = "linear"
    """Filter of OpenCV for an image that gets larger."""
    colour: Literal["RGB"] = "RGB"
    """Order of the channels."""
    jpeg_scale: Literal["full", "reduced"] = "reduced"
    """reduced: a large JPEG is decoded at a fraction of its size that hardly changes the result; full: it is not."""


class Fitted(NamedTuple):
    """The network's input (uint8, ``size`` x ``size`` x 3, RGB, 0..255), and the original width and height in pixels.

    Width and height are those of the full image after its EXIF orientation, at whatever scale it was decoded.
    """

    pixels: Image
    width: int
    height: int


def load(data: bytes, spec: PreprocessSpec) -> Image:
    """Decodes and fits an encoded image.

    Returns:
        uint8, ``size`` x ``size`` x 3, RGB, 0..255.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    return load_sized(data, spec).pixels


def load_sized(data: bytes, spec: PreprocessSpec) -> Fitted:
    """Decodes and fits an image as `load` does, and returns the original width and height as well."""
    try:
        pixels, (height, width) = _decode(data, spec)
        return Fitted(fit(pixels, spec), width, height)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise ImageError("too_large", "it does not fit into the memory of this machine") from None
        raise ImageError("undecodable", error.err) from None


def decode(data: bytes, spec: PreprocessSpec | None = None) -> Image:
    """The pixels of an encoded image, with the EXIF orientation of a JPEG, PNG or TIFF applied.

    Only the first frame or page is decoded. Gray and palette images become RGB; an alpha channel is dropped;
    16-bit values are divided by 257 and rounded, so that 0..65535 becomes 0..255, whatever the range of the image.

    Args:
        spec: how the pixels will be fitted, so that a large JPEG can be decoded at a reduced scale. None: full scale.

    Returns:
        uint8, H x W x 3, RGB, 0..255.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    return _decode(data, spec)[0]


def _decode(data: bytes, spec: PreprocessSpec | None) -> tuple[Image, tuple[int, int]]:
    """The pixels, and the height and width of the full image."""
    if not data:
        raise ImageError("empty", "the file has no bytes")
    data, flags, stated = _checked(data, spec)
    pixels = _decoded(data, flags)
    if pixels is None:
        raise _refused(data)
    _require_few_pixels(*pixels.shape[:2])  # if OpenCV was imported before Pelagia, it has its own limit
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    elif pixels.dtype != np.uint8:
        raise _unsupported_pixels(pixels)
    if not flags & cv2.IMREAD_COLOR_RGB:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, pixels)
    height, width = pixels.shape[:2]
    sides = stated or (height, width)
    turned = (height - width) * (sides[0] - sides[1]) < 0
    return pixels.astype(np.uint8, copy=False), sides[::-1] if turned else sides


def _checked(data: bytes, spec: PreprocessSpec | None) -> tuple[bytes, int, tuple[int, int] | None]:
    """Makes the checks that OpenCV does not make. Returns the bytes, OpenCV's flags, and the size of a reduced JPEG.

    The size is height and width before the EXIF orientation; None unless the JPEG is decoded at a reduced scale.

    Only JPEG and PNG are decoded to RGB directly: OpenCV 4.12 decodes a TIFF of 3 x 16 bits to RGB as uninitialized
    memory.
    """
    if data[:2] == b"\xff\xd8":
        sides = _sides_of_whole_jpeg(data)
        _require_few_pixels(*sides)  # OpenCV would check the reduced size
        flags = _jpeg_flags(sides, spec)
        return data, flags, None if flags == cv2.IMREAD_COLOR_RGB else sides
    if data.startswith(_PNG_SIGNATURE):
        data = _whole_png(data)
        _require_few_pixels(int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))
        return data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH, None
    return data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, None


def _decoded(data: bytes, flags: int) -> NDArray[Any] | None:
    """OpenCV's result: an array of any type, or None."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise ImageError("too_large", "it does not fit into the memory of this machine") from None
        if any(limit in error.err for limit in _OPENCV_LIMITS):
            raise _too_many_pixels() from None
        raise ImageError("undecodable", error.err) from None


def _refused(data: bytes) -> ImageError:
    """Why OpenCV decoded nothing: it reads a gray TIFF of floating-point numbers, but does not convert it to colors."""
    if data.startswith(_TIFF_STARTS) and (pixels := _decoded(data, cv2.IMREAD_UNCHANGED)) is not None:
        return _unsupported_pixels(pixels)
    return ImageError("undecodable", "not a complete image of a known format")


def _unsupported_pixels(pixels: NDArray[Any]) -> ImageError:
    return ImageError("unsupported", f"pixels of type {pixels.dtype}; 8 and 16 bit are supported")


def _require_few_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise _too_many_pixels()


def _too_many_pixels() -> ImageError:
    return ImageError("too_large", f"more than {MAX_PIXELS} pixels")


def _jpeg_flags(sides: tuple[int, int], spec: PreprocessSpec | None) -> int:
    """OpenCV's flags to decode a JPEG of this height and width for ``spec``."""
    if spec is None or spec.jpeg_scale == "full":
        return cv2.IMREAD_COLOR_RGB
    side = max(sides) if spec.fit == "letterbox" else min(sides)
    room = side // (_JPEG_MARGIN * spec.size)
    return next((flags for part, flags in _JPEG_SCALES if part <= room), cv2.IMREAD_COLOR_RGB)


def _sides_of_whole_jpeg(data: bytes) -> tuple[int, int]:
    """Height and width in a JPEG's header, before the EXIF orientation; 0, 0 if it has no size.

    Raises ImageError for a truncated JPEG: OpenCV would fill the missing part with gray. Bytes after the end, such as
    a phone's video, are ignored.
    """
    at, frame, scans = 2, 0, 0
    while marker := _JPEG_MARKER.search(data, at):
        start = marker.end()
        kind = data[start - 1]
        if kind == _JPEG_END:
            if scans > _JPEG_MOST_SCANS:
                raise ImageError("unsupported", f"a JPEG of {scans} scans; {_JPEG_MOST_SCANS} are supported")
            return _sides_of_frame(data[frame - 1 : frame + 7]) if frame else (0, 0)
        if kind in _JPEG_FRAMES and not frame:
            frame = start
        scans += kind == _JPEG_SCAN
        at = start + int.from_bytes(data[start : start + 2])
    raise ImageError("undecodable", "a truncated JPEG: its end is missing")


def _sides_of_frame(header: bytes) -> tuple[int, int]:
    """Height and width from a JPEG's frame header, which holds kind, length, bits, height and width."""
    if header[0] not in _JPEG_DECODED:
        raise ImageError("unsupported", "a lossless or hierarchical JPEG")
    if header[3:4] != b"\x08":
        raise ImageError("unsupported", "a JPEG of other than 8 bits a sample")
    return int.from_bytes(header[4:6]), int.from_bytes(header[6:8])


def _whole_png(data: bytes) -> bytes:
    """A PNG without the chunks that its pixels do not need: profiles and texts of any size, and further frames.

    OpenCV refuses a damaged PNG too, but then libpng writes to the terminal; and an animation whose first frame is
    damaged crashes OpenCV 4.12 (github.com/opencv/opencv/issues/27744).
    """
    view, at, kept = memoryview(data), len(_PNG_SIGNATURE), [memoryview(_PNG_SIGNATURE)]
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(view[at : at + 4])
        if end > len(data):
            break
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise ImageError("undecodable", f"a damaged PNG: the checksum at byte {end - 4} is wrong")
        if critical or kind in _PNG_NEEDED:
            kept.append(view[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    raise ImageError("undecodable", "a truncated PNG: its end is missing")


def fit(image: Image, spec: PreprocessSpec) -> Image:
    """Resizes ``image`` (uint8, H x W x 3) to ``size`` x ``size`` x 3, as ``spec`` says."""
    height, width = image.shape[:2]
    size = spec.size
    if spec.fit == "stretch":
        return _resize(image, size, size, spec)
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    resized = _resize(image, new_height, new_width, spec)
    if new_height == size and new_width == size:
        return resized
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = border_color(resized)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = resized
    return canvas


def border_color(image: Image) -> Image:
    """The median of the outermost pixels of an image (uint8, H x W x 3), separately for each channel: uint8, 3."""
    edge = np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))
    middle = len(edge) // 2
    color: Image = np.partition(edge, middle, axis=0)[middle]
    return color


def _resize(image: Image, height: int, width: int, spec: PreprocessSpec) -> Image:
    smaller = height * width < image.shape[0] * image.shape[1]
    method = _RESIZE[spec.shrink if smaller else spec.enlarge]
    return cv2.resize(image, (width, height), interpolation=method).astype(np.uint8, copy=False)
