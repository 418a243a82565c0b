"""The progress of a run, and the rows that it writes into the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pelagia.sources import SourceImage
from pelagia.survey.journal import Prediction, Survey

_COMMIT_ROWS = 512
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class SurveyProgress:
    """The progress of a run.

    Attributes:
        done: rows that this run has added, failed images included.
        failed: the number of these rows that are failed images.
        before: images that were in the journal already.
        seconds: the time since the run started, in seconds.
        current: the path of the last image.
    """

    done: int
    failed: int
    before: int
    seconds: float
    current: str = ""

    @property
    def rate(self) -> float:
        """Images/s of this run."""
        return self.done / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        counts = f"{self.done} images in {self.seconds:.1f} s, {self.rate:.0f} images/s, {self.failed} failed"
        return f"{counts}, {self.before} before"


class JournalWriter:
    """Writes the rows of one run into the journal, and counts them.

    Args:
        survey: the journal, opened for writing.
        retry_failed: whether images that failed before are classified again.
        report: a function that is called with the progress after each list of predictions.
    """

    def __init__(self, survey: Survey, retry_failed: bool, report: Callable[[SurveyProgress], None]) -> None:
        self._survey = survey
        self._retry_failed = retry_failed
        self._is_new = len(survey) == 0
        self._report = report
        self._current = ""
        self._rows: list[Prediction] = []
        self._done = self._failed = self._before = 0
        self._start = self._committed = time.monotonic()

    def todo(self, images: Sequence[SourceImage]) -> list[SourceImage]:
        """The images that are not in the journal yet."""
        if self._is_new:
            return list(images)
        done = self._survey.done([image.path for image in images], ok_only=self._retry_failed)
        self._before += len(done)
        return [image for image in images if image.path not in done]

    def write_all(self, predictions: Iterable[Sequence[Prediction]]) -> SurveyProgress:
        """Writes all predictions. Those before an exception are written as well."""
        try:
            for rows in predictions:
                self._add(rows)
        finally:
            self._commit()
        return self._progress()

    def _add(self, rows: Sequence[Prediction]) -> None:
        self._rows += rows
        self._done += len(rows)
        self._current = rows[-1].path
        self._failed += sum(not row.ok for row in rows)
        if len(self._rows) >= _COMMIT_ROWS or time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()
        self._report(self._progress())

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._survey.add(rows)
        self._committed = time.monotonic()

    def _progress(self) -> SurveyProgress:
        return SurveyProgress(self._done, self._failed, self._before, time.monotonic() - self._start, self._current)
