from __future__ import annotations

from typing import Any

from pelagia_labeling.tasks.consensus import decide
from pelagia_labeling.tasks.interface import class_result, unsure_result

NAMES = {1: "anna@sea", 2: "ben@sea", 3: "cleo@sea"}


def vote(by: int, class_name: str = "", *, unsure: bool = False, skip: bool = False, at: int = 0) -> dict[str, Any]:
    result = (class_result(class_name) if class_name else []) + (unsure_result() if unsure else [])
    return {
        "id": at,
        "completed_by": by,
        "result": result,
        "was_cancelled": skip,
        "updated_at": f"2026-01-01T00:00:{at:02d}Z",
    }


def test_one_vote_decides_and_has_its_annotator() -> None:
    consensus = decide([vote(1, "copepod")], NAMES)
    assert (consensus.class_name, consensus.annotators, consensus.agreement) == ("copepod", "anna@sea", 1.0)


def test_two_of_three_are_a_majority() -> None:
    consensus = decide([vote(1, "copepod"), vote(2, "medusa"), vote(3, "copepod")], NAMES)
    assert consensus.class_name == "copepod"
    assert consensus.annotators == "anna@sea;ben@sea;cleo@sea"
    assert round(consensus.agreement, 2) == 0.67


def test_a_draw_is_disputed_and_names_the_votes() -> None:
    consensus = decide([vote(1, "copepod"), vote(2, "medusa")], NAMES)
    assert (consensus.class_name, consensus.reason) == ("", "disputed")
    assert consensus.votes_as_text == "anna@sea: copepod, ben@sea: medusa"


def test_a_majority_below_the_wanted_agreement_is_disputed() -> None:
    votes = [vote(1, "copepod"), vote(2, "medusa"), vote(3, "copepod")]
    assert decide(votes, NAMES, min_agreement=0.8).reason == "disputed"


def test_a_person_who_changed_the_label_has_one_vote() -> None:
    consensus = decide([vote(1, "medusa", at=1), vote(1, "copepod", at=2), vote(2, "copepod", at=0)], NAMES)
    assert (consensus.class_name, len(consensus.votes)) == ("copepod", 2)


def test_a_later_skip_takes_the_vote_back() -> None:
    assert decide([vote(1, "medusa", at=1), vote(1, skip=True, at=2)], NAMES).reason == "skipped"


def test_unsure_and_skipped_votes_name_no_class() -> None:
    assert decide([vote(1, "medusa", unsure=True)], NAMES).reason == "unsure"
    assert decide([vote(1, unsure=True), vote(2, skip=True)], NAMES).reason == "unsure"
    assert decide([vote(1, "medusa", skip=True)], NAMES).reason == "skipped"
    assert decide([vote(1, "medusa", unsure=True), vote(2, "copepod")], NAMES).class_name == "copepod"


def test_no_annotation_and_an_empty_one_are_unlabelled() -> None:
    assert decide([], NAMES).reason == "unlabelled"
    assert decide([vote(1)], NAMES).reason == "unlabelled"


def test_a_deleted_account_still_has_a_name() -> None:
    assert decide([vote(77, "medusa")], NAMES).annotators == "account 77"
