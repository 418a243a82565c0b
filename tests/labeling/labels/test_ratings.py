from __future__ import annotations

from typing import Any

from pelagia.taxonomy import taxonomy_of_names
from pelagia_labeling.agreement.table import Rating
from pelagia_labeling.labels.ratings import label_agreement, ratings_of, timed_votes, without_class
from pelagia_labeling.tasks.interface import class_result, unsure_result
from pelagia_labeling.tasks.project import REPEAT_OF, Task

NAMES = {1: "anna", 2: "ben"}
DAY = "2024-05-01T10:00:00Z"


def annotation(number: int, account: int, result: list[dict[str, Any]], **others: Any) -> dict[str, Any]:
    times = {"created_at": DAY, "updated_at": DAY}
    return {"id": number, "completed_by": account, "result": result, "lead_time": 4.0, **times, **others}


def task(number: int, *annotations: dict[str, Any], **data: str) -> Task:
    return Task(number, data, list(annotations))


def test_who_is_unsure_skips_or_submits_without_looking_gives_no_rating() -> None:
    one = task(
        5,
        annotation(1, 1, class_result("medusa")),
        annotation(2, 2, unsure_result()),
        annotation(3, 3, [], was_cancelled=True),
        annotation(4, 4, class_result("copepod"), lead_time=0.1),
        sha256="aa",
    )
    (vote,) = timed_votes(one, NAMES)
    assert (vote.annotator, vote.class_name, vote.at) == ("anna", "medusa", DAY)
    assert without_class(one, NAMES) == 2


def test_a_repeat_is_a_later_rating_of_its_image_and_deleted_accounts_are_left_out() -> None:
    repeat = task(1, annotation(1, 1, class_result("copepod")), **{REPEAT_OF: "aa"}, station="ST1")
    original = task(
        9,
        annotation(2, 1, class_result("medusa")),
        annotation(3, 0, class_result("medusa")),
        sha256="aa",
        station="ST1",
    )
    voted = [(one, timed_votes(one, NAMES)) for one in (repeat, original)]
    assert ratings_of(voted, "station") == [
        Rating("aa", "anna", "medusa", "ST1", DAY),
        Rating("aa", "anna", "copepod", "ST1", DAY),
    ]
    assert label_agreement(voted, "station", taxonomy_of_names("t", ["medusa", "copepod"])) is None
