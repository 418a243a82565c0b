"""`pelagia classify`: images and a model -> a survey folder that can be broken off and continued.

Invariant: what is in the journal is done and is not done again; everything else is. The CSV is written from the journal
at the end, so it is the same whether or not the run was broken off.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pelagia.model import ModelFile
from pelagia.predictions import Prediction, Survey
from pelagia.sources import SourceImage, list_images
from pelagia_inference.pipeline import BATCH, predict

_COMMIT_ROWS = 512
_COMMIT_SECONDS = 1.0


@dataclass(frozen=True)
class Progress:
    """How far a run is. ``done`` counts the rows of this run, ``before`` those that it found in the journal."""

    done: int
    failed: int
    before: int
    seconds: float


@dataclass(frozen=True)
class Classified:
    """What a finished run left. ``counts`` and ``failures`` are of the whole survey."""

    csv: Path
    progress: Progress
    counts: Counter[str]
    failures: Counter[str]


def classify(
    model: ModelFile,
    inputs: Sequence[Path],
    out: Path,
    *,
    workers: int = 0,
    provider: str = "cpu",
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Classified:
    """Classifies the images of ``inputs`` into the survey folder ``out``, or goes on where an earlier run stopped.

    Args:
        workers: as `predict`.
        progress: called after each batch.

    Raises:
        InputError: an input is wrong.
        SurveyError: ``out`` belongs to another model or other inputs, is in use, or cannot be written.
    """
    images = list_images(inputs)
    first = next(images)  # a wrong input is refused before a survey is made for it
    settings = {"inputs": sorted(path.absolute().name for path in inputs), "batch": BATCH, "provider": provider}
    with Survey.open_for_writing(
        out, model_sha256=model.sha256, classes=model.metadata.classes, settings=settings
    ) as survey:
        run = _Run(survey, progress)
        try:
            for predictions in predict(
                chain([first], images), model, workers=workers, provider=provider, skip=run.todo
            ):
                run.add(predictions)
        finally:
            run.commit()
        return Classified(survey.write_csv(), run.state(), survey.counts_by_class(), survey.counts_by_reason())


class _Run:
    """Rows on their way into the journal, and the tally of this run."""

    def __init__(self, survey: Survey, report: Callable[[Progress], None]) -> None:
        self._survey = survey
        self._report = report
        self._rows: list[Prediction] = []
        self._done = self._failed = self._before = 0
        self._start = self._committed = time.monotonic()

    def todo(self, batch: Sequence[SourceImage]) -> list[SourceImage]:
        done = self._survey.done([image.path for image in batch])
        self._before += len(done)
        return [image for image in batch if image.path not in done]

    def add(self, predictions: Sequence[Prediction]) -> None:
        self._rows += predictions
        self._done += len(predictions)
        self._failed += sum(not one.ok for one in predictions)
        if len(self._rows) >= _COMMIT_ROWS or time.monotonic() - self._committed > _COMMIT_SECONDS:
            self.commit()
        self._report(self.state())

    def commit(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._survey.add(rows)
        self._committed = time.monotonic()

    def state(self) -> Progress:
        return Progress(self._done, self._failed, self._before, time.monotonic() - self._start)
