"""`pelagia dataset correct`: a dataset with the labels of a review, as a new dataset in the same splits.

Invariant: only labels change. The images, groups and splits stay, so figures before and after can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pelagia.dataset.schema import Dataset, Record
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError


@dataclass(frozen=True)
class Correction:
    """What a review changed: (image, class before, class after), and how many images it confirmed.

    ``left_out`` is why the review has no label for images that it was given, reason -> images: they keep what they had.
    """

    dataset: Dataset
    changed: tuple[tuple[str, str, str], ...]
    confirmed: int
    left_out: dict[str, int]


def correct(
    dataset: Dataset, review: Dataset, out: Path, progress: Callable[[int], None] = lambda done: None
) -> Correction:
    """Makes the dataset ``out``: ``dataset`` with the labels that ``review`` gives to the same images, by content.

    What the review left out (skipped, unsure, disputed) keeps its label.

    Raises:
        InputError: ``out`` exists.
        DatasetError: they share no image, or the review has a class that the dataset's taxonomy lacks.
    """
    said = {record.sha256: record for record in review.records}
    both = [record for record in dataset.records if record.sha256 in said]
    if not both:
        raise DatasetError(f"{review.root} holds no image of {dataset.root}: name the dataset that the review is of")
    changed = [
        (record.path, record.class_name, said[record.sha256].class_name)
        for record in both
        if said[record.sha256].class_name != record.class_name
    ]
    made = write_dataset(
        out,
        [_candidate(dataset, record, said.get(record.sha256)) for record in dataset.records],
        source={
            "kind": "correction",
            "of": dataset.meta.fingerprint,
            "by": review.meta.fingerprint,
            "origin": dataset.meta.source,
        },
        taxonomy=dataset.meta.taxonomy,
        split=dataset.meta.split,
        left_out=dataset.meta.left_out,
        progress=progress,
    )
    left_out = {reason: count for reason, count in review.meta.left_out.items() if reason != "duplicate"}
    return Correction(made, tuple(changed), len(both) - len(changed), left_out)


def _candidate(dataset: Dataset, record: Record, said: Record | None) -> Candidate:
    return Candidate(
        dataset.file(record),
        said.class_name if said else record.class_name,
        record.source or record.path,
        group=record.group,
        annotators=said.annotators if said else record.annotators,
        agreement=said.agreement if said else record.agreement,
        licence=record.licence,
        extra=record.extra,
        split=record.split,
    )
