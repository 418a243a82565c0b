"""TIFFs: the scale of 16 bits, pages and thumbnails, and what is refused."""

import io
import struct
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from encoders.tiff_writer import BLACK_IS_ZERO, CMYK, RGB, WHITE_IS_ZERO, Page, tiff
from pelagia.images.preprocess import ImageError, decode, decode_with_remark
from pelagia.images.remarks import LARGER_PAGE, LOW_VALUES, PAGES, SECOND_CHANNEL, WRONG_MAXIMUM

GRAY = np.linspace(27, 214, 60 * 80).reshape(60, 80, 1).round().astype(np.uint8)
TWELVE = (GRAY / 255 * 4095).round().astype(np.uint16)
MAXIMUM, SUBFILE, OLD_SUBFILE, DESCRIPTION, SUB_DIRECTORIES = 281, 254, 255, 270, 330


def fault(data: bytes) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        decode(data)
    return caught.value.reason, str(caught.value)


def remark(*pages: Page) -> str:
    return decode_with_remark(tiff(*pages)).remark


# How many of 16 bits count


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("color", [BLACK_IS_ZERO, WHITE_IS_ZERO])
def test_the_stated_maximum_is_the_scale(bits, color):
    most = (1 << bits) - 1
    values = (GRAY / 255 * most).round().astype(np.uint16)
    found = decode_with_remark(tiff(Page(values, color, 16, tags={MAXIMUM: [most]})))
    expected = np.round(values / most * 255)
    assert np.abs(found.pixels - (255 - expected if color == WHITE_IS_ZERO else expected)).max() <= 1
    assert found.remark == ""


@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_stated_maximum_twelve_bits_are_read_as_before_and_remarked(channels):
    values = TWELVE.repeat(channels, axis=2)
    found = decode_with_remark(tiff(Page(values, BLACK_IS_ZERO if channels == 1 else RGB, 16)))
    assert np.array_equal(found.pixels, cv2.convertScaleAbs(TWELVE.repeat(3, axis=2), alpha=1 / 257))
    assert found.remark == LOW_VALUES[4095]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, 4095), (255, 4095), (4095, 4095), (4096, 16383), (16383, 16383), (16384, 0), (65535, 0), (0, 0)],
)
def test_the_remark_names_the_bits_that_would_do(most, expected):
    values = np.zeros((20, 20, 1), np.uint16)
    values[3, 4] = most
    assert remark(Page(values, bits=16)) == (LOW_VALUES[expected] if expected else "")


def test_a_maximum_that_is_not_the_largest_value_of_some_bits_is_not_a_scale():
    values = TWELVE
    assert remark(Page(values, bits=16, tags={MAXIMUM: [int(values.max())]})) == LOW_VALUES[4095]


def test_pixels_above_the_stated_maximum_are_read_without_it_and_remarked():
    values = GRAY.astype(np.uint16) * 257
    found = decode_with_remark(tiff(Page(values, bits=16, tags={MAXIMUM: [4095]})))
    assert np.array_equal(found.pixels[..., :1], GRAY)
    assert found.remark == WRONG_MAXIMUM


