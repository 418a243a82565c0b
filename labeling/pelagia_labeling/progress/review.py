"""`pelagia label review`: sends the images of a survey that the model did not accept to people.

The images get columns with what the model thinks, which the labeling page shows as text. No class is selected, so that
nobody submits a doubtful answer by pressing a key too often.

Invariant: an image is sent only if its bytes are those that the model saw (SHA-256). Each other image is counted, and
listed with its reason. `pelagia_labeling.tasks.push` adds no image twice, so the command can be repeated.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from pelagia.errors import InputError, SurveyError, did_you_mean
from pelagia.model.decision import ABSTAINED, ROLLED_UP, UNKNOWN
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import inputs_of, read_pictures
from pelagia.system.console import ProgressCallback
from pelagia.system.files import printable
from pelagia.system.paths import StrPath
from pelagia.system.tables import write_table
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.caption import MODEL_SAYS
from pelagia_labeling.tasks.interface import has_caption
from pelagia_labeling.tasks.project import get_project
from pelagia_labeling.tasks.push import PushReport, push

REASONS = (ABSTAINED, ROLLED_UP, UNKNOWN)
"""The decisions that can be sent. On the command line they may have hyphens."""
LIKELIEST = 3
"""How many classes the line of text names."""


@dataclass(frozen=True)
class ReviewReport:
    """What was sent.

    Attributes:
        chosen: decision -> number of images of the survey that were chosen.
        found: decision -> number of images of the survey with this decision.
        unusable: (path, reason) of the chosen images that are missing or changed.
        push: the report of the push.
        warnings: what the user must know, one sentence each.
    """

    chosen: dict[str, int]
    found: dict[str, int]
    unusable: tuple[tuple[str, str], ...]
    push: PushReport
    warnings: tuple[str, ...] = field(default=())


def parse_reasons(text: str) -> tuple[str, ...]:
    """The decisions in a list such as ``abstained,rolled-up``. Raises InputError if one of them does not exist."""
    reasons = tuple(dict.fromkeys(part.strip().replace("-", "_") for part in text.split(",") if part.strip()))
    if wrong := [reason for reason in reasons if reason not in REASONS]:
        raise InputError(
            f"--reasons: there is no '{wrong[0]}'{did_you_mean(wrong[0], REASONS)}: choose from abstained, rolled-up "
            "and unknown"
        )
    if not reasons:
        raise InputError("--reasons is empty: name at least one of abstained, rolled-up and unknown")
    return reasons


def review(
    connection: Connection,
    survey: StrPath,
    project: str,
    taxonomy: Taxonomy,
    *,
    reasons: Sequence[str] = REASONS,
    limit: int | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> ReviewReport:
    """Sends the images that the model did not accept to the project, which is made if there is none.

    Args:
        connection: the connection to the server.
        survey: the survey folder.
        project: title of the project.
        taxonomy: the classes to choose from.
        reasons: the decisions whose images are sent, of `REASONS`.
        limit: largest number of images; None: all. A random part is taken, and a larger limit adds to it.
        progress: called with (images pushed, total images).

    Raises:
        SurveyError: there is no survey, or its model does not decide.
        InputError: no image has such a decision, or none of them can be used.
        StudioError: as `push`.
    """
    folder = Path(survey)
    with Survey.open(folder) as opened:
        _require_decisions(opened)
        found = _decisions(opened)
        chosen = _choose(opened, reasons, limit, found)
        with tempfile.TemporaryDirectory(prefix="pelagia-review-") as scratch:
            unusable = _write_source(opened, chosen, Path(scratch))
            if len(unusable) == len(chosen):
                raise InputError(
                    f"none of the {len(chosen)} images can be used ({unusable[0][0]}: {unusable[0][1]}): the survey's "
                    f"images were at {', '.join(map(str, inputs_of(opened)))}: connect that drive, or put them back"
                )
            table = Path(scratch) / f"{printable(folder.absolute().name)}.csv"
            report = push(connection, table, project, taxonomy, progress=progress)
    warning = _unseen(connection, report.project_id)
    counts = Counter(row.verdict.decision for row in chosen)
    return ReviewReport(dict(counts), found, tuple(unusable), report, (warning,) if warning else ())


def _decisions(survey: Survey) -> dict[str, int]:
    """Decision -> number of images of the survey."""
    found: Counter[str] = Counter()
    for verdict, images in survey.counts_by_verdict().items():
        found[verdict.decision] += images
    return dict(found)


def _choose(survey: Survey, reasons: Sequence[str], limit: int | None, found: Mapping[str, int]) -> list[Prediction]:
    """The rows to send; with a limit, a random part, which a larger limit adds to."""
    rows = [row for row in survey if row.ok and row.verdict.decision in reasons]
    if not rows:
        made = ", ".join(f"{images} {name.replace('_', ' ')}" for name, images in found.items())
        wanted = " or ".join(reasons).replace("_", " ")
        raise InputError(
            f"no image of {survey.folder} is {wanted} ({made or 'it is empty'}): nothing is to be reviewed"
        )
    return sorted(rows, key=lambda row: row.sha256)[:limit]  # hashes are in random order


def _require_decisions(survey: Survey) -> None:
    if not survey.decides:
        raise SurveyError(
            f"the model of the survey {survey.folder} does not decide: it names the likeliest class of every image, so "
            "none is abstained from. Export the model again with thresholds, or choose images with "
            "`pelagia label select`"
        )


def _write_source(survey: Survey, rows: Sequence[Prediction], scratch: Path) -> list[tuple[str, str]]:
    """Writes the images and a table of them into ``scratch``; returns (path, reason) of the images without bytes."""
    used: list[tuple[str, Prediction]] = []
    unusable = []
    numbers = count(1)
    for row, data in read_pictures(survey, rows):
        if isinstance(data, str):
            unusable.append((row.path, data))
            continue
        name = row.path if _PLAIN.fullmatch(row.path) else f"images/{next(numbers):06d}{Path(row.path).suffix}"
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).write_bytes(data)
        used.append((name, row))
    own = sorted({name for _, row in used for name in row.columns} - _OURS)
    table = [[name, *_columns_of(survey, row), *(row.columns.get(key, "") for key in own)] for name, row in used]
    file = scratch / f"{printable(survey.folder.absolute().name)}.csv"
    write_table(file, ["path", *_HEADER, *own], table, guard_formulas=False)
    return unusable


_PLAIN = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*")
"""Paths that are used as they are; an image with another path gets a number."""
_HEADER = ("survey_path", MODEL_SAYS, "decision", "unknown_score", "probability")
_OURS = {"path", *_HEADER}


def _columns_of(survey: Survey, row: Prediction) -> list[str]:
    probabilities = row.probabilities
    if probabilities is None:
        return [""] * len(_HEADER)
    best = probabilities.argsort()[::-1][:LIKELIEST]
    likeliest = ", ".join(f"{survey.classes[index]} {probabilities[index]:.0%}" for index in best)
    decision = row.verdict.decision.replace("_", " ")
    named = f" to {row.verdict.name}" if row.verdict.name else ""
    says = f"model: {likeliest} ({decision}{named})"
    score = "" if row.unknown is None else f"{row.unknown:.4f}"
    return [row.path, says, row.verdict.decision, score, f"{float(probabilities.max()):.4f}"]


def _unseen(connection: Connection, project_id: int) -> str:
    """Why the labeling page does not show what the model says, in a sentence; empty if it does."""
    if has_caption(get_project(connection, project_id).config):
        return ""
    return (
        "the labeling page of this project does not show what the model says, because the project was made by an "
        f"older Pelagia: the column '{MODEL_SAYS}' of its table does; give a new project to see it on the page"
    )
