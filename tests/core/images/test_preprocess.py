import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pelagia.config import Strict, validate
from pelagia.errors import ConfigError
from pelagia.images.preprocess import REASONS, ImageError, PreprocessSpec, border_color, decode, fit, load, load_sized

SIXTEEN_BIT = (np.arange(1200, dtype=np.uint16) * 54).reshape(30, 40)
KINDS = {
    "jpeg": ("JPEG", "RGB", {}),
    "progressive jpeg": ("JPEG", "RGB", {"progressive": True}),
    "jpeg with restarts": ("JPEG", "RGB", {"restart_marker_blocks": 1}),
    "grey jpeg": ("JPEG", "L", {}),
    "cmyk jpeg": ("JPEG", "CMYK", {}),
    "png": ("PNG", "RGB", {}),
    "grey png": ("PNG", "L", {}),
    "two-colour png": ("PNG", "1", {}),
    "palette png": ("PNG", "P", {}),
    "transparent palette png": ("PNG", "P", {"transparency": 0}),
    "png with alpha": ("PNG", "RGBA", {}),
    "grey png with alpha": ("PNG", "LA", {}),
    "bmp": ("BMP", "RGB", {}),
    "palette bmp": ("BMP", "P", {}),
    "tiff": ("TIFF", "RGB", {}),
    "lzw tiff": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    "jpeg tiff": ("TIFF", "RGB", {"compression": "jpeg"}),
    "cmyk tiff": ("TIFF", "CMYK", {}),
    "webp": ("WEBP", "RGB", {}),
    "lossless webp": ("WEBP", "RGB", {"lossless": True}),
}


def by_pillow(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def encoded(kind, image, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason in REASONS
    return caught.value.reason, str(caught.value)


def accepted(data, lengths):
    """Those of the lengths at which the beginning of ``data`` passes for an image."""
    taken = []
    for length in lengths:
        try:
            decode(data[:length])
        except ImageError:
            continue
        taken.append(length)
    return taken


# What is decoded


@pytest.mark.parametrize("kind", KINDS)
def test_two_decoders_see_the_same_pixels(encode, kind):
    form, mode, options = KINDS[kind]
    data = encode(form, mode=mode, **options)
    pixels = decode(data)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (30, 40, 3))
    assert np.abs(pixels.astype(int) - by_pillow(data)).max() <= 1


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_a_camera_is_applied(pixels, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {274: orientation}} if form == "TIFF" else {"exif": exif}
    data = encoded(form, Image.fromarray(pixels()), **options)
    assert decode(data).shape == ((40, 30, 3) if orientation > 4 else (30, 40, 3))
    assert np.array_equal(decode(data), by_pillow(data))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_by_rounding(form):
    pixels = decode(encoded(form, Image.fromarray(SIXTEEN_BIT)))
    assert np.array_equal(pixels[..., 0], np.round(SIXTEEN_BIT / 257))
    assert np.array_equal(pixels[..., 0], pixels[..., 1])


def test_sixteen_bits_of_three_colours_keep_their_order():
    colours = np.zeros((4, 5, 3), np.uint16)
    colours[:] = (65535, 32896, 0)  # red, green, blue
    data = cv2.imencode(".png", colours[..., ::-1])[1].tobytes()
    assert decode(data)[0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(pixels, form):
    frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(form, frames[0], save_all=True, append_images=frames[1:], **options)
    assert np.array_equal(decode(data), pixels(0))


def test_what_follows_the_end_of_a_jpeg_is_no_concern(encode):
    data = encode("JPEG")
    assert np.array_equal(decode(data + b"a phone's video \xff\xda\xff\xe1\x00"), decode(data))


def test_a_thumbnail_inside_a_jpeg_does_not_pass_for_its_end(encode, pixels):
    thumbnail = encoded("JPEG", Image.fromarray(pixels()).resize((16, 12)))
    segment = b"Exif\0\0" + thumbnail
    plain = encode("JPEG")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert np.array_equal(decode(data), decode(plain))
    assert accepted(data, range(len(data) - 2)) == []


# Large JPEGs


@pytest.mark.parametrize(
    ("sides", "how", "expected"),
    [
        ((96, 127), "letterbox", (96, 127)),
        ((96, 128), "letterbox", (48, 64)),
        ((255, 30), "letterbox", (128, 15)),
        ((256, 31), "letterbox", (64, 8)),
        ((511, 511), "letterbox", (128, 128)),
        ((513, 512), "letterbox", (65, 64)),
        ((5, 4001), "letterbox", (1, 501)),
        ((127, 4000), "stretch", (127, 4000)),
        ((128, 4000), "stretch", (64, 2000)),
        ((512, 513), "stretch", (64, 65)),
    ],
)
def test_a_large_jpeg_is_decoded_at_the_scale_that_leaves_four_times_the_fit(encode, sides, how, expected):
    data = encode("JPEG", height=sides[0], width=sides[1])
    assert decode(data, PreprocessSpec(size=16, fit=how)).shape == (*expected, 3)
    assert decode(data, PreprocessSpec(size=16, fit=how, jpeg_scale="full")).shape == (*sides, 3)
    assert decode(data).shape == (*sides, 3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] == "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_jpeg_shows_the_same_image(encode, kind, orientation):
    form, mode, options = KINDS[kind]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(form, mode=mode, height=900, width=1200, exif=exif, **options)
    reduced, full = PreprocessSpec(size=32), PreprocessSpec(size=32, jpeg_scale="full")
    assert decode(data, reduced).shape == ((150, 113, 3) if orientation > 4 else (113, 150, 3))
    assert np.abs(load(data, reduced).astype(int) - load(data, full)).mean() < 2  # turned wrongly: 40


@pytest.mark.parametrize("jpeg_scale", ["reduced", "full"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sides", [(900, 1201), (1003, 257), (601, 601)])
def test_the_sides_are_those_of_the_whole_image_as_it_is_turned(encode, sides, orientation, jpeg_scale):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode("JPEG", height=sides[0], width=sides[1], exif=exif)
    found = load_sized(data, PreprocessSpec(size=16, jpeg_scale=jpeg_scale))
    assert (found.height, found.width) == decode(data).shape[:2]
    assert np.array_equal(found.pixels, load(data, PreprocessSpec(size=16, jpeg_scale=jpeg_scale)))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "WEBP"])
def test_the_sides_of_other_formats_are_those_of_their_pixels(encode, form):
    found = load_sized(encode(form, height=600, width=800), PreprocessSpec(size=16))
    assert (found.height, found.width) == (600, 800)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "WEBP"])
