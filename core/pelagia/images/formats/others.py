"""The formats besides JPEG and PNG, told apart by their first bytes, whatever the file's name.

Invariant: OpenCV gets no image of another format. It reads some more, which no test compares with another decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pelagia.images.error import ImageError, require_few_pixels, undecodable
from pelagia.images.formats import boxes, jpeg2000, pnm, simple, tiff
from pelagia.images.formats.opencv import Pixels


class Found(NamedTuple):
    """Pixels (uint8, H x W x 3, RGB, 0..255), and what is remarkable about them."""

    pixels: Pixels
    remark: str


_Decoder = Callable[[bytes], tuple[Pixels, str]]

_DECODERS: tuple[tuple[tuple[bytes, ...], _Decoder], ...] = (
    (pnm.STARTS, pnm.decode),
    (tiff.STARTS, tiff.decode),
    ((b"BM",), simple.decode_bmp),
    ((b"GIF87a", b"GIF89a"), simple.decode_gif),
    ((jpeg2000.FILE_START, jpeg2000.STREAM_START), jpeg2000.decode),
)
_REFUSED: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FUJIFILMCCD-RAW"), "a raw photo: convert it to TIFF, PNG or JPEG"),
    ((b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"), "JPEG XL: convert it to JPEG or PNG"),
    (
        (b"v/1\x01", b"#?RADIANCE", b"#?RGBE", b"PF\n", b"Pf\n"),
        "pixels without a largest value: save it as TIFF or PNG",
    ),
    ((b"P7\n", b"Y\xa6j\x95"), "PAM or Sun raster: convert it to PNG"),
    ((b"8BPS",), "a Photoshop document: save it as TIFF or PNG"),
    ((b"%PDF",), "a PDF, not an image: save its images as PNG or JPEG"),
    ((b"\x1aE\xdf\xa3",), "a video, not an image: save its frames as PNG or JPEG"),
)


def decode(data: bytes) -> Found:
    """The pixels of an image that is neither JPEG nor PNG.

    Raises:
        ImageError: it is damaged, too large, or not supported.
    """
    if data[:4] == b"RIFF":
        decoder: _Decoder | None = simple.decode_webp if data[8:12] == b"WEBP" else _refuse_riff
    elif data[4:8] == b"ftyp":
        decoder = boxes.decode
    else:
        decoder = next((decoder for starts, decoder in _DECODERS if data.startswith(starts)), None)
    if decoder is None:
        what = next((what for starts, what in _REFUSED if data.startswith(starts)), None)
        raise ImageError("unsupported", what) if what else undecodable()
    found = Found(*decoder(data))
    require_few_pixels(*found.pixels.shape[:2])  # if OpenCV was imported before Pelagia, it has its own limit
    return found


def _refuse_riff(data: bytes) -> tuple[Pixels, str]:
    if data[8:12] == b"AVI ":
        raise ImageError("unsupported", "a video, not an image: save its frames as PNG or JPEG")
    raise undecodable()
