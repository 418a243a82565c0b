"""What several people said about one image -> one label, or the reason why there is none.

Invariant: depends on its arguments alone. One person has one vote, their latest; skipped and unsure votes name no
class; a class wins with strictly more than half of the votes that name one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pelagia_labeling.tasks.interface import read_result

SKIPPED, UNSURE, UNLABELLED, DISPUTED = "skipped", "unsure", "unlabelled", "disputed"


@dataclass(frozen=True)
class Verdict:
    """The outcome for one image.

    Attributes:
        class_name: empty where there is none; then ``reason`` says why.
        votes: (annotator, class) of those who named one, in the order they did.
        agreement: share of the votes that the first class got, 0..1.
    """

    class_name: str
    reason: str
    votes: tuple[tuple[str, str], ...] = ()
    agreement: float = 0.0

    @property
    def annotators(self) -> str:
        return ";".join(sorted({who for who, _ in self.votes}))

    @property
    def spoken(self) -> str:
        """The votes as a sentence has them: ``anna: copepod, ben: medusa``."""
        return ", ".join(f"{who}: {class_name}" for who, class_name in self.votes)


def decide(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str], min_agreement: float = 0.0) -> Verdict:
    """The verdict on a task's annotations, as the server gives them.

    Args:
        names: account number -> name.
        min_agreement: the share of the votes that the winner needs besides the majority.
    """
    votes: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    for annotation in _latest(annotations):
        class_name, unsure = read_result(annotation.get("result"))
        if annotation.get("was_cancelled"):
            others[SKIPPED] += 1
        elif unsure:
            others[UNSURE] += 1
        elif class_name:
            votes.append((_who(annotation, names), class_name))
    if not votes:
        reason = UNSURE if others[UNSURE] else SKIPPED if others[SKIPPED] else UNLABELLED
        return Verdict("", reason)
    winner, count = Counter(class_name for _, class_name in votes).most_common(1)[0]
    share = count / len(votes)
    if share <= 0.5 or share < min_agreement:
        return Verdict("", DISPUTED, tuple(votes), share)
    return Verdict(winner, "", tuple(votes), share)


def _latest(annotations: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each account's last annotation."""
    last: dict[int, Mapping[str, Any]] = {}
    for annotation in sorted(annotations, key=lambda one: (str(one.get("updated_at") or ""), int(one.get("id") or 0))):
        last[_account(annotation) or -int(annotation.get("id") or 0)] = annotation  # 0: an account that was deleted
    return list(last.values())


def _account(annotation: Mapping[str, Any]) -> int:
    by = annotation.get("completed_by")
    return int((by.get("id") if isinstance(by, Mapping) else by) or 0)


def _who(annotation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    account = _account(annotation)
    return names.get(account) or f"account {account}"
