import csv
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pelagia.errors import SurveyError
from pelagia.model.decision import Verdict
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey
from pelagia.system.files import printable
from pelagia_inference.exports.results import CSV, FILES, write_results

CLASSES = ("copepod", "detritus", "medusa", "øre, 1")
SETTINGS = {"size": 64, "batch": 8}


def csv_of(survey):
    return write_results(survey, [CSV])[CSV]


def writing(folder, **changes):
    options = {"model_sha256": "f" * 64, "classes": CLASSES, "settings": SETTINGS} | changes
    return Survey.open_for_writing(folder, **options)


def probabilities(seed):
    return np.random.default_rng(seed).dirichlet(np.ones(len(CLASSES))).astype(np.float32)


def rows(count=5):
    good = [Prediction(f"{at}.png", f"/in/{at}.png", f"s{at}", probabilities=probabilities(at)) for at in range(count)]
    return [*good, Prediction("bad.png", "/in/bad.png", reason="undecodable", message="a truncated PNG")]


def fault(action):
    with pytest.raises(SurveyError) as caught:
        action()
    return str(caught.value)


@pytest.fixture
def survey(tmp_path):
    """A finished survey of five images and one that failed."""
    with writing(tmp_path / "s") as made:
        made.add(rows())
    return tmp_path / "s"


# Rows


def test_what_is_written_is_read_back(survey):
    with Survey.open(survey) as read:
        found = list(read)
        assert read.classes == CLASSES
        assert len(read) == 6
    assert [one.path for one in found] == ["0.png", "1.png", "2.png", "3.png", "4.png", "bad.png"]
    for one, wanted in zip(found, rows(), strict=True):
        assert (one.path, one.file, one.sha256, one.reason, one.message, one.ok) == (
            wanted.path, wanted.file, wanted.sha256, wanted.reason, wanted.message, wanted.ok
        )  # fmt: skip
        assert one.probabilities is wanted.probabilities or np.array_equal(one.probabilities, wanted.probabilities)


def test_a_path_that_is_there_already_is_replaced(survey):
    with writing(survey) as again:
        again.add([Prediction("bad.png", "/in/bad.png", "s", probabilities=probabilities(9))])
        assert len(again) == 6
        assert again.counts_by_reason() == {}


def test_images_are_counted_by_class_and_by_reason(survey):
    with Survey.open(survey) as read:
        expected = [CLASSES[int(probabilities(at).argmax())] for at in range(5)]
        assert read.counts_by_class() == {name: expected.count(name) for name in set(expected)}
        assert read.counts_by_reason() == {"undecodable": 1}


def test_what_is_done_is_known_also_among_thousands(survey):
    with Survey.open(survey) as read:
        paths = [f"{at}.png" for at in range(2000)]
        assert read.done([*paths, "bad.png", "'; DROP TABLE images; --"]) == {*paths[:5], "bad.png"}
        assert read.done([]) == set()


def test_what_could_not_be_read_is_forgotten_before_it_is_tried_again(survey):
    with writing(survey) as again:
        again.add([Prediction(reason, "/in", reason=reason, message="no") for reason in ("missing", "unreadable")])
        assert len(again) == 8
        again.forget_transient()
        assert [one.path for one in again] == ["0.png", "1.png", "2.png", "3.png", "4.png", "bad.png"]


@pytest.mark.parametrize(
    "path", ["ø/桡足类.png", "a,b;c.png", "new\nline.png", "-x.png", "'quote\".png", os.fsdecode(b"caf\xe9.png")]
)
def test_odd_names_are_kept_and_written_to_the_csv(tmp_path, path):
    with writing(tmp_path / "s") as made:
        made.add([Prediction(path, f"/in/{path}", "s", probabilities=probabilities(0), columns={"ø": "\n"})])
        with csv_of(made).open(encoding="utf-8-sig", newline="") as file:
            (row,) = csv.DictReader(file)
    guard = "'" if path.startswith("-") else ""
    assert row["path"] == guard + printable(path)
    assert row["ø"] == "\n"


def test_a_survey_from_before_control_characters_were_escaped_is_resumed(tmp_path):
    names = ["a\x1b[31m.png", "new\nline.png", "plain.png", "both\x07.png"]
    with writing(tmp_path / "s") as made:
        made.add([Prediction(path, "/in", "s", probabilities=probabilities(0)) for path in names])
    with closing(sqlite3.connect(tmp_path / "s" / JOURNAL_FILE)) as db, db:
        db.execute("DELETE FROM meta WHERE key = 'names'")
        for name in names:
            db.execute("UPDATE images SET path = ? WHERE path = ?", (name, printable(name)))
    with Survey.open(tmp_path / "s") as read:
        assert {one.path for one in read} == set(names)
    with writing(tmp_path / "s") as again:
        assert again.done([printable(name) for name in names]) == {printable(name) for name in names}
        assert len(again) == 4
        assert again.meta["names"] == "printable"
    with writing(tmp_path / "s") as again:
        assert len(again) == 4


