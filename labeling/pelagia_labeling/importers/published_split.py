"""The split that a source was published with, in folders or a column: kept if asked for, and else mentioned.

Invariant: a published split is never dropped without a word, and never kept without being asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pelagia.dataset.splits import SPLITS, split_of
from pelagia.errors import DatasetError, InputError, did_you_mean, first_few
from pelagia_labeling.importers.imported import Import, survey_columns


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """What a person decides about a published split.

    Attributes:
        column: the column that holds it; empty: no column.
        folders: whether folders named train, val and test hold it.
        val_from_train: the share of its train that becomes val, if it has no val; 0 for none.
    """

    column: str = ""
    folders: bool = False
    val_from_train: float = 0.0

    @property
    def wanted(self) -> bool:
        """Whether a published split is kept."""
        return bool(self.column) or self.folders


def keep_or_mention(found: Import, wanted: PublishedSplit) -> Import:
    """The images with their published split if it is wanted; otherwise without, and with a warning that names it.

    Images without a value in the column of the split are left out and counted (``no_split``).

    Raises:
        InputError: there is no such column, or it has a value that is not the name of a split.
        DatasetError: no image has a split.
    """
    if not wanted.wanted:
        if wanted.val_from_train:
            raise InputError("--val-from-train needs a published split: add --split-column or --split-folders")
        dropped = [replace(entry, split="") for entry in found.candidates]
        return replace(found, candidates=dropped, warnings=(*found.warnings, *_mention(found)))
    texts = [entry.split for entry in found.candidates] if wanted.folders else _values(found, wanted.column)
    unknown = Counter(text for text in texts if text and split_of(text) is None)
    if unknown:
        listed = first_few(f"'{text}' ({count} images)" for text, count in unknown.most_common())
        raise InputError(
            f"the column '{wanted.column}' has values that are not the name of a split: {listed}; write train, val or "
            "test, or leave --split-column out"
        )
    kept = [
        replace(entry, split=split)
        for entry, text in zip(found.candidates, texts, strict=True)
        if (split := split_of(text))
    ]
    if not kept:
        raise DatasetError(f"no image has a value in the column '{wanted.column}': leave --split-column out")
    if wanted.val_from_train and (count := sum(entry.split == "val" for entry in kept)):
        raise InputError(f"the published split has {count} images in val already: leave --val-from-train out")
    left_out = Counter(found.left_out) + Counter(no_split=len(texts) - len(kept))
    return replace(found, candidates=kept, left_out=dict(left_out))


def _values(found: Import, column: str) -> list[str]:
    """The value of each image in a column of the source."""
    if found.split_name == column:
        return [entry.split.strip() for entry in found.candidates]
    (name,) = survey_columns({column: ""})
    columns = {known for entry in found.candidates for known in entry.extra}
    if name not in columns:
        shown = sorted(known.removeprefix("survey_") for known in columns)
        guess = did_you_mean(column, shown)
        raise InputError(
            f"there is no column '{column}'{guess} (--split-column); the columns are: {', '.join(shown) or 'none'}"
        )
    return [entry.extra.get(name, "").strip() for entry in found.candidates]


def _mention(found: Import) -> list[str]:
    """A sentence for each column whose values are all names of splits, at least two of them."""
    columns = {name: _counts(entry.extra.get(name, "") for entry in found.candidates) for name in _names(found)}
    if found.split_name:
        columns[found.split_name] = _counts(entry.split for entry in found.candidates)
    return [
        f"the column '{name.removeprefix('survey_')}' holds a split ({counts}): it is not used, and new splits are "
        f"made; keep it with --split-column {name.removeprefix('survey_')}"
        for name, counts in columns.items()
        if counts
    ]


def _names(found: Import) -> Iterable[str]:
    return dict.fromkeys(name for entry in found.candidates for name in entry.extra)


def _counts(values: Iterable[str]) -> str:
    """``train 20, test 22`` if all values are names of splits, at least two of them; else empty."""
    found: Counter[str] = Counter()
    for value in values:
        if not value.strip():
            continue
        split = split_of(value)
        if split is None:
            return ""
        found[split] += 1
    return ", ".join(f"{split} {found[split]}" for split in SPLITS if split in found) if len(found) > 1 else ""
