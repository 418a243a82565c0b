"""Augmentation: the right kind, and the same for the same seed."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from pelagia.images.preprocess import Image
from pelagia_training.config import AugmentConfig
from pelagia_training.data.augment import Augment, build_augment, sample_seed


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


OFF = dict.fromkeys(("rotate", "scale", "shift", "light", "blur", "noise", "jpeg"), 0)
KEYS = ("colour", "blur", "illumination", "background", "clip", "bubbles", "noise", "jpeg", "erase")


@pytest.fixture
def copepod() -> Image:
    """A dark ellipse before an even background with a grain."""
    pixels = np.random.default_rng(0).integers(196, 204, (64, 64, 3), dtype=np.uint8)
    cv2.ellipse(pixels, (32, 32), (24, 10), 30, 0, 360, (60, 80, 90), -1)
    return pixels


def only(**keys: float) -> Augment:
    return build_augment(AugmentConfig(flips="none", **{**OFF, **keys}))  # type: ignore[arg-type]


def organism(image: Image) -> np.ndarray:
    return image.max(axis=2) < 150


@pytest.mark.parametrize("key", KEYS)
def test_each_effect_changes_the_image_and_not_its_form(copepod: Image, key: str) -> None:
    before = copepod.copy()
    augment = only(**{key: 1})
    draws = [augment(copepod, seed) for seed in range(20)]
    assert all((one.shape, one.dtype) == (copepod.shape, np.uint8) for one in draws)
    assert sum(not np.array_equal(one, copepod) for one in draws) > 15
    assert np.array_equal(copepod, before)


def test_at_strength_nothing_only_the_orientation_changes(copepod: Image) -> None:
    config = AugmentConfig(strength=0, rotate=0, **dict.fromkeys(KEYS, 1.0))  # type: ignore[arg-type]
    turned = {np.rot90(view, k).tobytes() for view in (copepod, copepod[:, ::-1]) for k in range(4)}
    assert {build_augment(config)(copepod, seed).tobytes() for seed in range(100)} == turned


def test_more_strength_changes_more(copepod: Image) -> None:
    def change(strength: float) -> float:
        config = AugmentConfig(strength=strength, flips="none", rotate=0, illumination=0.2, background=0.2, clip=0.2)
        augment = build_augment(config)
        return float(np.mean([np.abs(augment(copepod, seed).astype(int) - copepod).mean() for seed in range(60)]))

    assert 0 < change(0.3) < change(1) < change(2.5)


def test_a_clipped_organism_loses_a_side_up_to_a_straight_edge(copepod: Image) -> None:
    for seed in range(20):
        left = organism(only(clip=1)(copepod, seed))
        whole = organism(copepod)
        assert not (left & ~whole).any()
        assert 0.5 < left.sum() / whole.sum() < 1
        gone = whole & ~left
        rows, columns = gone.any(axis=1), gone.any(axis=0)
        straight = [not left[rows].any(), not left[:, columns].any()]
        assert any(straight)


def test_an_empty_image_is_clipped_to_itself() -> None:
    empty = np.full((32, 32, 3), 180, np.uint8)
    assert np.array_equal(only(clip=1)(empty, 0), empty)


def test_another_background_leaves_the_organism(copepod: Image) -> None:
    inside, outside = organism(copepod), ~cv2.dilate(organism(copepod).astype(np.uint8), np.ones((5, 5))).astype(bool)
    shifts = []
    for seed in range(20):
        changed = only(background=1)(copepod, seed).astype(int) - copepod
        assert not changed[inside].any()
        shifts.append(changed[outside].mean())
    assert min(shifts) < -10
    assert max(shifts) > 10


def test_bubbles_have_a_dark_rim_and_a_bright_middle() -> None:
    empty = np.full((64, 64, 3), 150, np.uint8)
    for seed in range(20):
        drawn = only(bubbles=1)(empty, seed)
        assert drawn.min() < 100
        assert drawn.max() > 180


def test_seeds_differ_by_epoch_and_by_image() -> None:
    assert len({sample_seed(0, epoch, index) for epoch in range(10) for index in range(100)}) == 1000


def test_only_one_module_knows_albumentations() -> None:
    root = Path(__file__).resolve().parents[3]
    modules = [path for part in ("core", "inference", "labeling", "training") for path in (root / part).rglob("*.py")]
    importing = {path.name for path in modules if "import albumentations" in path.read_text(encoding="utf-8")}
    assert importing == {"augment.py"}
