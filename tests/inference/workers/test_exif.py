"""Position and time of photographs, written by Pillow and read by us; and what damaged ones must not do."""

import io
import random

import pytest

from pelagia_inference.workers.exif import exif_columns

Image = pytest.importorskip("PIL.Image")

GPS = {1: "S", 2: (33.0, 51.0, 30.5), 3: "W", 4: (151.0, 12.0, 36.0)}
PLACE = {"decimalLatitude": "-33.858472", "decimalLongitude": "-151.210000"}


def photograph(
    kind: str = "JPEG", *, exif: dict[int, object] | None = None, gps: dict[int, object] | None = None, order: str = "<"
) -> bytes:
    image, tags = Image.new("RGB", (40, 30)), Image.Exif()
    tags.endian = order
    tags.get_ifd(0x8769).update(exif or {})
    tags.get_ifd(0x8825).update(gps or {})
    block = tags.tobytes()
    if kind == "TIFF":
        return bytes(block.removeprefix(b"Exif\0\0"))  # the block is a TIFF, if one without pixels
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=block)
    return buffer.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_position_and_time_are_read(kind: str, order: str) -> None:
    data = photograph(kind, exif={0x9003: "2024:05:06 07:08:09", 0x9011: "+02:00"}, gps=GPS, order=order)
    assert exif_columns(data) == {"eventDate": "2024-05-06T07:08:09+02:00", **PLACE}


def test_the_gps_receivers_time_is_utc_and_counts_where_the_camera_names_no_zone() -> None:
    gps = {7: (5.0, 8.0, 9.4), 29: "2024:05:06"}
    assert exif_columns(photograph(exif={0x9003: "2024:05:06 07:08:09"}, gps=gps)) == {
        "eventDate": "2024-05-06T05:08:09Z"
    }
    assert exif_columns(photograph(exif={0x9003: "2024:05:06 07:08:09"})) == {"eventDate": "2024-05-06T07:08:09"}


@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (10.0, 0.0, 0.0)},
        {1: "N", 2: (54.0, 0.0, 0.0)},
        {1: "N", 2: (54.0,), 3: "E", 4: (10.0,)},
    ],
)
def test_a_position_that_is_none_is_left_out(gps: dict[int, object]) -> None:
    assert exif_columns(photograph(gps=gps)) == {}


@pytest.mark.parametrize("date", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", ""])
def test_a_date_that_is_none_is_left_out(date: str) -> None:
    assert exif_columns(photograph(exif={0x9003: date})) == {}


def test_images_without_exif_have_nothing_to_say() -> None:
    assert exif_columns(b"") == {}
    assert exif_columns(b"\xff\xd8\xff\xe0 Exif\0\0II*\0") == {}
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "JPEG")
    assert exif_columns(buffer.getvalue()) == {}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_damaged_blocks_neither_raise_nor_loop(kind: str) -> None:
    whole = photograph(kind, exif={0x9003: "2024:05:06 07:08:09"}, gps=GPS)
    rng = random.Random(0)
    for _ in range(5000):
        data = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.2 else whole)
        for _ in range(rng.randrange(1, 8)):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 1, 8, 255, rng.randrange(256)))
        found = exif_columns(bytes(data))
        assert set(found) <= {"eventDate", "decimalLatitude", "decimalLongitude"}
