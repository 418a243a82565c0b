"""`pelagia classify`: images and a model -> a survey folder that can be broken off and continued.

Invariant: what is in the journal is done and is not done again; everything else is. The CSV is written from the journal
at the end, so it is the same whether or not the run was broken off.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pelagia.errors import SurveyError
from pelagia.images.preprocess import ImageError
from pelagia.model.decision import Verdict
from pelagia.model.metadata import ModelFile
from pelagia.sources import SourceImage, Tally, list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia.system.files import sha256_of
from pelagia_inference.exports.results import CSV, formats_to_write, write_results
from pelagia_inference.machine.providers import AUTO, CPU, choose_provider
from pelagia_inference.machine.setting import Setting, completed, stored_setting
from pelagia_inference.machine.verify import verify
from pelagia_inference.survey.pipeline import predict_with
from pelagia_inference.survey.runlog import RunLog, run_log
from pelagia_inference.workers.pool import WorkerPool

_COMMIT_ROWS = 512
_COMMIT_SECONDS = 1.0
_COMPARED = 256


@dataclass(frozen=True)
class Progress:
    """How far a run is. ``done`` counts the rows of this run, ``before`` those that it found in the journal.

    ``current`` is the path of the last image.
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


@dataclass(frozen=True)
class Classified:
    """What a finished run left.

    ``counts``, by the likeliest class, ``failures`` and ``verdicts`` are of the whole survey; ``verdicts`` is empty
    where the model decides nothing. ``left_out`` is what the inputs hold that is no image, by a key of
    `pelagia.sources.LEFT_OUT`; ``files`` are by format.
    """

    files: Mapping[str, Path]
    provider: str
    setting: Setting
    progress: Progress
    counts: Counter[str]
    failures: Counter[str]
    left_out: Tally
    verdicts: Counter[Verdict]

    @property
    def csv(self) -> Path:
        """Raises KeyError where another format was asked for."""
        return self.files[CSV]


def classify(
    model: ModelFile,
    inputs: Sequence[Path],
    out: Path,
    *,
    setting: Setting | None = None,
    provider: str = AUTO,
    formats: Sequence[str] = (CSV,),
    retry_failed: bool = False,
    progress: Callable[[Progress], None] = lambda progress: None,
    note: Callable[[str], None] = lambda text: None,
) -> Classified:
    """Classifies the images of ``inputs`` into the survey folder ``out``, or goes on where an earlier run stopped.

    Args:
        setting: a 0 in it, and all of it by default, stands for that of the survey, where it is continued; else, on the
            CPU, for what `pelagia bench --apply` stored; else for `default_setting`.
        provider: a key of `PROVIDERS`; by default that of the survey, where it is continued; else as `choose_provider`.
        formats: keys of `pelagia_inference.exports.results.FILES`; a file of another that lies in ``out`` is written anew as well.
        retry_failed: does images again that the journal holds as failed.
        progress: called after some images.
        note: is told what the user should know before the work begins.

    Raises:
        InputError: an input is wrong, the provider does not start, or a format's package is not installed.
        ModelError: the provider gives other answers than the trainer's.
        SurveyError: ``out`` belongs to another model or other inputs, is in use, or cannot be written.
    """
    formats = formats_to_write(out, formats)
    before = _settings_of(out)
    notes = _Notes(note)
    provider = _provider(out, model, before.get("provider", ""), provider, notes.add)
    setting = _setting(setting or Setting(0, 0, 0), provider, model, before)
    names = [path.absolute().name for path in inputs]
    origin = json.dumps([str(path.absolute()) for path in inputs])
    settings = {"inputs": names, "batch": setting.batch, "threads": setting.threads, "provider": provider}
    facts = {"model": f"{model.metadata.name} {model.sha256[:12]}", "provider": provider, "setting": setting}
    decider = model.metadata.decider
    with WorkerPool(model, provider, setting) as crew:
        for path in inputs:
            next(list_images([path]), None)  # a wrong input is refused before a survey is made for it
        next(list_images(inputs), None)
        crew.ready()
        with (
            Survey.open_for_writing(
                out,
                model_sha256=model.sha256,
                classes=model.metadata.classes,
                settings=settings,
                origin=origin,
                decides=decider.decides,
            ) as survey,
            run_log(out, facts, notes.given) as log,
        ):
            _require_same_images(survey, inputs, moved=survey.meta.get("origin") != origin)
            survey.forget_transient()
            run, tally = _Run(survey, retry_failed, _both(progress, log)), Tally()
            done = predict_with(crew, list_images(inputs, tally), setting, skip=run.todo, decider=decider)
            at = run.fill(done)
            crew.close()  # what is left to do needs memory of its own, and no worker
            counts, failures = survey.counts_by_class(), survey.counts_by_reason()
            files = write_results(survey, formats)
            log.info(f"done: {_in_words(at)}; in all {counts.total()} classified, {dict(failures)} failed")
            verdicts = survey.counts_by_verdict()
            return Classified(files, provider, setting, at, counts, failures, tally, verdicts)


