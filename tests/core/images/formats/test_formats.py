"""The formats besides JPEG, PNG and TIFF, told by their content, and those that are refused by name."""

import base64
import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from encoders.image_kinds import HEIGHT, WIDTH, by_pillow, chunk, png, samples
from pelagia.images.formats import opencv
from pelagia.images.preprocess import ImageError, decode, decode_with_remark
from pelagia.images.remarks import LOW_VALUES, PAGES

TWELVE_BITS = base64.b64decode(
    "AAAADGpQICANCocKAAAAFGZ0eXBqcDIgAAAAAGpwMiAAAAAtanAyaAAAABZpaGRyAAAACAAAAAgAAQsHAAAAAAAPY29scgEAAAAAABEAAADYanAyY/9P"
    "/1EAKQAAAAAACAAAAAgAAAAAAAAAAAAAAAgAAAAIAAAAAAAAAAAAAQsBAf9SAAwAAAABAAAEBAAB/1wABEBg/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBF"
    "RyB2ZXJzaW9uIDIuNS40/5AACgAAAAAAZgAB/5Pf4VQSLEKnl5WxQw7WKD/e6CnFSLg0VhLheQ6YkYVPQ9GYfhKbzjvDeb1xScaFN4JiVhW3Oc516kpA"
    "DMAoAAdEZdUjzFOGC1xn2uspq4TrgHDYbDYbDYbD/9k="
)
"""8 x 8 grays from 0 to 4095, written by imagecodecs.jpeg2k_encode(bitspersample=12, level=0, reversible=True)."""

GRAY, COLOR = samples(1, 8), samples(3, 8)


def fault(data: bytes) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        decode(data)
    return caught.value.reason, str(caught.value)


