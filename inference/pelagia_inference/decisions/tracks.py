"""One answer for each track of a survey: the images of one animal, or of one event.

Invariant: the answer depends only on the images of the track, not on their order. The rows are sorted by SQLite, so
memory holds one track at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pelagia.errors import InputError, did_you_mean
from pelagia.model.card import ModelCard
from pelagia.model.decision import Decider, Verdict
from pelagia.model.held_out import images_are_called
from pelagia.model.tracks import log_probabilities, track_probabilities
from pelagia.survey.columns import VERDICT, ResultColumns
from pelagia.survey.journal import NEXT_CLASSES, Survey
from pelagia.system.console import ProgressCallback
from pelagia.system.files import require_new_file
from pelagia.system.tables import Cell, write_table
from pelagia.tables.values import is_missing


@dataclass(frozen=True)
class Track:
    """The answer to a track.

    Attributes:
        name: the value of the column that names it.
        images: number of its images that were classified.
        agreeing: share of them whose likeliest class is that of the track, 0..1.
        probabilities: float64, classes, summing to 1.
        unknown: the mean out-of-distribution score of its images; None if the model has none.
        verdict: the decision of the model's rule on ``probabilities`` and ``unknown``.
    """

    name: str
    images: int
    agreeing: float
    probabilities: NDArray[np.float64]
    unknown: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Tracks:
    """What was found in a survey.

    Attributes:
        column: the column that names the tracks.
        tracks: number of tracks.
        images: number of their images.
        mixed: number of tracks whose images do not all have the same likeliest class.
        classes: likeliest class -> number of tracks.
        decisions: decision -> number of tracks; empty if the model does not decide.
        without: number of classified images that no track has, because the column has no value.
        failed: number of images that could not be classified.
        how: how the answers were combined, in words.
    """

    column: str
    tracks: int
    images: int
    mixed: int
    classes: Counter[str]
    decisions: Counter[str]
    without: int
    failed: int
    how: str


def exponent_for(card: ModelCard | None, column: str) -> tuple[float, str]:
    """The exponent of `pelagia.model.tracks` for a column, and how the answers are combined, in words."""
    found = card and card.policies and card.policies.tracks
    how = "mean log-probability of the images of a track"
    if found and found.column == column:
        images = images_are_called(card.dataset) if card else "validation"
        return found.exponent, (
            f"{how}; N images count as N^{found.exponent:g}, which was fitted on {found.tracks} {images} tracks"
        )
    why = f"was fitted on the tracks of the column '{found.column}'" if found else "has nothing fitted on tracks"
    return 0.0, f"{how}; not calibrated for tracks, because the model {why}: a track is as sure as its mean image"


def tracks_of(
    survey: Survey,
    column: str,
    card: ModelCard | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Iterator[Track]:
    """The tracks of a survey, sorted by name.

    Args:
        survey: the open survey.
        column: the column of its input that names the tracks.
        card: the card of its model; None: no verdicts, and the answers are not calibrated for tracks.
        progress: called with the number of images that are done, and of all.

    Raises:
        InputError: the survey has no such column.
        SurveyError: the journal cannot be read.
    """
    own = survey.columns().own
    if column not in own:
        has = ", ".join(own) or "none"
        raise InputError(f"--by-track: the survey has no column '{column}'{did_you_mean(column, own)}; it has {has}")
    exponent, _ = exponent_for(card, column)
    decider = None if card is None else card.decider
    total, done = len(survey), 0
    for name, rows in groupby(_sorted_rows(survey, column), key=lambda row: row[0]):
        track = _track(name, list(rows), exponent, decider)
        done += track.images
        progress(done, total)
        yield track


def write_tracks(
    survey: Survey,
    column: str,
    out: Path | None,
    card: ModelCard | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Tracks:
    """Answers each track of a survey, and writes the answers as a table if ``out`` is given.

    The arguments are those of `tracks_of`.

    Raises:
        InputError: ``out`` exists or is no .csv, or as `tracks_of`.
        SurveyError: the journal cannot be read.
    """
    if out is not None:
        require_new_file(out, "table", ".csv")
    found = _Summary(column)
    decides = card is not None and card.decider.decides
    rows = found.counted(tracks_of(survey, column, card, progress), survey.classes, decides)
    if out is None:
        for _ in rows:
            pass
    else:
        write_table(out, _header(column, len(survey.classes), decides), rows, mark=True)
    classified = survey.counts_by_class().total()
    return Tracks(
        column=column,
        tracks=found.classes.total(),
        images=found.images,
        mixed=found.mixed,
        classes=found.classes,
        decisions=found.decisions,
        without=classified - found.images,
        failed=survey.counts_by_reason().total(),
        how=exponent_for(card, column)[1],
    )


class _Summary:
    """Counts the tracks while they are written."""

    def __init__(self, column: str) -> None:
        self.column, self.images, self.mixed = column, 0, 0
        self.classes: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()

    def counted(self, tracks: Iterator[Track], classes: Sequence[str], decides: bool) -> Iterator[list[Cell]]:
        """The rows of the table."""
        for track in tracks:
            best = np.argsort(-track.probabilities, kind="stable")[: 1 + NEXT_CLASSES].tolist()
            self.images += track.images
            self.mixed += track.agreeing < 1
            self.classes[classes[best[0]]] += 1
            row: list[Cell] = [track.name, track.images, f"{track.agreeing:.6f}"]
            for place in best:
                row += [classes[place], f"{track.probabilities[place]:.6f}"]
            if decides:
                verdict, score = track.verdict, track.unknown
                self.decisions[verdict.decision] += 1
                row += [verdict.decision, verdict.name or None, verdict.rank or None]
                row.append(None if score is None else f"{score:.6f}")
            yield row


def _header(column: str, classes: int, decides: bool) -> list[str]:
    ranked = ResultColumns(min(1 + NEXT_CLASSES, classes), ()).ranked
    names = ["images", "agreeing", *(name for pair in ranked for name in pair), *(VERDICT if decides else ())]
    return [column if column not in names else f"survey_{column}", *names]


def _sorted_rows(survey: Survey, column: str) -> Iterator[tuple[Any, ...]]:
    """Track, probabilities (bytes) and score of the classified images that have a track, sorted by track and path.

    Spaces around the name of a track do not count, and a value such as ``NA`` is no track.
    """
    value = "(SELECT TRIM(value, ' ' || CHAR(9)) FROM json_each(images.columns) WHERE key = ?)"
    score = "unknown" if survey.decides else "NULL"
    query = f"SELECT {value} AS track, probabilities, {score} FROM images WHERE status = 'ok' ORDER BY track, path"
    return (row for row in survey.read(query, [column]) if row[0] and not is_missing(row[0]))


def _track(name: str, rows: Sequence[tuple[Any, ...]], exponent: float, decider: Decider | None) -> Track:
    probabilities = np.stack([np.frombuffer(blob, "<f4") for _, blob, _ in rows])
    scores = [score for *_, score in rows if score is not None]
    unknown = float(np.mean(scores)) if scores else None
    mean = log_probabilities(probabilities).mean(axis=0, keepdims=True)
    combined = track_probabilities(mean, np.array([len(rows)]), exponent)
    agreeing = float((probabilities.argmax(axis=1) == combined[0].argmax()).mean())
    verdict = Verdict()
    if decider is not None:
        score = None if unknown is None else np.array([unknown], np.float32)
        [verdict] = decider(combined.astype(np.float32), score)
    return Track(name, len(rows), agreeing, combined[0], unknown, verdict)