def test_a_batch_that_cannot_be_written_is_not_kept_and_the_next_one_is(tmp_path):
    with writing(tmp_path / "s") as made:
        with pytest.raises(SurveyError):
            made.add([*rows(2), Prediction("x.png", "/x", sha256=None)])  # type: ignore[arg-type]
        assert len(made) == 0
        made.add(rows(2))
        assert len(made) == 3


# The CSV


def test_the_csv_has_one_row_an_image_with_the_next_classes(tmp_path):
    with writing(tmp_path / "s", classes=("a", "b", "c", "d")) as made:
        good = np.array([0.1, 0.6, 0.3, 0], np.float32)
        raw = {"path": "raw", "station": ""}
        made.add([Prediction("1.png", "/1", "s", probabilities=good, columns={"station": "S1"})])
        made.add([Prediction("0.png", "/0", reason="empty", message="the file has no bytes", columns=raw)])
        path = csv_of(made)
    assert path.read_bytes().decode("utf-8-sig") == (
        "path,status,class,probability,class_2,probability_2,class_3,probability_3,reason,message,survey_path,station\n"
        "0.png,failed,,,,,,,empty,the file has no bytes,raw,\n"
        "1.png,ok,b,0.600000,c,0.300000,a,0.100000,,,,S1\n"
    )


def test_a_model_of_two_classes_has_no_third(tmp_path):
    with writing(tmp_path / "s", classes=("a", "b")) as made:
        made.add([Prediction("1.png", "/1", "s", probabilities=np.array([0.5, 0.5], np.float32))])
        assert csv_of(made).read_text(encoding="utf-8-sig") == (
            "path,status,class,probability,class_2,probability_2,reason,message\n1.png,ok,a,0.500000,b,0.500000,,\n"
        )


def test_the_order_of_writing_does_not_show_in_the_csv(tmp_path):
    for name, order in (("a", 1), ("b", -1)):
        with writing(tmp_path / name) as made:
            for one in rows()[::order]:
                made.add([one])
            csv_of(made)
    assert (tmp_path / "a" / FILES["csv"]).read_bytes() == (tmp_path / "b" / FILES["csv"]).read_bytes()


# Whose it is


def test_a_survey_goes_on_with_the_same_settings(survey):
    with writing(survey, settings=dict(reversed(SETTINGS.items()))) as again:
        assert len(again) == 6


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model_sha256": "0" * 64}, f"model ({'f' * 64}, this is {'0' * 64})"),
        ({"classes": ("a",)}, 'list of classes (["copepod", "detritus", "medusa", "\\u00f8re, 1"], this is ["a"])'),
        ({"settings": {}}, 'set of settings ({"batch": 8, "size": 64}, this is {})'),
    ],
)
def test_a_survey_refuses_what_is_not_its_own(survey, changes, what):
    assert fault(lambda: writing(survey, **changes)) == (
        f"the survey {survey} was made with another {what}: choose a new --out folder"
    )


def test_a_survey_of_a_later_schema_is_refused(survey):
    with sqlite3.connect(survey / JOURNAL_FILE) as db:
        db.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
    db.close()
    assert fault(lambda: Survey.open(survey)) == (
        f"the survey {survey} was made by a newer Pelagia: it has schema 3, and this Pelagia reads 1 and 2; update "
        "Pelagia, or choose a new --out folder"
    )


# Verdicts


def deciding(folder):
    return writing(folder, decides=True)


def test_a_verdict_and_a_score_are_kept_and_counted(tmp_path):
    said = [Verdict("accepted", "copepod", "class"), Verdict("rolled_up", "Animalia", "kingdom"), Verdict("unknown")]
    made = [
        replace(one, verdict=verdict, unknown=at / 8)
        for at, (one, verdict) in enumerate(zip(rows(3), said, strict=False))
    ]
    with deciding(tmp_path / "s") as survey:
        survey.add([*made, rows(0)[0]])
        assert survey.counts_by_verdict() == dict.fromkeys(said, 1)
        csv_of(survey)
    with Survey.open(tmp_path / "s") as survey:
        found = {one.path: (one.verdict, one.unknown) for one in survey}
    assert [found[one.path] for one in made] == [(one.verdict, one.unknown) for one in made]
    assert found["bad.png"] == (Verdict(), None)
    table = list(csv.DictReader((tmp_path / "s" / FILES["csv"]).open(encoding="utf-8-sig")))
    names = ("path", "decision", "accepted_as", "accepted_rank", "unknown_score")
    assert [tuple(row[name] for name in names) for row in table] == [
        ("0.png", "accepted", "copepod", "class", "0.000000"),
        ("1.png", "rolled_up", "Animalia", "kingdom", "0.125000"),
        ("2.png", "unknown", "", "", "0.250000"),
        ("bad.png", "", "", "", ""),
    ]


