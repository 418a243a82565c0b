"""What every importer returns, and the names that the survey's own columns get in a dataset.

An importer is one function that reads one kind of labelled data. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pelagia.dataset.schema import MANIFEST_COLUMNS
from pelagia.dataset.write import Candidate


@dataclass(frozen=True)
class Import:
    """What an importer found.

    Attributes:
        candidates: images with a label.
        source: where they come from, for `dataset.yaml`.
        group_column: the column that the groups come from; None where there is none.
        left_out: reason -> number of images without a candidate.
    """

    candidates: list[Candidate]
    source: dict[str, Any]
    group_column: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)


def survey_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """The survey's own columns, with ``survey_`` before each name that a dataset's manifest has already."""
    return {f"survey_{name}" if name in MANIFEST_COLUMNS else name: value for name, value in columns.items() if name}
