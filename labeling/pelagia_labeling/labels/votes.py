"""What each person said of an image: the annotations of a task, in one form for everything that reads labels.

Pull, agreement, status and the history of labels read annotations only through `votes_of`.

Invariant: a vote belongs to the person who gave its present class. Label Studio's community edition keeps no history of
an annotation: it stores who made it (``completed_by``), who saved it last (``updated_by``) and both times. If another
account saved it later than it was made, that account is the voter. A program that submits in somebody's name makes and
saves the annotation at one moment, so the vote is that person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pelagia_labeling.tasks.cells_field import read_cells
from pelagia_labeling.tasks.interface import read_result
from pelagia_labeling.tasks.sheet_crops import CROPS

NAMED, UNSURE, SKIPPED, EMPTY = "named", "unsure", "skipped", "empty"
Kind = Literal["named", "unsure", "skipped", "empty"]

MIN_SECONDS = 0.3
"""A label that was submitted in less time is a key that was held or pressed twice. About 0.3 seconds is the shortest
reaction of a person who waits for one picture and has one key. Labels by a held key in Label Studio 1.23 took 0.05 to
0.29 seconds."""

META = "pelagia"
"""Key, in the ``meta`` of an annotation's result, of what the sheet page says of how the label came to be."""

UNSEEN = "bisection"
"""How a label came to be that was accepted without its image being shown: by the search for where a class ends."""

_ONE_MOMENT = 1.0
"""Seconds between making and saving an annotation that belong to one request of a program."""


@dataclass(frozen=True)
class Vote:
    """One annotation.

    Attributes:
        annotator: e-mail address of the person who gave the present class, or ``account 7`` if the account was deleted.
        account: number of the account; 0 if it was deleted.
        class_name: the class that the person named; empty unless ``kind`` is "named".
        kind: "named"; "unsure"; "skipped"; or "empty", an annotation without a class.
        made_at: when the annotation was made, ISO 8601 as the server writes it.
        changed_at: when it was last changed.
        seconds: how long the page was open; None if the server does not know, as for annotations made by a program.
        from_prediction: whether the annotation was made from a pre-label (the person may have changed it).
        annotation: number of the annotation.
        replaced: who made the annotation, if another person changed it later; else empty.
        crops: number of crops on the page: 1, or those of the sheet.
        unseen: whether the label was accepted without its image being shown (`UNSEEN`).
        cells: the number of cells, as the person typed it; None if the field is empty.
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
    replaced: str = ""
    crops: int = 1
    unseen: bool = False
    cells: float | None = None

    @property
    def in_bulk(self) -> bool:
        """Whether it was accepted together with others, without opening its task: in the table, or by `UNSEEN`."""
        return (self.from_prediction and self.seconds is None) or self.unseen

    def too_fast(self, min_seconds: float) -> bool:
        """Whether it was submitted on the page in less than this time. A program's annotation has no time."""
        return self.seconds is not None and self.seconds < min_seconds


def votes_of(annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> list[Vote]:
    """All votes of a task, in the order of their last change.

    Args:
        annotations: the task's annotations, as the server's API returns them.
        names: account number -> name of the person.
    """
    votes = [_vote(annotation, names) for annotation in annotations]
    return sorted(votes, key=lambda vote: (vote.changed_at, vote.annotation))


def _vote(annotation: Mapping[str, Any], names: Mapping[int, str]) -> Vote:
    maker, account = _number(annotation.get("completed_by")), _voter(annotation)
    class_name, unsure = read_result(annotation.get("result"))
    kind: Kind = "named" if class_name else "empty"
    if annotation.get("was_cancelled"):
        kind = "skipped"
    elif unsure:
        kind = "unsure"
    seconds = annotation.get("lead_time")
    return Vote(
        annotator=_name(account, names),
        account=account,
        class_name=class_name if kind == NAMED else "",
        kind=kind,
        made_at=str(annotation.get("created_at") or ""),
        changed_at=str(annotation.get("updated_at") or ""),
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        from_prediction=bool(annotation.get("parent_prediction")),
        annotation=int(annotation.get("id") or 0),
        replaced=_name(maker, names) if maker != account else "",
        crops=int(annotation.get(CROPS) or 1),
        unseen=any(_how(region) == UNSEEN for region in annotation.get("result") or ()),
        cells=read_cells(annotation.get("result")),
    )


def _how(region: Mapping[str, Any]) -> str:
    """How the sheet page made a label; empty for any other label.

    Label Studio keeps the mark when a person opens the task and saves it, and writes that the origin is manual: then a
    person has seen the image.
    """
    if region.get("origin") == "manual":
        return ""
    said = (region.get("meta") or {}).get(META)
    return str(said.get("how") or "") if isinstance(said, Mapping) else ""


def _voter(annotation: Mapping[str, Any]) -> int:
    """The account that gave the present class: the one that saved it later, or else the one that made it."""
    maker, changer = _number(annotation.get("completed_by")), _number(annotation.get("updated_by"))
    made, changed = _time(annotation.get("created_at")), _time(annotation.get("updated_at"))
    if not changer or made is None or changed is None:
        return maker
    return changer if (changed - made).total_seconds() > _ONE_MOMENT else maker


def _name(account: int, names: Mapping[int, str]) -> str:
    return names.get(account) or f"account {account}"


def _number(account: Any) -> int:
    return int((account.get("id") if isinstance(account, Mapping) else account) or 0)


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