def test_a_survey_of_a_model_that_decides_nothing_is_as_it_was(survey):
    with sqlite3.connect(survey / JOURNAL_FILE) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == ("1",)
        assert len(db.execute("SELECT * FROM images").fetchone()) == 10
    db.close()
    with Survey.open(survey) as opened:
        assert opened.counts_by_verdict() == {}
        assert "decision" not in opened.columns().header
    with writing(survey) as again:
        again.add(rows(7))
        assert len(again) == 8


def test_an_older_survey_is_not_continued_with_a_model_that_decides(survey):
    assert fault(lambda: writing(survey, model_sha256="e" * 64, decides=True)).startswith(
        f"the survey {survey} was made with another model ({'f' * 64}, this is {'e' * 64})"
    )


def test_a_column_of_the_surveys_own_may_bear_the_name_of_a_verdicts(tmp_path):
    with deciding(tmp_path / "s") as survey:
        survey.add([replace(rows(1)[0], columns={"unknown_score": "high"}, unknown=1.0)])
        for made in write_results(survey, ("csv", "parquet")).values():
            assert made.is_file()
        header = survey.columns().header
    assert header[-1] == "survey_unknown_score"


# Damage


def test_a_missing_survey_names_the_command_that_makes_one(tmp_path):
    assert fault(lambda: Survey.open(tmp_path)) == (
        f"there is no survey in {tmp_path}: make one with `pelagia classify MODEL.onnx INPUT --out {tmp_path}`"
    )


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "x").touch()
    assert fault(lambda: writing(tmp_path)) == f"{tmp_path} holds other files but no survey: name a new folder"


@pytest.mark.parametrize("name", ["x", "x/deeper"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, name):
    (tmp_path / "x").touch()
    assert fault(lambda: writing(tmp_path / name)) == (
        f"{tmp_path / name} is a file, or is inside one: name a folder for the survey"
    )


@pytest.mark.parametrize("action", [writing, Survey.open])
def test_garbage_in_the_place_of_the_survey_is_refused(tmp_path, action):
    (tmp_path / JOURNAL_FILE).write_bytes(b"garbage" * 1000)
    assert fault(lambda: action(tmp_path)) == (
        f"{tmp_path / JOURNAL_FILE} is damaged or not a survey of Pelagia (file is not a database): "
        "copy it again from a backup, or classify into a new folder"
    )
    assert (tmp_path / JOURNAL_FILE).read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("statement", ["CREATE TABLE x (y)", "CREATE TABLE meta (a); CREATE TABLE images (b)"])
def test_a_database_of_others_is_refused(tmp_path, statement):
    with sqlite3.connect(tmp_path / JOURNAL_FILE) as db:
        db.executescript(statement)
    db.close()
    assert f"{tmp_path / JOURNAL_FILE} is " in fault(lambda: Survey.open(tmp_path))
    assert "not a survey of Pelagia" in fault(lambda: Survey.open(tmp_path))


def test_an_empty_file_that_a_kill_left_becomes_a_survey(tmp_path):
    (tmp_path / JOURNAL_FILE).touch()
    assert (
        fault(lambda: Survey.open(tmp_path))
        == f"{tmp_path / JOURNAL_FILE} is not a survey of Pelagia: choose another folder"
    )
    with writing(tmp_path) as made:
        assert len(made) == 0


def test_a_survey_that_was_cut_while_it_was_copied_is_one_line(tmp_path):
    with writing(tmp_path) as made:
        made.add(rows(2000))
    data = (tmp_path / JOURNAL_FILE).read_bytes()
    for length in range(100, len(data), len(data) // 40):
        (tmp_path / JOURNAL_FILE).write_bytes(data[:length])
        with pytest.raises(SurveyError, match=r"damaged|not a survey"), Survey.open(tmp_path) as read:
            list(read)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, as_nobody):
    tmp_path.chmod(0o555)
    with pytest.raises(SurveyError) as caught:
        as_nobody(lambda: writing(Path("s")))
    assert str(caught.value) == "cannot make the survey s: Permission denied; name another folder"


def test_a_survey_that_cannot_be_written_is_one_line(survey, tmp_path, as_nobody):
    (survey / JOURNAL_FILE).chmod(0o444)
    survey.chmod(0o555)
    with pytest.raises(SurveyError) as caught:
        as_nobody(lambda: writing(Path("s")))
    assert str(caught.value) == (
        "cannot use s/survey.sqlite: attempt to write a readonly database; check the disk and its permissions, "
        "then run the same command again"
    )


def test_a_finished_survey_is_one_file_that_can_be_read_where_nothing_can_be_written(survey, as_nobody):
    assert os.listdir(survey) == [JOURNAL_FILE]
    (survey / JOURNAL_FILE).chmod(0o444)
    survey.chmod(0o555)

    def read():
        with Survey.open(Path("s")) as opened:
            return len(list(opened)), opened.counts_by_reason()

    assert as_nobody(read) == (6, {"undecodable": 1})
