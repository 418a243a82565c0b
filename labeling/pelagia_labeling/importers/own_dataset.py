"""A dataset of Pelagia: its images, classes, groups and columns, for a new dataset with other splits or options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pelagia.dataset.schema import MANIFEST_FILE, META_FILE, Dataset, Record
from pelagia.dataset.write import Candidate
from pelagia.errors import InputError, did_you_mean
from pelagia_labeling.importers.imported import Import


def is_dataset(src: Path) -> bool:
    """Whether a folder is a dataset of Pelagia."""
    return (src / META_FILE).is_file() and (src / MANIFEST_FILE).is_file()


def from_dataset(src: Path, group_column: str | None) -> Import:
    """The images of a dataset with their classes, groups, annotators, licences and additional columns.

    Args:
        src: the dataset folder.
        group_column: the additional column that the groups come from; by default the groups stay as they are.

    Raises:
        DatasetError: the dataset cannot be read, or was edited.
        InputError: it has no such column.
    """
    dataset = Dataset.read(src)
    own_groups = group_column in (None, "group", dataset.meta.split.group_column)
    columns = sorted({name for record in dataset.records for name in record.extra})
    if not own_groups and group_column not in columns:
        guess = did_you_mean(str(group_column), columns)
        raise InputError(
            f"{src} has no column '{group_column}'{guess} (--group-column); it has: {', '.join(['group', *columns])}"
        )
    found = [candidate_of(dataset, record) for record in dataset.records]
    if not own_groups:
        found = [replace(entry, group=entry.extra.get(str(group_column), "").strip()) for entry in found]
    candidates = [entry for entry in found if entry.group]
    source = {"kind": "dataset", "of": dataset.meta.fingerprint, "origin": dataset.meta.source}
    left_out = {"no_group": len(found) - len(candidates)} if len(candidates) < len(found) else {}
    column = dataset.meta.split.group_column if own_groups else group_column
    return Import(
        candidates,
        source,
        column,
        left_out,
        split_name="split",
        taxonomy=dataset.meta.taxonomy,
        label_agreement=dataset.meta.label_agreement,
    )


def candidate_of(dataset: Dataset, record: Record) -> Candidate:
    """The image of a row, with its label, group and split, for a new version of the dataset."""
    return Candidate(
        dataset.file(record),
        record.class_name,
        record.source or record.path,
        group=record.group,
        annotators=record.annotators,
        agreement=record.agreement,
        licence=record.licence,
        extra=record.extra,
        split=record.split,
    )
