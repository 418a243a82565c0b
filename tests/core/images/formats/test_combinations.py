"""No file of any mode, depth, compression and layout gives a wrong picture: it gives the right one or is refused."""

import pytest

from encoders.image_kinds import FAMILIES, Made
from pelagia.images.preprocess import ImageError, decode
from tests.fuzz.compare_decoders import compare

RIGHT_AT_LEAST = {
    "tiff": 0.55,
    "tiff of other numbers": 0.0,
    "tiff by Pillow": 0.5,
    "tiff by tifffile": 0.45,
    "png": 1.0,
    "other formats": 0.97,
    "orientations": 0.9,
}
"""The share of each family that was right, rounded down. The others are refused."""
_STEPS = {"tiff": 17, "tiff by Pillow": 5, "tiff by tifffile": 7}


def check(family: str, images: list[Made]) -> None:
    counts, wrong, _ = compare(images)
    assert wrong == []
    assert set(counts) <= {"right", "unsupported", "undecodable"}
    assert counts["right"] >= RIGHT_AT_LEAST[family] * len(images)


@pytest.mark.parametrize("family", FAMILIES)
def test_some_images_of_each_kind_are_right_or_refused(family: str) -> None:
    images = FAMILIES[family]
    check(family, list(images(_STEPS[family]) if family in _STEPS else images()))


@pytest.mark.slow
@pytest.mark.parametrize("family", _STEPS)
def test_all_images_of_each_kind_are_right_or_refused(family: str) -> None:
    check(family, list(FAMILIES[family]()))


def test_tiffs_without_a_picture_are_refused_with_their_type() -> None:
    for made in FAMILIES["tiff of other numbers"]():
        with pytest.raises(ImageError, match="pixels of type (float|int|uint)[0-9]+; 8 and 16 bit are supported"):
            decode(made.data)
