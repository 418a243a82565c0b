"""JPEGs without an end mark: whole ones are read with a remark, truncated ones are refused."""

import io

import numpy as np
import pytest
from PIL import Image

from encoders.image_kinds import samples
from pelagia.images.preprocess import ImageError, PreprocessSpec, decode, decode_with_remark, load_sized
from pelagia.images.remarks import NO_END

KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 1},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 2},
    "best quality": {"quality": 100, "progressive": True},
    "gray": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}


def encoded(kind: str, picture: np.ndarray | None = None) -> bytes:
    options = dict(KINDS[kind])
    image = Image.fromarray(samples(3, 8) if picture is None else picture).convert(options.pop("mode", "RGB"))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def accepted(data: bytes, tail: bytes = b"") -> list[int]:
    """The numbers of bytes that may be missing at the end."""
    taken = []
    for missing in range(1, len(data)):
        try:
            found = decode_with_remark(data[:-missing] + tail)
        except ImageError as error:
            assert error.reason == "undecodable"  # noqa: PT017
            continue
        assert found.remark == NO_END
        assert np.array_equal(found.pixels, decode(data))
        taken.append(missing)
    return taken


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_mark_may_be_missing(kind):
    assert accepted(encoded(kind)) == [1, 2]


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_a_disk_may_have_filled_the_end(kind, byte):
    assert set(accepted(encoded(kind), byte * 700)) <= {1, 2}
    assert accepted(encoded(kind), byte * 700)


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_other_bytes_after_the_pixels_are_not_taken_for_a_whole_image(kind):
    junk = np.random.default_rng(0).integers(0, 255, 600, np.uint8).tobytes()
    assert accepted(encoded(kind), junk) == []


@pytest.mark.parametrize("kind", ["baseline", "progressive", "restarts"])
def test_a_white_image_is_not_taken_for_whole_too_early(kind):
    data = encoded(kind, np.full((64, 64, 3), 255, np.uint8))
    assert set(accepted(data)) <= {1, 2}


def test_a_large_jpeg_without_an_end_mark_is_reduced_too():
    data = encoded("baseline", samples(3, 8).repeat(20, axis=0).repeat(20, axis=1))
    spec = PreprocessSpec(size=16)
    found, whole = load_sized(data[:-2], spec), load_sized(data, spec)
    assert np.array_equal(found.pixels, whole.pixels)
    assert (found.remark, whole.remark) == (NO_END, "")


def test_nothing_is_written_to_the_terminal(capfd):
    accepted(encoded("restarts"))
    assert capfd.readouterr() == ("", "")
