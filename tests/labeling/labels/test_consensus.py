from __future__ import annotations

from typing import Any

import pytest

from pelagia_labeling.labels.consensus import Consensus, decide
from pelagia_labeling.labels.together import Verdict, apply_verdicts
from pelagia_labeling.tasks.interface import class_result, unsure_result
from pelagia_labeling.tasks.project import Task

NAMES = {1: "anna@sea", 2: "ben@sea", 3: "cleo@sea"}


def vote(
    by: int,
    class_name: str = "",
    *,
    unsure: bool = False,
    skip: bool = False,
    at: int = 0,
    seconds: float | None = None,
    accepted: bool = False,
) -> dict[str, Any]:
    result = (class_result(class_name) if class_name else []) + (unsure_result() if unsure else [])
    return {
        "id": at,
        "completed_by": by,
        "result": result,
        "was_cancelled": skip,
        "lead_time": seconds,
        "parent_prediction": 7 if accepted else None,
        "created_at": f"2026-01-01T00:00:{at:02d}Z",
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


def test_somebody_who_is_unsure_leaves_the_image_out_unless_most_people_name_the_class() -> None:
    named, unsure = [vote(by, "copepod") for by in (1, 2, 3)], vote(4, "medusa", unsure=True)
    one = decide([named[0], unsure], NAMES)
    assert (one.class_name, one.reason, one.agreement) == ("", "unsure", 0.5)
    two = decide([*named[:2], unsure], NAMES)
    assert (two.class_name, round(two.agreement, 2)) == ("copepod", 0.67)
    assert decide([*named[:2], unsure], NAMES, min_agreement=0.8).reason == "unsure"
    assert decide([named[0], vote(2, "medusa"), unsure], NAMES).reason == "disputed"
    assert decide([named[0], vote(4, skip=True)], NAMES).class_name == "copepod"


def test_an_image_that_nobody_opened_is_unlabelled_and_an_annotation_without_a_class_is_counted() -> None:
    assert decide([], NAMES).reason == "unlabelled"
    empty = decide([vote(1, at=3)], NAMES)
    assert (empty.reason, empty.without_choice) == ("no_choice", (3,))


@pytest.mark.parametrize("choice", [{"class_name": "medusa"}, {"unsure": True}, {"skip": True}])
@pytest.mark.parametrize("acceptor", [1, 2])
@pytest.mark.parametrize("first", ["choice", "acceptance"])
def test_a_choice_outweighs_a_pre_label_that_was_accepted_in_bulk(
    choice: dict[str, Any], acceptor: int, first: str
) -> None:
    at = (1, 2) if first == "choice" else (2, 1)
    own = vote(1, **choice, at=at[0], seconds=2.0)
    found = decide([own, vote(acceptor, "copepod", accepted=True, at=at[1])], NAMES)
    alone = decide([own], NAMES)
    assert (found.class_name, found.reason, found.votes) == (alone.class_name, alone.reason, alone.votes)
    assert [(over.account, over.class_name) for over in found.overruled] == [(acceptor, "copepod")]


def test_a_label_that_was_accepted_unseen_counts_if_nobody_chose_and_is_marked() -> None:
    unseen = vote(1, "copepod", at=2)
    unseen["result"][0]["meta"] = {"pelagia": {"how": "bisection"}}
    alone = decide([unseen], NAMES)
    assert (alone.class_name, alone.unseen) == ("copepod", True)
    unseen["result"][0]["origin"] = "manual"  # the person opened the task later and saved it
    assert not decide([unseen], NAMES).unseen
    unseen["result"][0].pop("origin")
    chosen = decide([vote(2, "medusa", at=1), unseen], NAMES)
    assert (chosen.class_name, chosen.unseen) == ("medusa", False)
    assert [one.class_name for one in chosen.overruled] == ["copepod"]


def test_a_pre_label_that_was_accepted_alone_counts() -> None:
    found = decide([vote(1, "copepod", accepted=True)], NAMES)
    assert (found.class_name, found.overruled) == ("copepod", ())
    opened = [vote(1, "medusa", at=1, seconds=2.0), vote(1, "copepod", at=2, seconds=2.0, accepted=True)]
    assert decide(opened, NAMES).class_name == "copepod"  # the person opened the task and submitted the pre-label


def test_a_label_that_is_faster_than_a_person_is_not_counted() -> None:
    hasty = vote(1, "medusa", at=2, seconds=0.12, accepted=True)
    alone = decide([hasty], NAMES, min_seconds=0.3)
    assert (alone.class_name, alone.reason) == ("", "too_fast")
    assert [(left.annotator, left.seconds) for left in alone.too_fast] == [("anna@sea", 0.12)]
    assert decide([vote(1, "copepod", at=1, seconds=1.5), hasty], NAMES, min_seconds=0.3).class_name == "copepod"
    assert decide([hasty], NAMES, min_seconds=0).class_name == "medusa"
    assert decide([vote(1, "medusa", seconds=None)], NAMES, min_seconds=0.3).class_name == "medusa"  # a program's
    assert decide([vote(1, skip=True, seconds=0.1)], NAMES, min_seconds=0.3).reason == "too_fast"


def test_a_label_belongs_to_the_person_who_changed_it_last() -> None:
    mine = vote(1, "medusa", at=1)
    changed = mine | {"updated_by": 2, "updated_at": "2026-01-01T00:00:09Z"}
    found = decide([changed], NAMES)
    assert (found.annotators, found.replaced) == ("ben@sea", (("anna@sea", "ben@sea"),))
    in_her_name = mine | {"updated_by": 2, "updated_at": "2026-01-01T00:00:01.000020Z"}  # one request of ben's program
    assert decide([in_her_name], NAMES).annotators == "anna@sea"
    again = [changed, vote(2, "copepod", at=20)]
    assert decide(again, NAMES).votes == (("ben@sea", "copepod"),)


def test_a_deleted_account_still_has_a_name() -> None:
    assert decide([vote(77, "medusa")], NAMES).annotators == "account 77"


def test_an_adjudicator_has_seen_the_image_of_a_label_that_was_accepted_unseen() -> None:
    unseen = Consensus("medusa", "", (("anna@sea", "medusa"),), 1.0, unseen=True)
    task = Task(1, {"sha256": "ab"})
    ((_, decided),), _ = apply_verdicts([(task, unseen)], {"ab": Verdict("copepod", "chief@sea")})
    assert (decided.class_name, decided.agreement, decided.unseen) == ("copepod", 0.0, False)
