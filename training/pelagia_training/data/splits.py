"""The rows of a dataset that a run trains on and validates on.

This module does not import torch, so that a command can refuse a dataset at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pelagia.config import yaml_word
from pelagia.dataset.schema import Dataset, Record
from pelagia.errors import ConfigError, DatasetError, did_you_mean, first_few
from pelagia.shell import command_line
from pelagia.taxonomy import Taxonomy
from pelagia_training.config import Resplit
from pelagia_training.data.resplit import resplit


@dataclass(frozen=True)
class Splits:
    """The rows for training and for validation, of the classes in ``taxonomy``.

    ``val`` is empty if all images are trained on (`Resplit.everything`).
    """

    dataset: Dataset
    taxonomy: Taxonomy
    train: list[Record]
    val: list[Record]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.taxonomy.names

    @property
    def classes_without_validation(self) -> list[str]:
        """Classes without a validation image; empty if the run has no validation."""
        validated = {record.class_name for record in self.val}
        return [name for name in self.classes if name not in validated] if validated else []


def read_splits(folder: Path | None, exclude: Sequence[str] = (), split: Resplit | None = None) -> Splits:
    """Reads the rows of a dataset for training and for validation.

    Args:
        exclude: names of classes to leave out.
        split: replaces the dataset's split; None: the dataset's split.

    Raises:
        ConfigError: no dataset is given, or an excluded class is not in it.
        DatasetError: the dataset has too few images.
    """
    if folder is None:
        raise ConfigError("dataset", ["no dataset is given: name a dataset folder with --set dataset=DATASET"])
    dataset = resplit(Dataset.read(folder), split)
    unknown = [name for name in exclude if name not in dataset.class_names]
    if unknown:
        hint = did_you_mean(unknown[0], dataset.class_names)
        raise ConfigError("data.exclude", [f"'{unknown[0]}' is not a class of {folder}{hint}"])
    taxonomy = dataset.meta.taxonomy.restricted_to(set(dataset.class_names) - set(exclude))
    names = ("train",) if split and split.everything else ("train", "val")
    train_records, *others = (
        [record for record in dataset.split(name) if record.class_name in taxonomy.names] for name in names
    )
    val_records = [record for records in others for record in records]
    _require_images(train_records, taxonomy.names)
    if others and not val_records:
        raise DatasetError(
            "the val split has no image, because there are too few groups: import the dataset again with a "
            "--group-column that has more values"
        )
    return Splits(dataset, taxonomy, train_records, val_records)


def _require_images(train_records: Sequence[Record], classes: Sequence[str]) -> None:
    """Raises DatasetError if a class has fewer than two training images."""
    if len(classes) < 2:
        raise DatasetError(
            f"the number of classes to train on is {len(classes)}, but a classifier needs at least two: "
            "shorten data.exclude, or label a second class"
        )
    counts = Counter(record.class_name for record in train_records)
    if rare := [name for name in classes if counts[name] < 2]:
        raise DatasetError(_advice_on_rare(rare, counts, classes))


def _advice_on_rare(rare: Sequence[str], counts: Mapping[str, int], classes: Sequence[str]) -> str:
    """What to do about classes with fewer than two training images: another split if there are many, else exclusion."""
    listed = first_few(f"'{name}' ({counts[name]})" for name in rare)
    if 2 * len(rare) <= len(classes):
        return (
            f"there are fewer than 2 training images of {listed}: label more, or leave out these classes with "
            + without_classes(rare)
        )
    return (
        f"there are fewer than 2 training images of {len(rare)} of {len(classes)} classes, {listed}, because most of "
        "their images are in the val and test splits: import the dataset again with --fractions 0.8,0.2,0, which makes "
        "no test split, and use pelagia train --folds 3 to measure; or label more images of each class, or join the "
        "classes to their common taxon"
    )


def without_classes(names: Sequence[str]) -> str:
    """The option that leaves out classes, as it is typed."""
    return command_line("--set", f"data.exclude=[{', '.join(map(yaml_word, names))}]")
