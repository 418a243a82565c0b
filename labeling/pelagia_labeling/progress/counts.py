"""Counts of the labels of a project: by outcome, class, station, person and time.

Invariant: each task of the project has exactly one outcome, so the counts of the outcomes add up to the tasks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from pelagia_labeling.labels.consensus import DISPUTED, UNLABELLED, Consensus, decide
from pelagia_labeling.labels.reopen import explained
from pelagia_labeling.labels.votes import MIN_SECONDS, NAMED, SKIPPED, UNSURE, Vote, votes_of
from pelagia_labeling.tasks.project import Task

LABELED, ACCEPTED, NOT_COUNTED, OPEN = "labeled", "accepted", "not_counted", "open"
OUTCOMES = (LABELED, ACCEPTED, UNSURE, SKIPPED, DISPUTED, NOT_COUNTED, OPEN)
"""The outcomes of an image.

labeled: somebody named the class by hand. accepted: the class is a pre-label that people accepted. not_counted: the
labels were submitted too fast, without a class, or on a sheet that was refused, so `label pull` leaves them out.
"""
PAUSE_MINUTES = 10
"""A longer pause between two labels of a person is not counted as time spent on labeling."""


class ReadTask(NamedTuple):
    """A task without its annotations, what people said of it, and the label that `label pull` would give it."""

    task: Task
    votes: list[Vote]
    consensus: Consensus


def read_task(task: Task, names: Mapping[int, str]) -> ReadTask:
    """Reads the annotations of a task; ``names``: account number -> name of the person."""
    consensus = decide(task.annotations, names, min_seconds=MIN_SECONDS)
    without_annotations, consensus = explained(task, consensus)
    return ReadTask(without_annotations, votes_of(task.annotations, names), consensus)


@dataclass(frozen=True)
class LabeledImage:
    """An image with a label.

    Attributes:
        sha256: SHA-256 of the image; empty if push did not make the task.
        class_name: the label.
        group: its value in the group column; its SHA-256 or the number of its task if it has none.
        labeled_at: when its first vote was made, ISO 8601.
    """

    sha256: str
    class_name: str
    group: str
    labeled_at: str


@dataclass(frozen=True)
class Person:
    """What one person did: ``labels`` are classes that they named, and ``accepted`` those that were pre-labels.

    ``hours`` is the time between the first and the last label without pauses of more than `PAUSE_MINUTES`.
    """

    name: str
    labels: int
    accepted: int
    unsure: int
    skipped: int
    hours: float

    @property
    def per_hour(self) -> float | None:
        """Labels per hour of labeling; None if the time is too short to tell."""
        return self.labels / self.hours if self.hours >= 0.05 else None


@dataclass(frozen=True)
class Counts:
    """The counts of a project.

    Attributes:
        tasks: number of images to label.
        repeats: number of planted repeats, which are not counted as images.
        outcomes: outcome -> number of images, for each of `OUTCOMES`.
        classes: class -> outcome (labeled or accepted) -> number of images, most frequent class first.
        group_column: the column of the groups, such as ``station``; None if the tasks have none.
        groups: group -> outcome -> number of tasks, in the order of the names.
        people: the people who labeled, most labels first.
        days: day, as 2026-05-31 in UTC -> number of labels that were made, in the order of time.
        images: the images with a label.
    """

    tasks: int
    repeats: int
    outcomes: dict[str, int]
    classes: dict[str, dict[str, int]]
    group_column: str | None
    groups: dict[str, dict[str, int]]
    people: tuple[Person, ...]
    days: dict[str, int]
    images: tuple[LabeledImage, ...]

    @property
    def per_day(self) -> float | None:
        """Labels per day, over the last seven days on which somebody labeled; None without any."""
        last = list(self.days.values())[-7:]
        return sum(last) / len(last) if last else None


def count(read: Iterable[ReadTask], group_column: str | None) -> Counts:
    """Counts the labels of tasks.

    Args:
        read: the tasks and what people said of them.
        group_column: column of the groups; None: the tasks have none.
    """
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    images: list[LabeledImage] = []
    votes: list[Vote] = []
    repeats = 0
    for task, own, consensus in read:
        votes += own
        if task.repeat_of:
            repeats += 1
            continue
        outcome = _outcome(own, consensus)
        outcomes[outcome] += 1
        group = str(task.data.get(group_column) or "").strip() if group_column else ""
        if group:
            groups[group][outcome] += 1
        if consensus.class_name:
            classes[consensus.class_name][outcome] += 1
            labeled_at = min(vote.made_at for vote in own)
            images.append(
                LabeledImage(task.sha256, consensus.class_name, group or task.sha256 or task.place, labeled_at)
            )
    return Counts(
        tasks=outcomes.total(),
        repeats=repeats,
        outcomes=dict(outcomes),
        classes={name: dict(found) for name, found in sorted(classes.items(), key=lambda pair: -pair[1].total())},
        group_column=group_column,
        groups={name: dict(found) for name, found in sorted(groups.items())},
        people=_people(votes),
        days=_days(votes),
        images=tuple(images),
    )


def _outcome(votes: Sequence[Vote], consensus: Consensus) -> str:
    if not consensus.class_name:
        same = {UNLABELLED: OPEN, UNSURE: UNSURE, SKIPPED: SKIPPED, DISPUTED: DISPUTED}
        return same.get(consensus.reason, NOT_COUNTED)
    winning = [vote for vote in votes if vote.class_name == consensus.class_name]
    return ACCEPTED if all(vote.from_prediction for vote in winning) else LABELED


def _people(votes: Iterable[Vote]) -> tuple[Person, ...]:
    by_person: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_person[vote.annotator].append(vote)
    people = []
    for name, own in by_person.items():
        named = [vote for vote in own if vote.kind == NAMED]
        kinds: Counter[str] = Counter(vote.kind for vote in own)
        accepted = sum(vote.from_prediction for vote in named)
        people.append(Person(name, len(named), accepted, kinds[UNSURE], kinds[SKIPPED], _hours(own)))
    return tuple(sorted(people, key=lambda person: (-person.labels, person.name)))


def _hours(votes: Iterable[Vote]) -> float:
    """Hours between the votes of a person, without the pauses."""
    times = sorted(time for vote in votes if (time := _time(vote.made_at)))
    gaps = ((after - before).total_seconds() for before, after in pairwise(times))
    return sum(gap for gap in gaps if gap <= PAUSE_MINUTES * 60) / 3600


def _days(votes: Iterable[Vote]) -> dict[str, int]:
    found = Counter(vote.made_at[:10] for vote in votes if vote.kind == NAMED and _time(vote.made_at))
    return dict(sorted(found.items()))


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
