"""Turns encoded bytes into the network's input: the ONLY code that decodes and fits an image.

Invariant: `load(data, spec)` depends only on its arguments. Training, validation, the parity gate and the runner all
call it with the spec in the model, so an image is always preprocessed in the same way. Normalization is part of the
graph.

Arrays are uint8, H x W x 3, RGB, 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import cv2
import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray

from pelagia.images.error import REASONS as REASONS
from pelagia.images.error import ImageError as ImageError
from pelagia.images.error import require_few_pixels, undecodable
from pelagia.images.formats import jpeg, png
from pelagia.images.formats.opencv import eight_bits, image_error, imdecode, rgb

DECODER_VERSION = 2
"""Increase it if an image is decoded or fitted to other pixels than before. It is part of the crop cache's key."""

Image = NDArray[np.uint8]

_JPEG_SCALES = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
_JPEG_MARGIN = 4
"""The side of a reduced JPEG is at least this many times ``size``. A smaller factor saves little time."""
_RESIZE = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


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
    """The network's input (uint8, ``size`` x ``size`` x 3, RGB, 0..255), and what is known of the image.

    Attributes:
        width: the original width in pixels, after the EXIF orientation, at whatever scale the image was decoded.
        height: the original height in pixels.
        remark: what is remarkable about the image: texts of `pelagia.images.remarks.REMARKS`; mostly empty.
    """

    pixels: Image
    width: int
    height: int
    remark: str = ""


def load(data: bytes, spec: PreprocessSpec) -> Image:
    """Decodes and fits an encoded image.

    Returns:
        uint8, ``size`` x ``size`` x 3, RGB, 0..255.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    return load_sized(data, spec).pixels


def load_sized(data: bytes, spec: PreprocessSpec) -> Fitted:
    """Decodes and fits an image as `load` does, and returns what is known of the image as well."""
    try:
        pixels, (height, width), remark = decode_with_remark(data, spec)
        return Fitted(fit(pixels, spec), width, height, remark)
    except cv2.error as error:
        raise image_error(error) from None


def decode(data: bytes, spec: PreprocessSpec | None = None) -> Image:
    """The pixels of an encoded image, as `decode_with_remark` returns them."""
    return decode_with_remark(data, spec).pixels


class Decoded(NamedTuple):
    """The pixels of an image (uint8, H x W x 3, RGB, 0..255), and what is known of it.

    Attributes:
        sides: height and width of the full image.
        remark: as in `Fitted`.
    """

    pixels: Image
    sides: tuple[int, int]
    remark: str


def decode_with_remark(data: bytes, spec: PreprocessSpec | None = None) -> Decoded:
    """The pixels of an encoded image, with the orientation of a JPEG, PNG, TIFF or AVIF applied.

    Only the first frame or page is decoded, without thumbnails. Gray and palette images become RGB; an alpha channel is
    dropped; 16-bit values are divided by 257 and rounded, so that 0..65535 becomes 0..255, whatever the range of the
    image, unless the file says that fewer bits count.

    Args:
        spec: how the pixels will be fitted, so that a large JPEG can be decoded at a reduced scale. None: full scale.

    Raises:
        ImageError: the bytes are not a usable image.
    """
    if data[:2] == jpeg.START:
        return _jpeg(data, spec)
    if data.startswith(png.START):
        return _png(data)
    if not data:
        raise ImageError("empty", "the file has no bytes")
    from pelagia.images.formats import others  # most workers never need it, and start sooner without it

    found = others.decode(data)
    height, width = found.pixels.shape[:2]
    return Decoded(found.pixels, (height, width), found.remark)


def _jpeg(data: bytes, spec: PreprocessSpec | None) -> Decoded:
    data, sides, remark = jpeg.checked(data)
    flags = _jpeg_flags(sides, spec)
    pixels = imdecode(data, flags)
    if pixels is None:
        raise undecodable()
    height, width = pixels.shape[:2]
    require_few_pixels(height, width)  # if OpenCV was imported before Pelagia, it has its own limit
    if flags == cv2.IMREAD_COLOR_RGB:
        return Decoded(eight_bits(pixels), (height, width), remark)
    turned = (height - width) * (sides[0] - sides[1]) < 0
    return Decoded(rgb(eight_bits(pixels)), sides[::-1] if turned else sides, remark)


def _jpeg_flags(sides: tuple[int, int], spec: PreprocessSpec | None) -> int:
    """OpenCV's flags to decode a JPEG of this height and width for ``spec``."""
    if spec is None or spec.jpeg_scale == "full":
        return cv2.IMREAD_COLOR_RGB
    side = max(sides) if spec.fit == "letterbox" else min(sides)
    room = side // (_JPEG_MARGIN * spec.size)
    return next((flags for part, flags in _JPEG_SCALES if part <= room), cv2.IMREAD_COLOR_RGB)


def _png(data: bytes) -> Decoded:
    found = png.checked(data)
    pixels = imdecode(found.data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        raise undecodable()
    white, remark = png.white_and_remark(found, pixels)
    height, width = pixels.shape[:2]
    require_few_pixels(height, width)
    return Decoded(eight_bits(pixels, white), (height, width), remark)


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
