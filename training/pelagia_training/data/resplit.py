"""Splits that replace those of a dataset. They are computed only from the images, the groups and a seed.

Invariant: the same `Resplit` gives the same splits to the trainer, the export and the evaluation. The dataset's folder
and its fingerprint do not change; the run's config records the `Resplit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pelagia.dataset.schema import Dataset, class_counts
from pelagia.dataset.splits import assign_parts, assign_splits
from pelagia.errors import ConfigError, did_you_mean, first_few
from pelagia.model.metadata import ModelMetadata
from pelagia_training.config import Resplit

_VALIDATION = 0.15
"""The share of the images outside the fold that becomes the val split. The best epoch is chosen on it, so the held-out
fold cannot be the val split."""


def as_trained(dataset: Dataset, model: ModelMetadata) -> Dataset:
    """``dataset`` with the splits that ``model`` was trained on; unchanged if it is not the dataset of that training.

    This is needed because the model of a fold was trained on most of the dataset's original test split.
    """
    how = (model.training.get("data") or {}).get("resplit")
    if not how or model.dataset["fingerprint"] != dataset.meta.fingerprint:
        return dataset
    return resplit(dataset, Resplit.model_validate(how))


def learned_everything(dataset: Dataset, model: ModelMetadata) -> bool:
    """Whether ``model`` was trained on all images of ``dataset`` (`pelagia train --final`)."""
    how = (model.training.get("data") or {}).get("resplit") or {}
    return bool(how.get("everything")) and model.dataset["fingerprint"] == dataset.meta.fingerprint


def resplit(dataset: Dataset, how: Resplit | None) -> Dataset:
    """The dataset with other splits in its records and counts; the dataset itself if ``how`` is None.

    With folds, the fold is the test split, and 15% of the other images are the val split, assigned in the same way. So
    it is with ``test_groups``. With ``everything``, all images are in the train split.

    Raises:
        ConfigError: a group of ``test_groups`` is not in the dataset.
    """
    if how is None:
        return dataset
    classes = [record.class_name for record in dataset.records]
    groups = [record.group if how.by == "group" else record.path for record in dataset.records]
    if how.everything:
        splits = ["train"] * len(classes)
    elif how.test_groups:
        splits = _with_test(classes, groups, _members(dataset, how.test_groups), how.seed)
    elif how.folds is None:
        splits = assign_splits(classes, groups, dataset.meta.split.fractions, how.seed)
    else:
        parts = assign_parts(classes, groups, [1 / how.folds] * how.folds, how.seed)
        splits = _with_test(classes, groups, [part == how.fold - 1 for part in parts], how.seed)
    records = tuple(replace(record, split=split) for record, split in zip(dataset.records, splits, strict=True))
    counts = class_counts(records, dataset.class_names)
    return replace(dataset, records=records, meta=dataset.meta.model_copy(update={"counts": counts}))


def _with_test(classes: Sequence[str], groups: Sequence[str], in_test: Sequence[bool], seed: int) -> list[str]:
    """The split of each image: ``test`` where ``in_test`` is True, else train or val."""
    rest = [index for index, held_out in enumerate(in_test) if not held_out]
    shares = (1 - _VALIDATION, _VALIDATION, 0.0)
    inner = assign_splits([classes[index] for index in rest], [groups[index] for index in rest], shares, seed)
    splits = ["test"] * len(in_test)
    for index, split in zip(rest, inner, strict=True):
        splits[index] = split
    return splits


def _members(dataset: Dataset, groups: Sequence[str]) -> list[bool]:
    """Whether each image is of one of the groups."""
    known = {record.group for record in dataset.records}
    if missing := [group for group in groups if group not in known]:
        hint = did_you_mean(missing[0], known)
        fault = f"the dataset has no group '{missing[0]}'{hint}: its groups are {first_few(sorted(known), 20)}"
        raise ConfigError("data.resplit.test_groups", [fault])
    return [record.group in groups for record in dataset.records]
