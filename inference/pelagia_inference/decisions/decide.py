"""Other verdicts for the images of a survey, from the probabilities and scores that it keeps.

Invariant: the survey is only read. Its own verdicts stay, also in the table that is written: the columns `BEFORE` have
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from pelagia.errors import SurveyError
from pelagia.model.card import ModelCard
from pelagia.model.decision import NO_VERDICT, Decider, Verdict
from pelagia.survey.columns import ResultColumns
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.files import require_new_file
from pelagia_inference.decisions.policies import Policy
from pelagia_inference.exports.results import write_csv, write_parquet

BEFORE = ("first_decision", "first_accepted_as")
"""Columns with the verdict that the survey keeps."""
_ROWS_AT_ONCE = 4096
_WRITERS = {".csv": write_csv, ".parquet": write_parquet}


@dataclass(frozen=True)
class Decided:
    """What a policy changes.

    Attributes:
        images: number of images with a verdict.
        failed: number of images that could not be classified, which have none.
        pairs: (first decision, new decision) -> number of images. The first decision is empty if the survey keeps
            none.
        renamed: (first name, new name) -> number of images whose accepted name changed; empty: no name.
        out: the table that was written; None: nothing was written.
    """

    images: int
    failed: int
    pairs: Counter[tuple[str, str]]
    renamed: Counter[tuple[str, str]]
    out: Path | None = None

    @property
    def changed(self) -> int:
        """Number of images whose accepted name changed."""
        return self.renamed.total()


class _Redecided:
    """The rows of a survey with the verdicts of another rule; it counts what changes while it is read."""

    def __init__(self, survey: Survey, decider: Decider, progress: ProgressCallback) -> None:
        self._survey, self.decider, self._progress = survey, decider, progress
        self.classes = survey.classes
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.renamed: Counter[tuple[str, str]] = Counter()
        self.failed = 0

    def columns(self) -> ResultColumns:
        """Those of the survey, with `BEFORE` as its first own columns."""
        found = self._survey.columns()
        own = tuple(name for name in found.own if name not in BEFORE)
        return replace(found, own=(*BEFORE, *own), decides=True, rules=True)

    def __iter__(self) -> Iterator[Prediction]:
        rows, done, total = iter(self._survey), 0, len(self._survey)
        while group := list(islice(rows, _ROWS_AT_ONCE)):
            for row, verdict in zip(group, _verdicts(group, self.decider), strict=True):
                yield self._changed(row, verdict)
            done += len(group)
            self._progress(done, total)

    def _changed(self, row: Prediction, verdict: Verdict) -> Prediction:
        first = row.verdict
        if row.ok:
            self.pairs[first.decision, verdict.decision] += 1
            if first.name != verdict.name:
                self.renamed[first.name, verdict.name] += 1
        else:
            self.failed += 1
        before = dict(zip(BEFORE, (first.decision, first.name), strict=True))
        return replace(row, verdict=verdict, columns={**row.columns, **before})


def decide(
    survey: Survey,
    card: ModelCard,
    policy: Policy,
    out: Path | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Decided:
    """Decides again what each image of a survey shows, and writes a table of results if ``out`` is given.

    Args:
        survey: the open survey. It is not changed.
        card: the card of its model.
        policy: the rule.
        out: the table to make, .csv or .parquet: the columns of the survey's results with the new verdicts, and
            `BEFORE`.
        progress: called with the number of images that are done, and of all.

    Raises:
        InputError: ``out`` exists, or has another ending.
        SurveyError: the journal cannot be read, or the card is of other classes.
    """
    if card.taxonomy.names != survey.classes:
        raise SurveyError(f"the survey {survey.folder} and its model have different classes: classify the images again")
    if out is not None:
        require_new_file(out, "table", *_WRITERS)
    rows = _Redecided(survey, policy.decider(card), progress)
    if out is None:
        for _ in rows:
            pass
    else:
        _WRITERS[out.suffix.lower()](rows, out)
    return Decided(rows.pairs.total(), rows.failed, rows.pairs, rows.renamed, out)


def _verdicts(rows: Sequence[Prediction], decider: Decider) -> list[Verdict]:
    """The verdict on each row; `NO_VERDICT` for one that failed."""
    found = [NO_VERDICT] * len(rows)
    places = [place for place, row in enumerate(rows) if row.ok]
    if not places:
        return found
    probabilities = np.stack([row.probabilities for row in rows if row.probabilities is not None])
    scores = [rows[place].unknown for place in places]
    unknown = None if None in scores else np.array(scores, np.float32)
    for place, verdict in zip(places, decider(probabilities, unknown), strict=True):
        found[place] = verdict
    return found
