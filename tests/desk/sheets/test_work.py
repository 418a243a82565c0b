"""Only what was shown is accepted, and everything can be taken back."""

from __future__ import annotations

import numpy as np
import pytest

from pelagia.errors import StudioError
from pelagia.taxonomy import taxonomy_of_names
from pelagia_desk.sheets import similar
from pelagia_desk.sheets import work as works
from pelagia_desk.sheets.crops import load_crops
from pelagia_desk.sheets.grow import Grower, following, upper_limit
from pelagia_desk.sheets.work import ALL_GROUPS, Refusal, Sheet, Work
from pelagia_labeling.sheets.interface import build_sheet_interface
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import Project


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests do not look at the pages."""
    monkeypatch.setattr(works, "SHORTEST_LOOK", 0.0)


def sheet_of(work: Work, group: str = "copepod", count: int = 20, kept: tuple[str, ...] = ()) -> Sheet:
    return work.next_sheet("tab", group, "similar", "", count, kept)


def test_a_sheet_gives_labels_to_what_was_displayed_and_asks_again_for_the_rest(work: Work) -> None:
    sheet = sheet_of(work)
    tasks = [crop.task for crop in sheet.crops]
    answer = work.accept(sheet.id, "copepod", tasks[:15], tasks[:2], 5.0)
    assert (answer["accepted"], answer["not_shown"], len(answer["odd"])) == (13, 5, 2)
    labels = {entry.label.task: entry.label for entry in work.journal.to_send(100)}
    assert set(labels) == set(tasks[2:15])
    assert {label.how for label in labels.values()} == {"seen"}
    assert all(label.prediction == label.task + 5000 for label in labels.values())
    again = {crop.task for crop in sheet_of(work, count=200).crops}
    assert set(tasks[15:]) <= again
    assert not again & set(tasks[:15])  # the odd ones are offered under another class


def test_crops_that_were_not_sent_are_refused_and_nothing_is_written(work: Work) -> None:
    sheet = sheet_of(work)
    other = sheet_of(work, "medusa", kept=(sheet.id,))
    tasks = [crop.task for crop in sheet.crops]
    for displayed, odd in (([*tasks, other.crops[0].task], []), (tasks, [other.crops[0].task]), ([999], [])):
        with pytest.raises(Refusal, match="not shown on it"):
            work.accept(sheet.id, "copepod", displayed, odd, 5.0)
    with pytest.raises(Refusal, match="too old"):
        work.accept("invented", "copepod", tasks, [], 5.0)
    with pytest.raises(Refusal, match="no class 'whale'"):
        work.accept(sheet.id, "whale", tasks, [], 5.0)
    with pytest.raises(Refusal, match="not set aside"):
        work.name(sheet.id, tasks[0], "copepod", 1.0)
    assert work.journal.waiting() == 0


def test_a_sheet_is_accepted_once_and_not_faster_than_one_can_look(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = sheet_of(work)
    tasks = [crop.task for crop in sheet.crops]
    monkeypatch.setattr(works, "SHORTEST_LOOK", 0.7)
    with pytest.raises(Refusal, match="too quick"):
        work.accept(sheet.id, "copepod", tasks, [], 30.0)  # the clock of the server counts, too
    monkeypatch.setattr(works, "SHORTEST_LOOK", 0.0)
    work.accept(sheet.id, "copepod", tasks, [], 30.0)
    with pytest.raises(Refusal, match="accepted already"):
        work.accept(sheet.id, "copepod", tasks, [], 30.0)


def test_undo_takes_back_names_then_the_sheet_and_opens_it_again(work: Work) -> None:
    sheet = sheet_of(work)
    tasks = [crop.task for crop in sheet.crops]
    odd = work.accept(sheet.id, "copepod", tasks, tasks[:1], 5.0)["odd"][0]
    assert "copepod" not in odd["likely"]
    work.name(sheet.id, tasks[0], "medusa", 2.0)
    assert work.by_task[tasks[0]].label == ("named", "medusa")
    assert work.undo()["kind"] == "named"
    assert work.by_task[tasks[0]].label is None
    back = work.undo()
    assert (back["sheet"]["sheet"], back["marked"]) == (sheet.id, tasks[:1])
    assert work.journal.waiting() == 0
    assert all(crop.to_do and crop.suggestion == "copepod" for crop in sheet.crops)
    with pytest.raises(Refusal, match="nothing to take back"):
        work.undo()


def test_what_waits_and_what_was_set_aside_is_known_after_a_restart(work: Work) -> None:
    sheet = sheet_of(work)
    tasks = [crop.task for crop in sheet.crops]
    work.accept(sheet.id, "copepod", tasks, tasks[:3], 5.0)
    for crop in work.crops:
        crop.label, crop.rejected, crop.suggestion = None, set(), crop.home
    work._apply_journal()
    assert {crop.task for crop in work.crops if crop.label == ("named", "copepod")} == set(tasks[3:])
    assert all(work.by_task[task].suggestion in ("medusa", "detritus") for task in tasks[:3])


def test_on_a_sheet_of_all_groups_each_crop_gets_the_class_under_which_it_was_sent(work: Work) -> None:
    sheet = sheet_of(work, ALL_GROUPS, 60)
    sent = {crop["id"]: crop["class"] for crop in work.sheet_as_json(sheet)["crops"]}
    order = list(sent.values())
    assert order == sorted(order, key=order.index)  # the crops of a class are together
    assert len(set(order)) == 2
    tasks = list(sent)
    work.by_task[tasks[5]].suggestion = "detritus"  # what changes after the sheet was sent does not count
    answer = work.accept(sheet.id, "detritus", tasks[:50], tasks[:2], 5.0)
    assert (answer["accepted"], answer["not_shown"], answer["left"]) == (48, 10, 72)
    labels = {entry.label.task: entry.label.class_name for entry in work.journal.to_send(100)}
    assert labels == {task: sent[task] for task in tasks[2:50]}
    assert [(odd["not"], odd["again"]) for odd in answer["odd"]] == [(sent[task], False) for task in tasks[:2]]

    # the odd ones come after all others, and those that are odd again are to be named
    rest = sheet_of(work, ALL_GROUPS, 200)
    shown = work.sheet_as_json(rest)["crops"]
    assert {crop["id"] for crop in shown[-2:]} == set(tasks[:2])
    assert all(crop["class"] != sent.get(crop["id"]) for crop in shown[-2:])
    everything = [crop.task for crop in rest.crops]
    again = work.accept(rest.id, "", everything, tasks[:1], 5.0)["odd"]
    assert [(odd["id"], odd["again"]) for odd in again] == [(tasks[0], True)]
    assert set(again[0]["likely"]).isdisjoint({sent[tasks[0]], again[0]["not"]})


def test_a_pre_label_that_the_most_similar_crops_contradict_is_not_the_first_suggestion(work: Work) -> None:
    names = [crop.guess for crop in work.crops]
    own = np.arange(len(names))
    matrix = work.vectors.matrix
    found = similar.contradicted(matrix, names, [0.7] * len(names), matrix, names, own)
    wrong = {crop.row: crop.path.split("_")[0] for crop in work.crops if not crop.path.startswith(crop.guess)}
    assert found == wrong
    assert len(wrong) == 12
    sure = similar.contradicted(matrix, names, [1.0] * len(names), matrix, names, own)
    assert len(sure) < len(wrong)  # it takes more to contradict a model that is sure
    assert not similar.contradicted(matrix[:1], names[:1], [0.7], matrix[:1], names[:1], own[:1])


def test_labels_of_colleagues_take_their_crops_off_the_sheets_to_come(work: Work) -> None:
    sheet = sheet_of(work)
    tasks = [crop.task for crop in sheet.crops]
    work.accept(sheet.id, "copepod", tasks, [], 5.0)
    work.undo()
    one, other = [crop.task for crop in work.crops if crop.task not in tasks][:2]
    theirs = {tasks[0]: ("named", "medusa"), one: ("named", "medusa"), other: ("unsure", ""), 9999: ("unsure", "")}
    assert work.labeled_elsewhere(theirs) == 2
    assert work.labeled_elsewhere(theirs) == 0
    # an own label that was just taken back may still be read from the server
    assert work.by_task[tasks[0]].label is None
    assert not {one, other} & {crop.task for crop in sheet_of(work, ALL_GROUPS, 200).crops}


def test_two_sheets_of_one_tab_have_different_crops_and_every_order_has_all(work: Work) -> None:
    first = sheet_of(work)
    second = sheet_of(work, kept=(first.id,))
    assert len(first.crops) == len(second.crops) == 20
    assert not {crop.task for crop in first.crops} & {crop.task for crop in second.crops}
    for order in ("similar", "score", "sure", "station", "size", "cluster"):
        found = work.next_sheet("other", "copepod", order, "", 200, ()).crops
        assert len({crop.task for crop in found}) == 40
    scores = [crop.score for crop in work.next_sheet("other", "copepod", "score", "S1", 200, ()).crops]
    assert scores == sorted(scores)
    assert len(scores) == 20


@pytest.mark.parametrize("pages", [1, 2, 3, 7, 40, 1000])
def test_the_search_finds_the_end_of_what_matches_with_few_looks(pages: int) -> None:
    for end in {0, 1, pages // 3, pages - 1, pages}:
        last_yes, first_no, looks = -1, pages, 0
        while (page := following(last_yes, first_no, pages)) is not None:
            looks += 1
            last_yes, first_no = (page, first_no) if page < end else (last_yes, page)
        assert last_yes == end - 1
        assert looks <= 2 * pages.bit_length() + 1


def test_grow_accepts_what_was_not_shown_only_if_the_person_confirms_the_number(work: Work) -> None:
    grower = Grower(work)
    seed = next(crop.task for crop in work.crops if crop.path == "copepod_030.png")
    growth = grower.start("tab", "copepod", seed, True, "", 3)
    while growth["phase"] in ("search", "check"):
        shown = [crop["id"] for crop in growth["crops"]]
        wrong = [task for task in shown if not work.by_task[task].path.startswith("copepod")]
        with pytest.raises(Refusal, match="not shown"):
            grower.answer(growth["growth"], growth["page"], shown[1:], [], True, 5.0)
        growth = grower.answer(growth["growth"], growth["page"], shown, [], not wrong, 5.0)
    assert growth["unseen"] > 0
    assert growth["seen"] + growth["unseen"] >= 33  # 36 of the 40 are copepods, the others come last
    with pytest.raises(Refusal, match="number"):
        grower.accept(growth["growth"], True, growth["unseen"] - 1)
    assert work.journal.waiting() == 0
    done = grower.accept(growth["growth"], True, growth["unseen"])
    labels = [entry.label for entry in work.journal.to_send(100)]
    assert [label.how for label in labels].count("bisection") == done["unseen"] == growth["unseen"]
    assert all(work.by_task[label.task].path.startswith("copepod") for label in labels)
    assert {label.meta["checked"] for label in labels if label.how == "bisection"} == {3}
    assert {label.class_name for label in labels} == {"copepod"}


def test_grow_accepts_only_what_was_shown_if_the_person_does_not_confirm_more(work: Work) -> None:
    grower = Grower(work)
    growth = grower.start("tab", "copepod", work.crops[30].task, True, "", 3)
    displayed = set()
    while growth["phase"] in ("search", "check"):
        shown = [crop["id"] for crop in growth["crops"]]
        displayed |= set(shown)
        growth = grower.answer(growth["growth"], growth["page"], shown, [], True, 5.0)
    grower.accept(growth["growth"], False, growth["unseen"])
    assert {entry.label.task for entry in work.journal.to_send(100)} <= displayed
    assert {entry.label.how for entry in work.journal.to_send(100)} == {"seen"}


def test_the_upper_limit_of_the_error_is_that_of_wilson() -> None:
    assert upper_limit(0, 100) == pytest.approx(0.0263, abs=1e-3)
    assert upper_limit(5, 96) == pytest.approx(0.1022, abs=2e-3)
    assert upper_limit(0, 0) == 1.0


@pytest.mark.studio
def test_a_project_with_sheets_of_label_studio_is_refused(connection: Connection) -> None:
    config = build_sheet_interface(taxonomy_of_names("plankton", ["copepod"]))
    with pytest.raises(StudioError, match="was pushed with --sheets, and its sheets are labeled in Label Studio, at"):
        load_crops(connection, Project(1, "North Sea", config, tasks=0, annotations=0))
