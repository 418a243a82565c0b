"""What each person said of an image: the annotations of a task, in one form for everything that reads labels.

Pull, agreement, status and the history of labels read annotations only through `votes_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pelagia_labeling.tasks.interface import read_result

NAMED, UNSURE, SKIPPED, EMPTY = "named", "unsure", "skipped", "empty"
Kind = Literal["named", "unsure", "skipped", "empty"]


@dataclass(frozen=True)
class Vote:
    """One annotation.

    Attributes:
        annotator: e-mail address of the person, or ``account 7`` if the account was deleted.
        account: number of the account; 0 if it was deleted.
        class_name: the class that the person named; empty unless ``kind`` is "named".
        kind: "named"; "unsure"; "skipped"; or "empty", an annotation without a class.
        made_at: when the annotation was made, ISO 8601 as the server writes it.
        changed_at: when it was last changed.
        seconds: how long the page was open; None if the server does not know, as for annotations made by a program.
        from_prediction: whether the annotation was made from a pre-label (the person may have changed it).
        annotation: number of the annotation.
    """

    annotator: str
    account: int
    class_name: str
    kind: Kind
    made_at: str
    changed_at: str
    seconds: float | None
    from_prediction: bool
    annotation: int


def votes_of(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> list[Vote]:
    """All votes of a task, in the order of their last change.

    Args:
        annotations: the task's annotations, as the server's API returns them.
        names: account number -> name of the person.
    """
    votes = [_vote(annotation, names) for annotation in annotations]
    return sorted(votes, key=lambda vote: (vote.changed_at, vote.annotation))


def _vote(annotation: Mapping[str, Any], names: Mapping[int, str]) -> Vote:
    account = _account(annotation)
    class_name, unsure = read_result(annotation.get("result"))
    kind: Kind = "named" if class_name else "empty"
    if annotation.get("was_cancelled"):
        kind = "skipped"
    elif unsure:
        kind = "unsure"
    seconds = annotation.get("lead_time")
    return Vote(
        annotator=names.get(account) or f"account {account}",
        account=account,
        class_name=class_name if kind == NAMED else "",
        kind=kind,
        made_at=str(annotation.get("created_at") or ""),
        changed_at=str(annotation.get("updated_at") or ""),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        from_prediction=bool(annotation.get("parent_prediction")),
        annotation=int(annotation.get("id") or 0),
    )


def _account(annotation: Mapping[str, Any]) -> int:
    completed_by = annotation.get("completed_by")
    return int((completed_by.get("id") if isinstance(completed_by, Mapping) else completed_by) or 0)
