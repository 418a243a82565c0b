"""The label of an image that several people annotated, by majority; or the reason why the image has no label.

Invariant: the result depends only on the arguments, by these rules:

1. A label that was submitted faster than a person can look is not counted.
2. If anybody chose for themselves, pre-labels that were accepted in bulk are not counted, whatever the order: who
   accepts a page of pre-labels does not mean to change the labels that people gave one by one.
3. Each person has one vote, the person's latest annotation.
4. A class wins if it has more than half of the votes. Who is unsure votes for no class; who skipped does not vote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pelagia_labeling.labels.votes import EMPTY, NAMED, SKIPPED, UNSURE, Vote, votes_of

UNLABELLED, DISPUTED, TOO_FAST, NO_CHOICE = "unlabelled", "disputed", "too_fast", "no_choice"


@dataclass(frozen=True, slots=True)
class CellVote:
    """The number of cells that a person typed, and the class that this person named."""

    annotator: str
    class_name: str
    cells: float


@dataclass(frozen=True)
class Consensus:
    """The outcome for one image.

    Attributes:
        class_name: the label; empty if the image has no label.
        reason: why the image has no label; empty if it has one.
        votes: (annotator, class) for each annotator who named a class, in the order of time.
        agreement: share of the people who voted, unsure people included, for the most frequent class, 0..1.
        too_fast: the annotations that rule 1 left out.
        overruled: the annotations that rule 2 left out and that name a class that nobody chose.
        replaced: (who made an annotation, who changed it later), for the annotations that were counted.
        without_choice: numbers of the annotations without a class, if they are the reason.
        unseen: whether nobody saw the image: all votes for the label were accepted without it being shown.
        cells: what people typed as the number of cells; `pelagia_labeling.labels.cells` judges it.
    """

    class_name: str
    reason: str
    votes: tuple[tuple[str, str], ...] = ()
    agreement: float = 0.0
    too_fast: tuple[Vote, ...] = ()
    overruled: tuple[Vote, ...] = ()
    replaced: tuple[tuple[str, str], ...] = ()
    without_choice: tuple[int, ...] = ()
    unseen: bool = False
    cells: tuple[CellVote, ...] = ()

    @property
    def annotators(self) -> str:
        """The annotators who named a class, sorted, separated by ``;``."""
        return ";".join(sorted({annotator for annotator, _ in self.votes}))

    @property
    def votes_as_text(self) -> str:
        """The votes as text for a message: ``anna: copepod, ben: medusa``."""
        return ", ".join(f"{annotator}: {class_name}" for annotator, class_name in self.votes)


@dataclass(frozen=True)
class Counted:
    """The votes of an image after rules 1 to 3: one for each person who counts, and what was left out."""

    votes: tuple[Vote, ...]
    too_fast: tuple[Vote, ...]
    overruled: tuple[Vote, ...]


def count_votes(votes: Sequence[Vote], min_seconds: float = 0.0) -> Counted:
    """Rules 1 to 3.

    Args:
        votes: all votes of an image, in the order of their last change.
        min_seconds: least time of a label that was submitted on the page; annotations of programs have no time.
    """
    seen = [vote for vote in votes if not vote.too_fast(min_seconds)]
    own = [vote for vote in seen if not vote.in_bulk and vote.kind != EMPTY]
    chosen = {vote.class_name for vote in own}
    overruled = [vote for vote in seen if own and vote.in_bulk and vote.kind == NAMED and vote.class_name not in chosen]
    too_fast = [vote for vote in votes if vote.too_fast(min_seconds)]
    return Counted(tuple(_latest(own or seen)), tuple(too_fast), tuple(overruled))


def decide(
    annotations: Iterable[Mapping[str, Any]],
    names: Mapping[int, str],
    min_agreement: float = 0.0,
    min_seconds: float = 0.0,
) -> Consensus:
    """The consensus of a task's annotations.

    Args:
        annotations: the task's annotations, as the server's API returns them.
        names: account number -> name of the person.
        min_agreement: least share of the votes for the winning class, 0..1; a majority is always needed.
        min_seconds: least time of a label that was submitted on the page.
    """
    counted = count_votes(votes_of(annotations, names), min_seconds)
    votes = tuple((vote.annotator, vote.class_name) for vote in counted.votes if vote.kind == NAMED)
    winner, share, reason = _majority(counted, min_agreement)
    return Consensus(
        class_name="" if reason else winner,
        reason=reason,
        votes=votes,
        agreement=share,
        too_fast=counted.too_fast,
        overruled=counted.overruled,
        replaced=tuple((vote.replaced, vote.annotator) for vote in counted.votes if vote.replaced),
        unseen=not reason and all(vote.unseen for vote in counted.votes if vote.class_name == winner),
        without_choice=tuple(vote.annotation for vote in counted.votes if reason == NO_CHOICE and vote.kind == EMPTY),
        cells=tuple(
            CellVote(vote.annotator, vote.class_name, vote.cells)
            for vote in counted.votes
            if vote.kind == NAMED and vote.cells is not None
        ),
    )


def _majority(counted: Counted, min_agreement: float) -> tuple[str, float, str]:
    """(most frequent class, its share of the voters, the reason why it is not the label); rule 4."""
    kinds = {vote.kind for vote in counted.votes}
    named = Counter(vote.class_name for vote in counted.votes if vote.kind == NAMED)
    if not named:
        by_kind = {UNSURE: UNSURE, SKIPPED: SKIPPED, EMPTY: NO_CHOICE}
        reason = next((by_kind[kind] for kind in by_kind if kind in kinds), UNLABELLED)
        return "", 0.0, TOO_FAST if counted.too_fast and reason in (NO_CHOICE, UNLABELLED) else reason
    winner, count = named.most_common(1)[0]
    unsure = sum(vote.kind == UNSURE for vote in counted.votes)
    share = count / (named.total() + unsure)
    if share > 0.5 and share >= min_agreement:
        return winner, share, ""
    among_named = count / named.total()
    return winner, share, UNSURE if among_named > 0.5 and among_named >= min_agreement else DISPUTED


def _latest(votes: Iterable[Vote]) -> list[Vote]:
    """The latest vote of each account. A deleted account has no number: all its votes are kept."""
    return list({vote.account or -vote.annotation: vote for vote in votes}.values())
