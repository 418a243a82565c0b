"""Other splits than the dataset's own: every image held out once, groups whole, the same for everybody."""

from collections import Counter, defaultdict

import pytest

from pelagia.config import validate
from pelagia.dataset.schema import Dataset, class_counts
from pelagia.dataset.splits import assign_parts
from pelagia.errors import ConfigError
from pelagia_training.config import Resplit
from pelagia_training.data.resplit import resplit


def splits_by_group(dataset: Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for record in dataset.records:
        found[record.group].add(record.split)
    return found


def test_every_image_is_held_out_by_one_fold_and_no_group_is_cut(dataset: Dataset) -> None:
    held_out: Counter[str] = Counter()
    for fold in (1, 2, 3):
        other = resplit(dataset, Resplit(folds=3, fold=fold))
        held_out.update(record.path for record in other.split("test"))
        assert all(len(splits) == 1 for splits in splits_by_group(other).values())
        assert {record.split for record in other.records} == {"train", "val", "test"}
        assert other.meta.counts == class_counts(other.records, other.class_names)
        assert other.meta.fingerprint == dataset.meta.fingerprint
        assert resplit(dataset, Resplit(folds=3, fold=fold)) == other
    assert held_out == Counter(record.path for record in dataset.records)


def test_a_random_split_has_the_sizes_of_the_dataset_s_own_and_cuts_groups(dataset: Dataset) -> None:
    other = resplit(dataset, Resplit(by="image"))
    for split in ("train", "val", "test"):
        share = dataset.meta.split.fractions[("train", "val", "test").index(split)]
        assert len(other.split(split)) == pytest.approx(share * len(other.records), abs=12)
    assert any(len(splits) == 3 for splits in splits_by_group(other).values())


def test_nothing_asked_for_changes_nothing(dataset: Dataset) -> None:
    assert resplit(dataset, None) is dataset


def test_parts_of_any_number_hold_each_class_alike() -> None:
    groups = [f"g{index % 40}" for index in range(800)]
    classes = ["ab"[index % 2] for index in range(800)]
    counts = Counter(zip(assign_parts(classes, groups, [0.2] * 5), classes, strict=True))
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 40


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are 5 folds, so there is no fold 6"):
        validate({"folds": 5, "fold": 6}, Resplit, "data.resplit")


def test_named_groups_are_the_test_split(dataset: Dataset) -> None:
    names = sorted({record.group for record in dataset.records})[:2]
    other = resplit(dataset, Resplit(test_groups=names))
    assert {record.group for record in other.split("test")} == set(names)
    assert all(len(splits) == 1 for splits in splits_by_group(other).values())
    assert {record.split for record in other.records} == {"train", "val", "test"}
    with pytest.raises(
        ConfigError, match=r"data.resplit.test_groups: the dataset has no group 'ST99'.*: its groups are"
    ):
        resplit(dataset, Resplit(test_groups=("ST99",)))
    with pytest.raises(ConfigError, match="test_groups names the test split, so it excludes folds and by: image"):
        validate({"test_groups": ["a"], "folds": 3}, Resplit, "config")
