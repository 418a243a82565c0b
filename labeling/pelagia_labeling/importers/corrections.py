"""`pelagia dataset correct`: makes a new dataset with the labels of a review and with the same splits.

Invariant: only labels change. Images, groups and splits stay the same, so metrics before and after can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pelagia.dataset.label_columns import CELL_COLUMNS, CELLS_COUNTED, LABEL_COLUMNS
from pelagia.dataset.schema import Dataset, Record
from pelagia.dataset.write import Candidate, write_dataset
from pelagia.errors import DatasetError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.importers.own_dataset import candidate_of


class Label(NamedTuple):
    """A class with the people who chose it, their agreement, and the columns of the label and of counted cells."""

    class_name: str
    annotators: str = ""
    agreement: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def label_of(record: Record) -> Label:
    """The label of a row of a manifest."""
    columns = tuple((name, value) for name in LABEL_COLUMNS if (value := record.extra.get(name, "")))
    return Label(record.class_name, record.annotators, record.agreement, (*columns, *counted_cells(record).items()))


def counted_cells(record: Record) -> dict[str, str]:
    """The columns of the cells that people counted; none if nobody did, so that an older number stays."""
    return {name: record.extra.get(name, "") for name in CELL_COLUMNS} if record.extra.get(CELLS_COUNTED) else {}


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
    labels = {sha256: label_of(one) for sha256, one in reviewed.items()}
    source = {"kind": "correction", "by": review.meta.fingerprint}
    corrected = write_relabeled(dataset, labels, out, source, progress=progress)
    left_out = {reason: count for reason, count in review.meta.left_out.items() if reason != "duplicate"}
    return Correction(corrected, tuple(changed), len(pairs) - len(changed), left_out)


def write_relabeled(
    dataset: Dataset,
    labels: Mapping[str, Label],
    out: Path,
    source: Mapping[str, object],
    *,
    taxonomy: Taxonomy | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Dataset:
    """Makes the dataset ``out``: ``dataset`` with other labels. Every command that changes labels ends here.

    Args:
        dataset: the dataset.
        labels: SHA-256 of an image -> its label. Other images keep theirs; so do all groups and splits.
        out: the dataset folder to make.
        source: what changed the labels; the fingerprint and the origin of ``dataset`` are added.
        taxonomy: the taxonomy, if it is another one.
        progress: called with the number of images checked since the last call.
    """
    return write_dataset(
        out,
        [relabeled(candidate_of(dataset, one), labels.get(one.sha256)) for one in dataset.records],
        source={**source, "of": dataset.meta.fingerprint, "origin": dataset.meta.source},
        taxonomy=taxonomy or dataset.meta.taxonomy,
        split=dataset.meta.split,
        left_out=dataset.meta.left_out,
        label_agreement=dataset.meta.label_agreement if taxonomy is None else None,  # of the classes as people saw them
        parents=[dataset],
        progress=progress,
    )


def relabeled(candidate: Candidate, label: Label | None) -> Candidate:
    """The image with another label, and with the `LABEL_COLUMNS` of that label."""
    if label is None:
        return candidate
    old = {name: "" for name in LABEL_COLUMNS if name in candidate.extra}
    return replace(
        candidate,
        class_name=label.class_name,
        annotators=label.annotators,
        agreement=label.agreement,
        extra=candidate.extra | old | dict(label.columns),
    )