class _Notes:
    """What the user is told before there is a log, kept for it."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.given: list[str] = []
        self._note = note

    def add(self, text: str) -> None:
        self.given.append(text)
        self._note(text)


def _both(progress: Callable[[Progress], None], log: RunLog) -> Callable[[Progress], None]:
    def report(at: Progress) -> None:
        progress(at)
        log.every_minute(lambda: _in_words(at))

    return report


def _in_words(at: Progress) -> str:
    return f"{at.done} images in {at.seconds:.1f} s, {at.rate:.0f} images/s, {at.failed} failed, {at.before} before"


def _settings_of(out: Path) -> dict[str, Any]:
    """The settings that the survey in ``out`` was begun with; none where there is no survey."""
    try:
        with Survey.open(out) as survey:
            found: dict[str, Any] = json.loads(survey.meta["settings"])
            return found
    except SurveyError:  # there is none yet, or a kill left one without tables; opening it to write tells what is wrong
        return {}


def _provider(out: Path, model: ModelFile, before: str, wanted: str, note: Callable[[str], None]) -> str:
    if before and wanted not in (AUTO, before):
        raise SurveyError(
            f"the survey {out} was begun with the provider {before}, this is {wanted}: leave --provider out, or choose "
            "a new --out folder"
        )

    def prove(name: str) -> None:
        if name != CPU:  # whether the CPU starts, the workers find out
            verify(model, name)

    return choose_provider(before or wanted, prove, note)


def _setting(wish: Setting, provider: str, model: ModelFile, before: Mapping[str, Any]) -> Setting:
    known = [Setting(0, before.get("threads", 0), before.get("batch", 0))]
    if provider == CPU and (stored := stored_setting(model.sha256)):
        known.append(stored)
    return completed(wish, provider, known)


def _require_same_images(survey: Survey, inputs: Sequence[Path], *, moved: bool) -> None:
    """Refuses images that bear the names of those that the survey holds and are others, such as the next memory card.

    The first image found in both is compared by content. Where the inputs lie elsewhere than the first time, there must
    be one.
    """
    if not survey.counts_by_class():
        return
    images = list_images(inputs)
    while batch := list(islice(images, _COMPARED)):
        known = survey.hashes([image.path for image in batch])
        for image in batch:
            if image.path not in known:
                continue
            try:
                found = sha256_of(image.read())
            except (OSError, ImageError):
                continue
            if found != known[image.path]:
                raise SurveyError(
                    f"{image.path} is not the image of that name that the survey {survey.folder} holds: "
                    "these are other images; choose a new --out folder"
                )
            return
    if moved:
        raise SurveyError(
            f"the survey {survey.folder} was made of other images ({survey.meta.get('origin')}), and holds none of "
            "these: choose a new --out folder"
        )


class _Run:
    """Rows on their way into the journal, and the tally of this run."""

    def __init__(self, survey: Survey, retry_failed: bool, report: Callable[[Progress], None]) -> None:
        self._survey = survey
        self._retry_failed = retry_failed
        self._fresh = len(survey) == 0
        self._report = report
        self._current = ""
        self._rows: list[Prediction] = []
        self._done = self._failed = self._before = 0
        self._start = self._committed = time.monotonic()

    def todo(self, batch: Sequence[SourceImage]) -> list[SourceImage]:
        if self._fresh:
            return list(batch)
        done = self._survey.done([image.path for image in batch], ok_only=self._retry_failed)
        self._before += len(done)
        return [image for image in batch if image.path not in done]

    def fill(self, done: Iterable[Sequence[Prediction]]) -> Progress:
        """Takes all of ``done``; what came before a fault is kept."""
        try:
            for predictions in done:
                self._add(predictions)
        finally:
            self._commit()
        return self._state()

    def _add(self, predictions: Sequence[Prediction]) -> None:
        self._rows += predictions
        self._done += len(predictions)
        self._current = predictions[-1].path
        self._failed += sum(not one.ok for one in predictions)
        if len(self._rows) >= _COMMIT_ROWS or time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()
        self._report(self._state())

    def _commit(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._survey.add(rows)
        self._committed = time.monotonic()

    def _state(self) -> Progress:
        return Progress(self._done, self._failed, self._before, time.monotonic() - self._start, self._current)
