"""Training images that are small in the first epochs."""

import numpy as np

from pelagia_training.config import AugmentConfig
from pelagia_training.data.augment import build_augment
from pelagia_training.data.batches import TrainingImages
from pelagia_training.data.sides import growing, shrunk


def test_the_side_grows_and_has_its_full_size_in_the_last_quarter() -> None:
    side = growing(12, 96, 144)
    assert [side(epoch) for epoch in range(1, 13)] == [96, 96, 112, 112, 112, 128, 128, 144, 144, 144, 144, 144]


def test_the_last_epoch_has_the_full_size_however_few_there_are() -> None:
    assert [growing(1, 32, 64)(1), growing(2, 32, 64)(1), growing(2, 32, 64)(2)] == [64, 32, 64]


def test_without_a_first_size_every_epoch_has_the_full_size() -> None:
    assert {growing(12, None, 144)(epoch) for epoch in range(1, 13)} == {144}


def test_a_side_that_is_no_multiple_of_16_stays_between_both_ends() -> None:
    sides = [growing(9, 50, 75)(epoch) for epoch in range(1, 10)]
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (50, 75)


def test_the_images_of_an_epoch_have_its_side() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    images = TrainingImages(
        [picture], np.zeros(1, np.int64), build_augment(AugmentConfig()), 0, side=growing(3, 32, 48)
    )
    assert [tuple(images[(epoch, 0)][0].shape) for epoch in (1, 2, 3)] == [(32, 32, 3), (48, 48, 3), (48, 48, 3)]


def test_a_shrunk_image_keeps_its_mean() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    small = shrunk(picture, 24)
    assert small.dtype == np.uint8
    assert abs(small.mean() - picture.mean()) < 0.5
    assert shrunk(picture, 48) is picture