def test_only_jpegs_are_reduced(encode, form):
    assert decode(encode(form, height=600, width=800), PreprocessSpec(size=16)).shape == (600, 800, 3)


@pytest.mark.parametrize("frame", [0xC0, 0xC2])
def test_a_reduced_jpeg_keeps_the_limit_of_the_whole_image(encode, frame):
    data = bytearray(encode("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 1] = frame
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)  # an eighth of each would pass
    with pytest.raises(ImageError, match="more than 268435456 pixels") as caught:
        load(bytes(data), PreprocessSpec(size=16))
    assert caught.value.reason == "too_large"


# What is refused


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind][0] in ("JPEG", "PNG")])
def test_no_truncation_at_any_byte_passes_for_a_whole_image(encode, kind):
    form, mode, options = KINDS[kind]
    data = encode(form, mode=mode, **options)
    end_mark = 2 if form == "JPEG" else 0
    assert accepted(data, range(len(data) - end_mark)) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "jpeg" not in kind and "png" not in kind])
def test_a_truncation_never_changes_pixels(encode, kind):
    form, mode, options = KINDS[kind]
    data = encode(form, mode=mode, **options)
    whole = decode(data)
    for length in accepted(data, range(0, len(data), 3)):
        assert np.array_equal(decode(data[:length]), whole)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_file_whose_end_a_disk_filled_with_zeros_is_refused(encode, form):
    data = encode(form)
    for length in range(0, len(data), 11):
        if length < len(data) - 2:
            reason(data[:length] + bytes(len(data) - length))


def test_a_png_with_a_changed_byte_in_its_pixels_is_refused(encode):
    data = encode("PNG")
    start = data.index(b"IDAT") + 4
    for at in range(start, len(data) - 16, 37):
        changed = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        assert reason(changed)[1].startswith("a damaged PNG: the checksum at byte ")


def test_a_png_whose_comment_is_damaged_is_accepted(encode, pixels):
    data = encode("PNG")
    comment = struct.pack(">I", 5) + b"tEXthello" + b"\0\0\0\0"
    assert np.array_equal(decode(data[:33] + comment + data[33:]), pixels())


