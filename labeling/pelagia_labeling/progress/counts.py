"""Counts of the labels of a project: by outcome, class, station, person and time.

Invariant: each task of the project has exactly one outcome, so the counts of the outcomes add up to the tasks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, pairwise

from pelagia_labeling.tasks.consensus import DISPUTED, UNLABELLED, decide
from pelagia_labeling.tasks.project import Task
from pelagia_labeling.tasks.pull import GROUP_COLUMNS
from pelagia_labeling.tasks.votes import NAMED, SKIPPED, UNSURE, Vote, votes_of

LABELED, ACCEPTED, OPEN = "labeled", "accepted", "open"
OUTCOMES = (LABELED, ACCEPTED, UNSURE, SKIPPED, DISPUTED, OPEN)
"""labeled: somebody named the class by hand; accepted: the class is a pre-label that people accepted or sent again."""
PAUSE_MINUTES = 10
"""A longer pause between two labels of a person is not counted as time spent on labeling."""


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
        tasks: number of tasks.
        outcomes: outcome -> number of tasks, for each of `OUTCOMES`.
        classes: class -> outcome (labeled or accepted) -> number of images, most frequent class first.
        group_column: the column of the groups, such as ``station``; None if the tasks have none.
        groups: group -> outcome -> number of tasks, in the order of the names.
        people: the people who labeled, most labels first.
        days: day, as 2026-05-31 in UTC -> number of labels that were made, in the order of time.
        shared: number of images for which two or more people named a class.
        agreement: mean share of the pairs of people who named the same class, over those images; None without any.
        images: the images with a label.
    """

    tasks: int
    outcomes: dict[str, int]
    classes: dict[str, dict[str, int]]
    group_column: str | None
    groups: dict[str, dict[str, int]]
    people: tuple[Person, ...]
    days: dict[str, int]
    shared: int
    agreement: float | None
    images: tuple[LabeledImage, ...]

    @property
    def per_day(self) -> float | None:
        """Labels per day, over the last seven days on which somebody labeled; None without any."""
        last = list(self.days.values())[-7:]
        return sum(last) / len(last) if last else None


def count(tasks: Iterable[Task], names: Mapping[int, str], group_column: str | None = None) -> Counts:
    """Counts the labels of tasks.

    Args:
        tasks: the tasks with their annotations.
        names: account number -> name of the person.
        group_column: column of the groups; None: the first of `GROUP_COLUMNS` that a task has.
    """
    outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    by_column: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in _columns(group_column)}
    images: list[tuple[Task, str, str]] = []
    votes: list[Vote] = []
    shares: list[float] = []
    for task in tasks:
        own = votes_of(task.annotations, names)
        class_name, outcome = _outcome(task, own, names)
        outcomes[outcome] += 1
        for column, groups in by_column.items():
            if value := str(task.data.get(column) or "").strip():
                groups[value][outcome] += 1
        if class_name:
            classes[class_name][outcome] += 1
            images.append((Task(task.id, task.data), class_name, min(vote.made_at for vote in own)))
        votes += own
        shares += _agreement(own)
    used = next((name for name, groups in by_column.items() if groups), None)
    return Counts(
        tasks=outcomes.total(),
        outcomes=dict(outcomes),
        classes={name: dict(found) for name, found in sorted(classes.items(), key=lambda pair: -pair[1].total())},
        group_column=used,
        groups={name: dict(found) for name, found in sorted(by_column[used].items())} if used else {},
        people=_people(votes),
        days=_days(votes),
        shared=len(shares),
        agreement=sum(shares) / len(shares) if shares else None,
        images=tuple(_labeled_image(*image, used) for image in images),
    )


def _columns(group_column: str | None) -> Sequence[str]:
    return GROUP_COLUMNS if group_column is None else (group_column,)


def _outcome(task: Task, votes: Sequence[Vote], names: Mapping[int, str]) -> tuple[str, str]:
    """The label of a task, empty if it has none, and its outcome."""
    consensus = decide(task.annotations, names)
    if not consensus.class_name:
        return "", OPEN if consensus.reason == UNLABELLED else consensus.reason
    winning = [vote for vote in votes if vote.class_name == consensus.class_name]
    return consensus.class_name, ACCEPTED if all(vote.from_prediction for vote in winning) else LABELED


def _labeled_image(task: Task, class_name: str, labeled_at: str, column: str | None) -> LabeledImage:
    group = str(task.data.get(column) or "").strip() if column else ""
    return LabeledImage(task.sha256, class_name, group or task.sha256 or f"task {task.id}", labeled_at)


def _agreement(votes: Sequence[Vote]) -> list[float]:
    """The share of pairs of people who named the same class, as the only item; nothing if fewer than two named one."""
    last = {vote.account or -vote.annotation: vote.class_name for vote in votes if vote.kind == NAMED}
    pairs = list(combinations(last.values(), 2))
    return [sum(one == other for one, other in pairs) / len(pairs)] if pairs else []


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
