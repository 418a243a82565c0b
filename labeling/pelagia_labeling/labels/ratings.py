"""What people said in a project, as the ratings that `pelagia_labeling.agreement` measures.

Invariant: a person's rating of an image is the vote that `label pull` counts (`consensus.count_votes`). A planted
repeat is a second rating of its image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pelagia.dataset.schema import LabelAgreement
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.agreement.measure import Agreement, measure
from pelagia_labeling.agreement.resample import Estimate
from pelagia_labeling.agreement.table import Rating, tabulate
from pelagia_labeling.labels.consensus import count_votes
from pelagia_labeling.labels.votes import MIN_SECONDS, NAMED, SKIPPED, UNSURE, votes_of
from pelagia_labeling.tasks.project import Task

DELETED = "account 0"
"""The annotator of votes whose account was deleted: they may be of several people."""


@dataclass(frozen=True, slots=True)
class TimedVote:
    """A vote that counts: who named which class, when it was last changed, and whether it began as a pre-label.

    ``cells`` is the number of cells that the person typed; None if the field was empty.
    """

    annotator: str
    class_name: str
    at: str = ""
    from_prediction: bool = False
    cells: float | None = None


def timed_votes(task: Task, names: Mapping[int, str]) -> list[TimedVote]:
    """The votes of a task that count.

    Args:
        task: a task with its annotations.
        names: account number -> name of the person.
    """
    return [
        TimedVote(vote.annotator, vote.class_name, vote.changed_at, vote.from_prediction, vote.cells)
        for vote in count_votes(votes_of(task.annotations, names), MIN_SECONDS).votes
        if vote.kind == NAMED
    ]


def without_class(task: Task, names: Mapping[int, str]) -> int:
    """Number of times that a person was unsure of an image or skipped it. Arguments as of `timed_votes`."""
    votes = count_votes(votes_of(task.annotations, names), MIN_SECONDS).votes
    return sum(vote.kind in (UNSURE, SKIPPED) for vote in votes)


def ratings_of(voted: Iterable[tuple[Task, Sequence[TimedVote]]], group_column: str | None) -> list[Rating]:
    """The ratings of tasks in the order in which people compare them: planted repeats last.

    Votes of deleted accounts are left out, because they cannot be told apart.

    Args:
        voted: each task with its votes.
        group_column: the column of the tasks that holds the group; None: every image is its own group.
    """
    ordered = sorted(voted, key=lambda pair: bool(pair[0].repeat_of))
    return [
        Rating(
            item=task.repeat_of or task.sha256 or f"task {task.id}",
            annotator=vote.annotator,
            class_name=vote.class_name,
            group=str(task.data.get(group_column) or "") if group_column else "",
            made_at=vote.at,
        )
        for task, votes in ordered
        for vote in votes
        if vote.annotator != DELETED
    ]


def label_agreement(
    voted: Iterable[tuple[Task, Sequence[TimedVote]]], group_column: str | None, taxonomy: Taxonomy
) -> LabelAgreement | None:
    """The figures that a dataset keeps; None if no image was labeled by two people. Arguments as of `ratings_of`."""
    ratings = ratings_of(voted, group_column)
    people: dict[str, set[str]] = {}
    for rating in ratings:
        people.setdefault(rating.item, set()).add(rating.annotator)
    if max(map(len, people.values()), default=0) < 2:
        return None
    return _kept(measure(tabulate(ratings, taxonomy.names), taxonomy))


def _kept(found: Agreement) -> LabelAgreement:
    values: dict[str, object] = {}
    for name, estimate in (
        ("agreement", found.pairwise),
        ("alpha", found.alpha),
        ("weighted_alpha", found.weighted_alpha or Estimate(None)),
        ("macro_f1", found.macro_f1),
    ):
        values[name] = _rounded(estimate.value)
        if estimate.low is not None and estimate.high is not None:
            values[f"{name}_interval"] = (_rounded(estimate.low), _rounded(estimate.high))
    people = sum(shared > 0 for _, shared in found.by_annotator.values())
    return LabelAgreement.model_validate({"images": found.shared, "people": people, "groups": found.groups, **values})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