def test_truncated_images_write_nothing_to_the_terminal(encode, capfd):
    for form in ("JPEG", "PNG"):
        data = encode(form)
        accepted(data, range(0, len(data), 7))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", ("empty", "the file has no bytes")),
        (b"hello", ("undecodable", "not a complete image of a known format")),
        (b"\0" * 1000, ("undecodable", "not a complete image of a known format")),
        (b"\xff\xd8", ("undecodable", "a truncated JPEG: its end is missing")),
        (b"\xff\xd8\xff\xd9", ("undecodable", "not a complete image of a known format")),
        (b"\x89PNG\r\n\x1a\n", ("undecodable", "a truncated PNG: its end is missing")),
        (b"path,label\na.png,x\n", ("undecodable", "not a complete image of a known format")),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ("undecodable", "not a complete image of a known format")),
        (b"BM" + b"\xff" * 60, ("undecodable", "not a complete image of a known format")),
        (b"II*\0" + b"\xff" * 100, ("undecodable", "not a complete image of a known format")),
        (b"RIFF\xff\xff\xff\xffWEBPVP8 ", ("undecodable", "not a complete image of a known format")),
    ],
)
def test_what_is_no_image_has_a_reason(data, expected):
    assert reason(data) == expected


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_image_with_too_many_pixels_is_refused_before_it_takes_memory(start, tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(data)
    process = start(
        "import sys; from pathlib import Path; from pelagia.images.preprocess import ImageError, decode\n"
        "try:\n    decode(Path(sys.argv[1]).read_bytes())\nexcept ImageError as error:\n    print(error.reason, error)",
        tmp_path / "bomb.png",
    )  # in a process of its own: OpenCV takes the limit when it is imported
    assert process.communicate()[0] == "too_large more than 268435456 pixels\n"


@pytest.mark.parametrize("kind", [np.float64, np.int16, np.int32, np.int8])
def test_pixels_of_another_kind_are_refused(kind):
    data = cv2.imencode(".tiff", np.ones((5, 5, 3), kind))[1].tobytes()
    assert reason(data) == ("unsupported", f"pixels of type {np.dtype(kind)}; 8 and 16 bit are supported")


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "lzw tiff", "webp"])
def test_a_damaged_file_gives_an_image_or_an_image_error(encode, kind):
    form, mode, options = KINDS[kind]
    data = encode(form, mode=mode, **options)
    random = np.random.default_rng(5)
    for _ in range(150):
        damaged = bytearray(data)
        for at in random.integers(len(data) // 4, len(data), 4):
            damaged[at] = random.integers(256)
        try:
            pixels = decode(bytes(damaged))
        except ImageError as error:
            assert error.reason in REASONS  # noqa: PT017
        else:
            assert pixels.dtype == np.uint8


# Fitting


@pytest.mark.parametrize("how", ["letterbox", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2), (224, 224), (225, 224), (64, 63), (700, 31)])
def test_every_shape_is_fitted(how, shape):
    image = np.full((*shape, 3), 77, np.uint8)
    out = fit(image, PreprocessSpec(size=64, fit=how))
    assert (out.shape, out.dtype) == ((64, 64, 3), np.uint8)
    assert np.array_equal(np.unique(out), [77])


def test_an_image_of_the_right_size_is_not_changed(pixels):
    image = pixels(height=64, width=64)
    assert np.array_equal(fit(image, PreprocessSpec(size=64)), image)


def test_a_letterbox_keeps_the_aspect_ratio_and_fills_with_the_border():
    image = np.full((20, 40, 3), (10, 20, 30), np.uint8)
    image[5:15, 10:30] = 200
    out = fit(image, PreprocessSpec(size=40))
    assert np.array_equal(out[10:30], image)
    assert np.unique(out[:10].reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]
    assert np.unique(out[30:].reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_stretching_fills_the_square(pixels):
    out = fit(pixels(height=30, width=50), PreprocessSpec(size=32, fit="stretch"))
    assert np.array_equal(out, cv2.resize(pixels(height=30, width=50), (32, 32), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize(("size", "method"), [(16, cv2.INTER_AREA), (200, cv2.INTER_LINEAR)])
def test_the_filter_depends_on_the_direction(pixels, size, method):
    image = pixels(height=50, width=50)
    assert np.array_equal(fit(image, PreprocessSpec(size=size)), cv2.resize(image, (size, size), interpolation=method))


def test_the_border_color_is_the_median_of_each_channel():
    image = np.zeros((5, 5, 3), np.uint8)
    image[0] = (255, 0, 9)
    image[:, 0] = (255, 0, 9)
    image[4] = (255, 7, 9)
    assert border_color(image).tolist() == [255, 0, 9]


@pytest.mark.parametrize("size", [16, 33, 224])
def test_loading_is_decoding_and_fitting(encode, size):
    spec = PreprocessSpec(size=size)
    assert np.array_equal(load(encode("JPEG"), spec), fit(decode(encode("JPEG")), spec))


class Holder(Strict):
    preprocess: PreprocessSpec


@pytest.mark.parametrize("size", [15, 1025, 0, -1])
def test_a_size_that_no_network_takes_is_refused(size):
    with pytest.raises(ConfigError, match="should be (greater|less) than or equal"):
        validate({"preprocess": {"size": size}}, Holder, "a config")
