"""How often each image is met in an epoch."""

import numpy as np
import pytest

from pelagia_training.config import LongTail
from pelagia_training.data.sampling import build_order

TARGETS = np.repeat([0, 1, 2], [400, 100, 4]).astype(np.int64)


def seen(kind: LongTail, epoch: int = 1, seed: int = 0) -> np.ndarray:
    return np.bincount(TARGETS[build_order(kind, TARGETS, seed)(epoch)], minlength=3)


def test_by_default_every_image_is_met_once() -> None:
    assert sorted(build_order("none", TARGETS, 0)(3)) == list(range(len(TARGETS)))


def test_balanced_classes_come_equally_often() -> None:
    for epoch in range(1, 6):
        assert np.abs(seen("balanced_sampling", epoch) - len(TARGETS) / 3).max() <= 1


def test_the_square_root_lies_between() -> None:
    shares = np.sqrt([400, 100, 4])
    assert np.abs(seen("sqrt_sampling") - len(TARGETS) * shares / shares.sum()).max() <= 1


def test_no_image_of_a_class_is_met_twice_more_than_another() -> None:
    order = build_order("balanced_sampling", TARGETS, 0)(1)
    times = np.bincount(order, minlength=len(TARGETS))
    for one in range(3):
        of_class = times[one == TARGETS]
        assert of_class.max() - of_class.min() <= 1


@pytest.mark.parametrize("kind", ["none", "balanced_sampling", "sqrt_sampling"])
def test_the_order_follows_from_seed_and_epoch_alone(kind: LongTail) -> None:
    order = build_order(kind, TARGETS, 5)
    late = order(7)
    assert np.array_equal(build_order(kind, TARGETS, 5)(7), late)
    assert not np.array_equal(order(8), late)
    assert not np.array_equal(build_order(kind, TARGETS, 6)(7), late)


def test_classes_are_mixed_within_the_epoch() -> None:
    order = TARGETS[build_order("balanced_sampling", TARGETS, 0)(1)]
    assert all(len(set(part)) == 3 for part in np.array_split(order, 5))
