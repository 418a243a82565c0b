"""Augmentation: the right kind, and the same for the same seed."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.preprocess import Image
from pelagia_training.augment import build_augment, sample_seed
from pelagia_training.config import AugmentConfig


@pytest.fixture
def image() -> Image:
    pixels = np.full((64, 64, 3), 200, np.uint8)
    cv2.putText(pixels, "R", (12, 50), cv2.FONT_HERSHEY_SIMPLEX, 2, (20, 60, 100), 5)
    return pixels


def test_the_same_seed_gives_the_same_image_and_another_seed_another(image: Image) -> None:
    augment = build_augment(AugmentConfig())
    first, other, again = augment(image, 1), augment(image, 2), augment(image, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == image.shape
    assert first.dtype == np.uint8


def test_a_second_process_would_draw_the_same(image: Image) -> None:
    assert np.array_equal(build_augment(AugmentConfig())(image, 7), build_augment(AugmentConfig())(image, 7))


def test_a_process_that_was_not_forked_can_be_given_it(image: Image) -> None:
    augment = build_augment(AugmentConfig())
    assert np.array_equal(pickle.loads(pickle.dumps(augment))(image, 7), augment(image, 7))


def test_with_everything_off_the_image_stays_as_it_is(image: Image) -> None:
    off = AugmentConfig(flips="none", rotate=0, scale=0, shift=0, light=0, blur=0, noise=0, jpeg=0)
    assert np.array_equal(build_augment(off)(image, 3), image)


def test_fish_are_never_turned_upside_down(image: Image) -> None:
    fish = AugmentConfig(flips="horizontal", rotate=0, scale=0, shift=0, light=0, blur=0, noise=0, jpeg=0)
    seen = {build_augment(fish)(image, seed).tobytes() for seed in range(20)}
    assert seen == {image.tobytes(), np.ascontiguousarray(image[:, ::-1]).tobytes()}


def test_plankton_is_seen_in_all_eight_orientations(image: Image) -> None:
    plankton = AugmentConfig(flips="all", rotate=0, scale=0, shift=0, light=0, blur=0, noise=0, jpeg=0)
    augment = build_augment(plankton)
    assert len({augment(image, seed).tobytes() for seed in range(100)}) == 8


def test_the_original_is_not_written_to(image: Image) -> None:
    before = image.copy()
    for seed in range(20):
        build_augment(AugmentConfig(colour=0.5, erase=1, blur=1, noise=1, jpeg=1))(image, seed)
    assert np.array_equal(image, before)


def test_seeds_differ_by_epoch_and_by_image() -> None:
    assert len({sample_seed(0, epoch, index) for epoch in range(10) for index in range(100)}) == 1000


def test_only_one_module_knows_albumentations() -> None:
    root = Path(__file__).resolve().parents[2]
    modules = [path for part in ("core", "inference", "labeling", "training") for path in (root / part).rglob("*.py")]
    importing = {path.name for path in modules if "import albumentations" in path.read_text(encoding="utf-8")}
    assert importing == {"augment.py"}
