"""The result of every importer, and the names of the source's additional columns in a dataset.

An importer is one function that reads one kind of labeled data. It writes no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pelagia.dataset.schema import MANIFEST_COLUMNS, LabelAgreement
from pelagia.dataset.write import Candidate
from pelagia.lineages import Lineage
from pelagia.taxonomy import Taxonomy


@dataclass(frozen=True)
class Import:
    """What an importer found.

    Attributes:
        candidates: images with a label.
        source: where the images come from, for `dataset.yaml`.
        group_column: the column that the groups come from; None if there is no such column.
        left_out: reason -> number of images that were left out, or a key of `pelagia.sources.Listing.left_out`.
        warnings: what was assumed or looks wrong, one sentence each.
        split_name: the column, or ``folders``, that the candidates' ``split`` comes from; empty if there is none.
        taxonomy: the taxonomy of the source, if it has one.
        lineages: class -> the names of its taxa from the root down, if the source has them.
        label_agreement: how far the people agree who labeled the images, if the source says it.
    """

    candidates: list[Candidate]
    source: dict[str, Any]
    group_column: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    split_name: str = ""
    taxonomy: Taxonomy | None = None
    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    label_agreement: LabelAgreement | None = None


def survey_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The source's additional columns; ``survey_`` is put before each name that a dataset's manifest uses itself."""
    return {f"survey_{name}" if name in MANIFEST_COLUMNS else name: value for name, value in columns.items() if name}
