"""`pelagia dataset correct`: makes a new dataset with the labels of a review and with the same splits.

Invariant: only labels change. Images, groups and splits stay the same, so metrics before and after can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset, Record
from pelagia.dataset.soft_labels import SOFT_LABEL
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError


@dataclass(frozen=True)
class Correction:
    """A corrected dataset, and what the review changed.

    Attributes:
        dataset: the corrected dataset.
        changed: (path, class before, class after) for each image whose label changed.
        confirmed: number of images whose class the review confirmed.
        left_out: reason -> number of images that have no label in the review; they keep the label that they had.
    """

    dataset: Dataset
    changed: tuple[tuple[str, str, str], ...]
    confirmed: int
    left_out: dict[str, int]


def correct(
    dataset: Dataset, review: Dataset, out: Path, progress: Callable[[int], None] = lambda count: None
) -> Correction:
    """Makes the dataset ``out``: ``dataset`` with the labels that ``review`` gives to the same images (same SHA-256).

    An image that the review left out (skipped, unsure, disputed) keeps its label.

    Args:
        dataset: the dataset to correct.
        review: a dataset with some of the same images, labeled again.
        out: the dataset folder to make.
        progress: called with the number of images checked since the last call.

    Raises:
        InputError: ``out`` exists.
        DatasetError: the two datasets share no image, or the review has a class that the dataset's taxonomy lacks.
    """
    reviewed = {record.sha256: record for record in review.records}
    pairs = [(record, reviewed[record.sha256]) for record in dataset.records if record.sha256 in reviewed]
    if not pairs:
        raise DatasetError(
            f"{review.root} and {dataset.root} share no image: name the dataset whose images were reviewed"
        )
    changed = [(old.path, old.class_name, new.class_name) for old, new in pairs if old.class_name != new.class_name]
    corrected = write_dataset(
        out,
        [_candidate(dataset, record, reviewed.get(record.sha256)) for record in dataset.records],
        source=_source(dataset, review),
        taxonomy=dataset.meta.taxonomy,
        split=dataset.meta.split,
        left_out=dataset.meta.left_out,
        progress=progress,
    )
    left_out = {reason: count for reason, count in review.meta.left_out.items() if reason != "duplicate"}
    return Correction(corrected, tuple(changed), len(pairs) - len(changed), left_out)


def _source(dataset: Dataset, review: Dataset) -> dict[str, object]:
    return {
        "kind": "correction",
        "of": dataset.meta.fingerprint,
        "by": review.meta.fingerprint,
        "origin": dataset.meta.source,
    }


def _candidate(dataset: Dataset, record: Record, reviewed: Record | None) -> Candidate:
    """The image of ``record``, with the label, annotators and agreement of ``reviewed`` if that is not None."""
    label = reviewed or record
    return Candidate(
        dataset.file(record),
        label.class_name,
        record.source or record.path,
        group=record.group,
        annotators=label.annotators,
        agreement=label.agreement,
        licence=record.licence,
        extra=_extra(record, reviewed),
        split=record.split,
    )


def _extra(record: Record, reviewed: Record | None) -> dict[str, str]:
    """The columns of ``record``; a reviewed image has the soft label of its review, or none."""
    if reviewed is None or not (record.extra.get(SOFT_LABEL) or reviewed.extra.get(SOFT_LABEL)):
        return record.extra
    return record.extra | {SOFT_LABEL: reviewed.extra.get(SOFT_LABEL, "")}