def test_dark_images_of_eight_bits_have_no_remark():
    assert remark(Page(GRAY // 60)) == ""


# Pages, stacks and thumbnails


def test_several_pages_are_remarked_and_the_first_is_read():
    pages = [Page(GRAY, tags={DESCRIPTION: f"page {number}"}) for number in range(5)]
    assert remark(*pages) == PAGES
    assert remark(pages[0]) == ""


@pytest.mark.parametrize("images", [1, 5])
def test_a_stack_of_imagej_in_one_directory_is_remarked(images):
    page = Page(GRAY, tags={DESCRIPTION: f"ImageJ=1.53t\nimages={images}\nslices={images}\n"})
    assert remark(page) == (PAGES if images > 1 else "")


@pytest.mark.parametrize("thumbnail", [{SUBFILE: [1]}, {OLD_SUBFILE: [2]}, {SUBFILE: [4]}])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("big", [False, True])
def test_a_thumbnail_or_a_mask_is_not_read_for_the_image(thumbnail, order, big):
    small = Page(GRAY[::4, ::4], tags=thumbnail)
    for pages in ((small, Page(GRAY)), (Page(GRAY), small)):
        found = decode_with_remark(tiff(*pages, order=order, big=big))
        assert np.array_equal(found.pixels[..., :1], GRAY)
        assert found.remark == ""


def test_a_first_page_that_is_smaller_and_no_thumbnail_is_remarked():
    assert remark(Page(GRAY[::4, ::4]), Page(GRAY)) == LARGER_PAGE


def test_the_only_page_is_read_even_if_it_calls_itself_a_thumbnail():
    found = decode_with_remark(tiff(Page(GRAY, tags={SUBFILE: [1]})))
    assert np.array_equal(found.pixels[..., :1], GRAY)


def test_an_image_below_its_thumbnail_is_read():
    both = tiff(Page(GRAY[::4, ::4], tags={SUBFILE: [1], SUB_DIRECTORIES: [0x7FFFFFFF]}), Page(GRAY))
    first = struct.unpack("<I", both[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", both[first : first + 2])[0]
    second = both[link : link + 4]
    below = both[:link] + bytes(4) + both[link + 4 :]  # the second directory is not in the chain
    assert np.array_equal(decode(below.replace(struct.pack("<I", 0x7FFFFFFF), second))[..., :1], GRAY)


@pytest.mark.parametrize("where", ["first", "second"])
def test_directories_in_a_circle_end(where):
    data = bytearray(tiff(Page(GRAY), Page(GRAY)))
    first = struct.unpack("<I", data[4:8])[0]
    link = first + 2 + 12 * struct.unpack("<H", data[first : first + 2])[0]
    second = struct.unpack("<I", data[link : link + 4])[0]
    last = second + link - first
    struct.pack_into("<I", data, link if where == "first" else last, first)
    assert np.array_equal(decode(bytes(data))[..., :1], GRAY)


# Layouts that OpenCV does not decode right by itself


def test_planes_of_sixteen_bits_are_read_whole():
    values = np.dstack([GRAY, GRAY[::-1], GRAY[:, ::-1]]).astype(np.uint16) * 257
    assert np.array_equal(decode(tiff(Page(values, RGB, 16, planar=True))), values // 257)


def test_white_is_zero_of_sixteen_bits_is_inverted():
    assert np.array_equal(decode(tiff(Page(GRAY.astype(np.uint16) * 257, WHITE_IS_ZERO, 16)))[..., :1], 255 - GRAY)


def test_colors_are_not_multiplied_by_an_alpha_channel():
    values = np.dstack([GRAY, GRAY[::-1], GRAY[:, ::-1], np.full_like(GRAY, 9)])
    assert np.array_equal(decode(tiff(Page(values, RGB, extra=(2,)))), values[..., :3])


@pytest.mark.parametrize(("extra", "expected"), [((0,), SECOND_CHANNEL), ((1,), ""), ((2,), ""), ((), SECOND_CHANNEL)])
def test_a_second_channel_that_is_not_alpha_is_remarked(extra, expected):
    found = decode_with_remark(tiff(Page(np.dstack([GRAY, 255 - GRAY]), extra=extra)))
    assert np.array_equal(found.pixels[..., :1], GRAY)
    assert found.remark == expected


# What is refused, with what it is


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(GRAY.astype(np.float16), bits=16), "pixels of type float16; 8 and 16 bit are supported"),
        (Page(GRAY.astype(np.uint32), bits=32), "pixels of type uint32; 8 and 16 bit are supported"),
        (Page(GRAY.astype(np.int16), bits=16), "pixels of type int16; 8 and 16 bit are supported"),
        (
            Page(GRAY.repeat(5, axis=2), extra=(0, 0, 0, 0)),
            "a gray TIFF with 5 channels of 8 bits: save it as RGB or gray of 8 bits",
        ),
        (
            Page(GRAY.repeat(4, axis=2).astype(np.uint16), CMYK, 16),
            "a CMYK TIFF with 4 channels of 16 bits: save it as RGB or gray of 8 bits",
        ),
        (Page(GRAY, 32803), "a TIFF that holds a raw photo: convert it to TIFF, PNG or JPEG"),
        (Page(GRAY.repeat(3, axis=2), 8), "a TIFF that holds CIELab: save it as RGB or gray"),
        (Page(GRAY, compression=50000), "a TIFF with the compression Zstandard: save it with LZW or Deflate"),
        (Page(GRAY, compression=34999), "a TIFF with the compression number 34999: save it with LZW or Deflate"),
        (
            Page(GRAY.repeat(3, axis=2), RGB, tags={258: [5, 6, 5]}),
            "a TIFF whose channels are of different types: save it as RGB or gray",
        ),
        (
            Page(GRAY, tags={317: [3]}),
            "a TIFF with a predictor for floating-point numbers: save it without",
        ),
    ],
)
def test_a_tiff_that_is_not_supported_says_what_it_is(page, expected):
    assert fault(tiff(page)) == ("unsupported", expected)


def test_a_raw_photo_of_canon_is_refused_by_name():
    data = tiff(Page(GRAY))
    assert fault(data[:8] + b"CR\2\0" + data[12:])[1].startswith("a raw photo of a Canon camera (CR2)")


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_cut_at_any_byte_is_refused_or_the_same(big):
    data = tiff(Page(GRAY[:9, :9].astype(np.uint16) * 257, WHITE_IS_ZERO, 16), big=big)
    whole = decode(data)
    for length in range(1, len(data)):
        try:
            found = decode(data[:length])
        except ImageError as error:
            assert error.reason == "undecodable"  # noqa: PT017
        else:
            assert np.array_equal(found, whole)


def test_a_tiff_with_any_byte_changed_gives_pixels_or_an_image_error():
    random = np.random.default_rng(3)
    values = np.dstack([GRAY, GRAY, GRAY])[:9, :9].astype(np.uint16) * 257
    for data in (tiff(Page(values, RGB, 16, planar=True, rows=2)), tiff(Page(GRAY[:9, :9]), Page(GRAY), big=True)):
        for _ in range(600):
            damaged = bytearray(data)
            damaged[random.integers(len(data))] = random.integers(256)
            try:
                pixels = decode(bytes(damaged))
            except ImageError:
                continue
            assert pixels.dtype == np.uint8


# The cases


def test_the_kinds_of_images_that_people_have_are_right_or_refused(data_root):
    cases = data_root.parent / "cases" / "D01_image_kinds.tar.gz"
    if not cases.is_file():
        pytest.skip(f"no cases at {cases}")
    with tarfile.open(cases) as archive:
        files = {Path(member.name).name: archive.extractfile(member).read() for member in archive if member.isfile()}
    expected = np.load(io.BytesIO(files["expected.npz"]))
    pictures = {name: decode_with_remark(files[name]) for name in expected.files if name in files}
    refused = {name for name in files if name not in pictures and not name.endswith((".npz", ".jpg"))}
    for name, found in pictures.items():
        shown = expected[name] if expected[name].ndim == 3 else expected[name][..., None].repeat(3, axis=2)
        if LOW_VALUES[4095] not in found.remark:
            assert np.abs(found.pixels.astype(int) - shown).max() <= 1, name
    assert {name for name, found in pictures.items() if found.remark == LOW_VALUES[4095]} == {
        "twelve_in_16.tif",
        "twelve_in_16.png",
    }
    assert {fault(files[name])[0] for name in refused} == {"unsupported"}
    assert np.array_equal(decode(files["no_eoi.jpg"]), np.asarray(Image.open(io.BytesIO(files["with_eoi.jpg"]))))
