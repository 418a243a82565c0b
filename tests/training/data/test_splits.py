"""The rows that a run trains on, and advice where there are too few."""

from dataclasses import replace
from pathlib import Path

import pytest

from pelagia.dataset.schema import Dataset
from pelagia.errors import DatasetError
from pelagia_training.data.splits import read_splits


def with_train_counts(dataset: Dataset, counts: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in which classes have these numbers of training images; their other images are in val and test."""
    left = dict(counts)
    records = []
    for record in dataset.records:
        split = record.split
        if record.class_name in left:
            left[record.class_name] -= 1
            split = "train" if left[record.class_name] >= 0 else "val"
        records.append(replace(record, split=split))
    monkeypatch.setattr(Dataset, "read", classmethod(lambda cls, root: replace(dataset, records=tuple(records))))
    return dataset.root


def test_a_few_rare_classes_can_be_left_out(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset.class_names[0]
    with pytest.raises(DatasetError) as caught:
        read_splits(with_train_counts(dataset, {first: 1}, monkeypatch))
    assert str(caught.value) == (
        f"there are fewer than 2 training images of '{first}' (1): label more, or leave out these classes with --set "
        f"'data.exclude=[{first}]'"
    )


def test_where_most_classes_are_rare_another_split_is_advised(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(dataset.class_names, 1)
    with pytest.raises(DatasetError) as caught:
        read_splits(with_train_counts(dataset, counts, monkeypatch))
    said = str(caught.value)
    assert f"fewer than 2 training images of {len(counts)} of {len(counts)} classes" in said
    assert "import the dataset again with --fractions 0.8,0.2,0" in said
    assert "exclude" not in said
