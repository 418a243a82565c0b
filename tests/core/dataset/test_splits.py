import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from pelagia.dataset.splits import assign_splits, classes_missing_from_splits


def survey(seed, groups=40, classes=6, images=600):
    """Classes and groups of a made-up survey, unevenly spread."""
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.full(classes, 0.7), groups)
    where = generator.choice(groups, images, p=generator.dirichlet(np.full(groups, 1.5)))
    return [f"c{generator.choice(classes, p=weights[group])}" for group in where], [f"g{group}" for group in where]


@pytest.mark.parametrize("seed", range(15))
def test_a_group_is_never_cut(seed):
    classes, groups = survey(seed)
    sides = defaultdict(set)
    for group, split in zip(groups, assign_splits(classes, groups), strict=True):
        sides[group].add(split)
    assert {len(splits) for splits in sides.values()} == {1}


@pytest.mark.parametrize("seed", range(15))
def test_shares_come_close_to_what_was_asked(seed):
    classes, groups = survey(seed)
    found = Counter(assign_splits(classes, groups))
    assert found["train"] / 600 == pytest.approx(0.7, abs=0.06)
    assert found["val"] / 600 == pytest.approx(0.15, abs=0.05)


@pytest.mark.parametrize("seed", range(15))
def test_a_class_of_three_groups_of_its_own_stands_in_every_split(seed):
    classes, groups = survey(seed)
    for index in range(9):
        classes.append("rare")
        groups.append(f"rare{index % 3}")
    splits = assign_splits(classes, groups)
    assert {split for name, split in zip(classes, splits, strict=True) if name == "rare"} == {"train", "val", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_images_that_are_their_own_groups_are_stratified(seed):
    classes = random.Random(seed).choices("abcd", weights=[60, 25, 10, 5], k=400)
    splits = assign_splits(classes, [f"{index:04}" for index in range(400)])
    for name in "abcd":
        sides = Counter(split for one, split in zip(classes, splits, strict=True) if one == name)
        assert sides["train"] / classes.count(name) == pytest.approx(0.7, abs=0.08)


def test_the_same_arguments_give_the_same_answer():
    classes, groups = survey(1)
    assert assign_splits(classes, groups, seed=3) == assign_splits(classes, groups, seed=3)


def test_the_order_of_the_images_does_not_matter():
    classes, groups = survey(1)
    order = random.Random(0).sample(range(600), 600)
    shuffled = assign_splits([classes[at] for at in order], [groups[at] for at in order])
    straight = assign_splits(classes, groups)
    assert shuffled == [straight[at] for at in order]


def test_another_seed_gives_another_answer_where_there_is_a_choice():
    names = [f"{index:03}" for index in range(100)]
    assert assign_splits(["a"] * 100, names, seed=0) != assign_splits(["a"] * 100, names, seed=1)


def test_nothing_is_split_into_nothing():
    assert assign_splits([], []) == []


def test_one_image_is_for_training():
    assert assign_splits(["a"], ["g"]) == ["train"]


def test_one_group_is_one_split():
    assert set(assign_splits(["a", "b"] * 10, ["g"] * 20)) == {"train"}


@pytest.mark.parametrize(
    ("fractions", "used"),
    [((0.8, 0.2, 0), {"train", "val"}), ((0.8, 0, 0.2), {"train", "test"}), ((1, 0, 0), {"train"})],
)
def test_a_share_of_nothing_leaves_its_split_out(fractions, used):
    classes, groups = survey(2)
    assert set(assign_splits(classes, groups, fractions)) == used


def test_six_thousand_groups_take_seconds():
    generator = np.random.default_rng(0)
    classes = [f"c{index}" for index in generator.integers(0, 15, 6000)]
    splits = assign_splits(classes, [str(index) for index in range(6000)])
    assert Counter(splits)["train"] == pytest.approx(4200, abs=60)


def test_thin_classes_name_the_splits_that_lack_them():
    classes = ["a", "a", "a", "b", "b", "c"]
    groups = ["1", "2", "3", "1", "1", "2"]
    splits = ["train", "val", "test", "train", "train", "val"]
    assert classes_missing_from_splits(classes, groups, splits) == {
        "b": (1, ["val", "test"]),
        "c": (1, ["train", "test"]),
    }


def test_a_split_that_nobody_asked_for_is_not_missed():
    assert classes_missing_from_splits(["a", "a"], ["1", "2"], ["train", "val"]) == {}
