"""The label of an image that several people annotated, by majority; or the reason why the image has no label.

Invariant: the result depends only on the arguments. Each person has one vote, the person's latest annotation. Skipped
and unsure annotations are not counted as votes. A class wins if it has more than half of the votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pelagia_labeling.tasks.votes import NAMED, SKIPPED, UNSURE, Vote, votes_of

UNLABELLED, DISPUTED = "unlabelled", "disputed"


@dataclass(frozen=True)
class Consensus:
    """The outcome for one image.

    Attributes:
        class_name: the label; empty if the image has no label.
        reason: why the image has no label; empty if it has one.
        votes: (annotator, class) for each annotator who named a class, in the order of time.
        agreement: share of the votes for the most frequent class, 0..1.
    """

    class_name: str
    reason: str
    votes: tuple[tuple[str, str], ...] = ()
    agreement: float = 0.0

    @property
    def annotators(self) -> str:
        """The annotators who named a class, sorted, separated by ``;``."""
        return ";".join(sorted({annotator for annotator, _ in self.votes}))

    @property
    def votes_as_text(self) -> str:
        """The votes as text for a message: ``anna: copepod, ben: medusa``."""
        return ", ".join(f"{annotator}: {class_name}" for annotator, class_name in self.votes)


def decide(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str], min_agreement: float = 0.0) -> Consensus:
    """The consensus of a task's annotations.

    Args:
        annotations: the task's annotations, as the server's API returns them.
        names: account number -> name of the person.
        min_agreement: least share of the votes for the winning class, 0..1; a majority is always needed.
    """
    last = _latest(votes_of(annotations, names))
    votes = [(vote.annotator, vote.class_name) for vote in last if vote.kind == NAMED]
    without_class = {vote.kind for vote in last}
    if not votes:
        return Consensus("", next((reason for reason in (UNSURE, SKIPPED) if reason in without_class), UNLABELLED))
    winner, count = Counter(class_name for _, class_name in votes).most_common(1)[0]
    share = count / len(votes)
    if share <= 0.5 or share < min_agreement:
        return Consensus("", DISPUTED, tuple(votes), share)
    return Consensus(winner, "", tuple(votes), share)


def _latest(votes: Iterable[Vote]) -> list[Vote]:
    """The latest vote of each account. A deleted account has no number: all its votes are kept."""
    return list({vote.account or -vote.annotation: vote for vote in votes}.values())
