"""Hostile numbers in every field of a size, a place or a length: failed images, never another error."""

import struct
import tarfile
import zipfile
import zlib

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import KINDS, Listing, SourceImage, list_images
from pelagia.sources.image import Kind

NUMBERS = [1 << 31, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) - 2, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, 7]


def outcome(path):
    """The reasons, or the bytes, of all images; the InputError of the listing as text."""
    found = []
    try:
        for image in list_images([path]):
            try:
                found.append(image.read())
            except ImageError as error:
                found.append(error.reason)
    except InputError as error:
        found.append(str(error))
    return found


def zip64_of(offset=0, size=5, compressed=5):
    """A zip of one member whose numbers are in a zip64 field."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 0, 0, 0, zlib.crc32(b"hello"), 5, 5, 5, 0) + b"a.png" + b"hello"
    extra = struct.pack("<2H3Q", 1, 24, size & (1 << 64) - 1, compressed & (1 << 64) - 1, offset & (1 << 64) - 1)
    wide = 0xFFFFFFFF
    head = (b"PK\1\2", 45, 45, 0, 0, 0, 0, zlib.crc32(b"hello"), wide, wide, 5, len(extra), 0, 0, 0, 0, wide)
    central = struct.pack("<4s6H3L5H2L", *head) + b"a.png" + extra
    return local + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)


def test_the_zip64_archive_of_these_tests_is_a_good_one(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip64_of())
    assert outcome(tmp_path / "a.zip") == [b"hello"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["offset", "size", "compressed"])
def test_a_zip64_number_beyond_the_file_is_a_failed_image(tmp_path, field, number):
    (tmp_path / "a.zip").write_bytes(zip64_of(**{field: number}))
    (found,) = outcome(tmp_path / "a.zip")
    assert found in ("damaged", "too_large")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("place", ["local", "central", "end", "end64", "locator64"])
def test_no_number_of_a_zip_is_believed(tmp_path, place, number):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.png", "w", force_zip64=True) as file:
            file.write(b"hello")
        archive.writestr("b.png", b"world")
    whole = (tmp_path / "a.zip").read_bytes()
    if place.endswith("64"):  # the directory's numbers move to a zip64 record
        *_, count, size, offset, _ = struct.unpack("<4s4H2LH", whole[-22:])
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(whole) - 22, 1)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        whole = whole[:-22] + record + locator + end
        (tmp_path / "a.zip").write_bytes(whole)
        assert outcome(tmp_path / "a.zip") == [b"hello", b"world"]
    marks = {"local": b"PK\3\4", "central": b"PK\1\2", "end": b"PK\5\6", "end64": b"PK\6\6", "locator64": b"PK\6\7"}
    lengths = {"local": 50, "central": 51, "end": 22, "end64": 56, "locator64": 20}
    at = whole.find(marks[place])
    assert at >= 0
    for width in (2, 4, 8):
        value = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
        for byte in range(4, lengths[place] - width, 2):
            data = whole[: at + byte] + value + whole[at + byte + width :]
            (tmp_path / "a.zip").write_bytes(data)
            for found in outcome(tmp_path / "a.zip"):
                assert isinstance(found, str) or found in (b"hello", b"world")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (345, 8), (482, 1), (483, 12)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_no_number_of_a_tar_is_believed(tmp_path, field, number, kind, ending):
    place, width = field
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = kind
    value = (
        b"\xff" * width if number < 0 else b"\x80" + number.to_bytes(11, "big")[-(width - 1) :] if width > 1 else b"1"
    )
    header[place : place + width] = value.rjust(width, b"\0")[-width:]
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / f"a.{ending}"
    with tarfile.open(path, f"w:{ending[4:]}") as archive:
        archive.fileobj.write(bytes(header) + bytes(2048))
    outcome(path)


@pytest.mark.parametrize("number", [*NUMBERS, "1e300", "inf", "nan", "0x10", "1_000", "", "½", "9" * 5000])
@pytest.mark.parametrize("column", range(24))
def test_no_number_of_an_adc_is_believed(tmp_path, column, number):
    base = tmp_path / "D20220519T124533_IFCB134"
    rows = [["1"] * 24 for _ in range(3)]
    for row, x in zip(rows, "123", strict=True):
        row[0], row[17] = x, "0"
    rows[1][column] = str(number)
    base.with_suffix(".adc").write_text("\n".join(map(",".join, rows)))
    base.with_suffix(".roi").write_bytes(b"0123456789")
    assert outcome(base)[0] == b"P5\n1 1\n255\n0"


@pytest.mark.parametrize(
    "error", [struct.error, ValueError, OverflowError, RecursionError, EOFError, KeyError, MemoryError]
)
def test_whatever_a_reader_raises_is_a_failed_image(error):
    def reader():
        raise error("what it says\nand more")

    with pytest.raises(ImageError) as caught:
        SourceImage("a.png", "x!/a.png", {}, reader).read()
    if error is MemoryError:
        assert caught.value.reason == "too_large"
    else:
        assert caught.value.reason == "damaged"
        assert error.__name__ in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [struct.error, ValueError, RecursionError, MemoryError])
def test_whatever_a_listing_raises_is_a_failed_image_after_those_before(tmp_path, error):
    def images(path, listing):
        yield SourceImage("a.png", path / "a.png")
        raise error("odd")

    first, last = Kind(claims=lambda path: True, images=images).listed(tmp_path / "in.zip", Listing())
    assert (first.path, last.path) == ("a.png", "in.zip")
    with pytest.raises(ImageError, match="the rest of it cannot be listed"):
        last.read()


def test_a_file_name_with_a_null_is_a_failed_image():
    with pytest.raises(ImageError, match="null"):
        SourceImage("a\0.png", "/a\0.png").read()


def test_every_kind_is_listed_in_the_way_that_catches_errors():
    assert all(kind.listed.__func__ is Kind.listed for kind in KINDS)
