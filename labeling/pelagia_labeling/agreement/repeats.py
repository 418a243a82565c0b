"""How far a person agrees with themselves: images that the same person labeled twice without noticing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from statistics import median

import numpy as np

from pelagia_labeling.agreement.coefficients import cohen
from pelagia_labeling.agreement.resample import Estimate, estimate
from pelagia_labeling.agreement.table import Ratings, Repeat

EVERYBODY = "everybody"


@dataclass(frozen=True)
class SelfAgreement:
    """The agreement of one person with themselves.

    Attributes:
        annotator: the person; `EVERYBODY`: all people together.
        repeats: number of repeats.
        agreement: share of the repeats with the same class as the first time.
        kappa: Cohen's kappa of the first and the second class.
        days: median number of days between the two looks; None if the times are not known.
        changes: (first class, second class, number of repeats), most frequent first.
    """

    annotator: str
    repeats: int
    agreement: Estimate
    kappa: Estimate
    days: float | None
    changes: tuple[tuple[str, str, int], ...]


def self_agreement(ratings: Ratings) -> list[SelfAgreement]:
    """The self-agreement of each person with repeats, and that of all people together if there are several."""
    by_person: dict[str, list[Repeat]] = {}
    for repeat in ratings.repeats:
        by_person.setdefault(ratings.annotators[repeat.annotator], []).append(repeat)
    if len(by_person) > 1:
        by_person = {EVERYBODY: list(ratings.repeats), **dict(sorted(by_person.items()))}
    return [_of(name, repeats, ratings) for name, repeats in by_person.items()]


def _of(annotator: str, repeats: list[Repeat], ratings: Ratings) -> SelfAgreement:
    first, second = (np.array([getattr(one, name) for one in repeats], np.int64) for name in ("first", "second"))
    groups = ratings.groups[[repeat.item for repeat in repeats]]
    kappa, agreement, *_ = estimate(*cohen(first, second, len(ratings.classes)), groups)
    changed = Counter((one.first, one.second) for one in repeats if one.first != one.second).most_common()
    days = [days for repeat in repeats if (days := _days(repeat)) is not None]
    return SelfAgreement(
        annotator=annotator,
        repeats=len(repeats),
        agreement=agreement,
        kappa=kappa,
        days=round(median(days), 2) if days else None,
        changes=tuple((ratings.classes[a], ratings.classes[b], count) for (a, b), count in changed),
    )


def _days(repeat: Repeat) -> float | None:
    try:
        between = datetime.fromisoformat(repeat.second_at) - datetime.fromisoformat(repeat.first_at)
    except (TypeError, ValueError):  # no time, or only one of both has a time zone
        return None
    return between.total_seconds() / 86400