def saved(form: str, mode: str = "RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOR).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


# Netpbm


@pytest.mark.parametrize("white", [1, 63, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("plain", [False, True])
def test_the_maximum_of_a_pgm_or_ppm_is_the_scale(white, color, plain):
    values = (COLOR if color else GRAY).astype(int) * white // 255
    header = f"P{(2 if plain else 5) + color}\n# a comment\n{WIDTH} {HEIGHT}\n{white}\n".encode()
    raster = values.astype(">u2" if white > 255 else "u1").tobytes()
    data = header + (" ".join(map(str, values.ravel())).encode() if plain else raster)
    assert np.abs(decode(data) - np.round(values / white * 255)).max() <= 1


@pytest.mark.parametrize("kind", ["P1", "P4"])
def test_in_a_pbm_one_is_black(kind):
    bits = (GRAY[..., 0] < 100).astype(np.uint8)
    text = "\n".join("".join(map(str, row)) for row in bits).encode()
    data = f"{kind} {WIDTH} {HEIGHT}\n".encode() + (text if kind == "P1" else np.packbits(bits, axis=1).tobytes())
    assert np.array_equal(decode(data)[..., 0], 255 * (1 - bits))


@pytest.mark.parametrize("kind", [b"P5", b"P6", b"P2"])
def test_a_netpbm_file_that_is_cut_short_is_refused(kind):
    data = kind + b" 4 3 255\n" + (b"7 " * 12 if kind == b"P2" else bytes(36 if kind == b"P6" else 12))
    decode(data)
    for length in range(1, len(data) - (2 if kind == b"P2" else 0)):
        assert fault(data[:length])[0] == "undecodable"


def test_a_pixel_above_the_maximum_is_refused():
    assert fault(b"P5 2 1 63\n\x05\x40") == ("undecodable", "a pixel of 64; the file states that the largest is 63")
    assert fault(b"P2 2 1 63\n5 320") == ("undecodable", "a pixel of 320; the file states that the largest is 63")


def test_several_images_in_a_netpbm_file_are_remarked():
    one = b"P5 2 1 255\n\x05\x40"
    assert decode_with_remark(one + one).remark == PAGES
    assert decode_with_remark(one + b"\n").remark == ""


def test_low_values_of_a_pgm_of_sixteen_bits_are_remarked():
    values = (GRAY.astype(np.uint16) * 16).astype(">u2")
    header = f"P5 {WIDTH} {HEIGHT} ".encode()
    assert decode_with_remark(header + b"65535\n" + values.tobytes()).remark == LOW_VALUES[4095]
    assert decode_with_remark(header + b"4095\n" + values.tobytes()).remark == ""


@pytest.mark.parametrize("header", [b"P5", b"P5 0 4 255", b"P5 4 4 0", b"P5 4 4 65536", b"P5 -4 4 255", b"P5 a b c"])
def test_a_damaged_header_is_refused(header):
    assert fault(header + b"\n" + bytes(99)) == ("undecodable", "a PBM, PGM or PPM with a damaged header")


def test_a_netpbm_file_with_too_many_pixels_is_refused():
    assert fault(b"P5 99999 99999 255\n")[0] == "too_large"


# PNG


def test_the_significant_bits_of_a_png_are_the_scale_where_all_values_fit_into_them():
    twelve = (GRAY / 255 * 4095).round().astype(np.uint16)
    stated = chunk(b"sBIT", b"\x0c")
    found = decode_with_remark(png(twelve, 16, 0, extra=stated))
    assert np.abs(found.pixels[..., :1].astype(int) - GRAY).max() <= 1
    assert found.remark == ""
    scaled = decode_with_remark(png(twelve << 4 | twelve >> 8, 16, 0, extra=stated))
    assert np.abs(scaled.pixels[..., :1].astype(int) - GRAY).max() <= 1
    unsaid = decode_with_remark(png(twelve, 16, 0))
    assert unsaid.pixels.max() <= 16
    assert unsaid.remark == LOW_VALUES[4095]


def test_significant_bits_of_eight_bits_change_nothing():
    assert np.array_equal(decode(png(GRAY, 8, 0, extra=chunk(b"sBIT", b"\4"))), GRAY.repeat(3, axis=2))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "AVIF"])
def test_an_animation_is_remarked(form):
    frames = [Image.fromarray(samples(3, 8, seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    found = decode_with_remark(buffer.getvalue())
    assert found.remark == PAGES
    assert np.abs(found.pixels.astype(int) - by_pillow(buffer.getvalue())).max() <= 3
    assert decode_with_remark(saved(form)).remark == ""


# GIF and BMP


def test_a_gif_cut_at_any_byte_is_refused_or_the_same():
    data = saved("GIF", "P")
    whole = decode(data)
    assert np.array_equal(whole, by_pillow(data))
    for length in range(0, len(data), 3):
        try:
            found = decode(data[:length])
        except ImageError:
            continue
        assert np.array_equal(found, whole)


def test_a_gif_whose_first_frame_is_smaller_is_refused():
    data = bytearray(saved("GIF", "P"))
    struct.pack_into("<HH", data, 6, WIDTH + 5, HEIGHT)
    assert fault(bytes(data))[1] == "a GIF whose first frame does not fill it: convert it to PNG"


def bmp(bits: int, rows: np.ndarray, masks: tuple[int, ...] = ()) -> bytes:
    raw = b"".join(row.tobytes().ljust(-(-row.nbytes // 4) * 4, b"\0") for row in rows[::-1])
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, 3 if masks else 0, len(raw), 0, 0, 0, 0)
    body = info + struct.pack(f"<{len(masks)}I", *masks)
    return b"BM" + struct.pack("<IHHI", 14 + len(body) + len(raw), 0, 0, 14 + len(body)) + body + raw


@pytest.mark.parametrize("green", [5, 6])
def test_a_bmp_of_sixteen_bits_is_that_of_pillow(green):
    red, mid, blue = (COLOR[..., channel].astype(np.uint16) for channel in range(3))
    rows = red >> 3 << (5 + green) | mid >> (8 - green) << 5 | blue >> 3
    data = bmp(16, rows.astype("<u2"), (0xF800, 0x7E0, 0x1F) if green == 6 else ())
    assert np.abs(decode(data).astype(int) - by_pillow(data)).max() <= 1


def test_a_bmp_with_the_colors_in_another_order_is_refused():
    rows = np.dstack([COLOR, GRAY])
    assert fault(bmp(32, rows, (0xFF, 0xFF00, 0xFF0000)))[1].startswith("a BMP whose colors have other bits")
    assert np.array_equal(decode(bmp(32, rows[..., [2, 1, 0, 3]], (0xFF0000, 0xFF00, 0xFF))), COLOR)


# JPEG 2000 and AVIF


def test_a_jpeg_2000_of_twelve_bits_has_its_scale():
    values = np.linspace(0, 4095, 64).astype(int).reshape(8, 8)
    assert np.array_equal(decode(TWELVE_BITS)[..., 0], np.round(values / 4095 * 255))


def test_a_jpeg_2000_file_cut_at_any_byte_is_refused():
    for length in range(1, len(TWELVE_BITS) - 2, 7):
        assert fault(TWELVE_BITS[:length])[0] == "undecodable"


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_an_avif_has_the_scale_of_its_depth(depth):
    values = (COLOR / 255 * ((1 << depth) - 1)).round().astype(np.uint8 if depth == 8 else np.uint16)
    options = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100]
    data = cv2.imencode(".avif", values[..., ::-1], options)[1].tobytes()
    assert np.abs(decode(data).astype(int) - by_pillow(data)).max() <= 3


def test_a_gray_avif_of_limited_range_is_right_or_refused():
    data = saved("AVIF", "L", range="limited", quality=100)
    try:
        pixels = decode(data)
    except ImageError as error:
        assert error.reason == "unsupported"  # noqa: PT017
    else:
        assert np.abs(pixels.astype(int) - by_pillow(data)).max() <= 3


@pytest.mark.parametrize("form", ["GIF", "AVIF"])
def test_a_format_that_opencv_was_built_without_is_refused_with_the_remedy(form, monkeypatch):
    data = saved(form)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    AVIF:                        NO\n    GIF:      NO\n")
    message = f"{form}, which OpenCV does not decode on this system: convert it to PNG or JPEG"
    assert fault(data) == ("unsupported", message)


@pytest.mark.parametrize("codec", ["GIF", "AVIF", "JPEG 2000", "TIFF", "WEBP"])
def test_this_opencv_was_built_with_all_formats(codec):
    assert opencv.built_with(codec)


# What is refused by name


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC photo: convert it to JPEG or PNG; "),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC photo: convert it to JPEG or PNG; "),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a raw photo of a Canon camera (CR3)"),
        (b"\0\0\0\x18ftypisom\0\0\0\1isommp41", "a video or another file of type MP4"),
        (b"RIFF\0\0\0\0AVI LIST", "a video, not an image"),
        (b"IIU\0", "a raw photo: "),
        (b"\xff\x0a", "JPEG XL: "),
        (b"v/1\x01", "pixels without a largest value: "),
        (b"#?RADIANCE\n", "pixels without a largest value: "),
        (b"8BPS", "a Photoshop document: "),
        (b"%PDF-1.4", "a PDF, not an image: "),
        (b"P7\nWIDTH 3", "PAM or Sun raster: "),
    ],
)
def test_files_that_are_not_read_are_refused_by_name(start, expected):
    reason, message = fault(start + bytes(3000))
    assert reason == "unsupported"
    assert message.startswith(expected)
