import csv
import os

import pytest

from pelagia.system.tables import write_table


def written(tmp_path, rows, **options):
    write_table(tmp_path / "t.csv", ("path", "note"), rows, **options)
    return (tmp_path / "t.csv").read_bytes()


@pytest.mark.parametrize("guard", [True, False])
def test_ordinary_cells_are_written_as_pythons_csv_writes_them(tmp_path, guard):
    rows = [("a/b.png", 'says "yes", twice'), ("Øresund", "two\nlines"), (3, 0.1), (None, ""), (-1.5, True)]
    with (tmp_path / "plain.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "note"), *rows])
    assert written(tmp_path, rows, guard_formulas=guard) == (tmp_path / "plain.csv").read_bytes()


def test_a_mark_comes_first_if_it_is_asked_for(tmp_path):
    assert written(tmp_path, [("é", "x")], mark=True) == b"\xef\xbb\xbfpath,note\n" + "é,x\n".encode()


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@SUM(A1)", "\ta", "=cmd|' /C calc'!A0"])
def test_text_that_a_spreadsheet_would_run_has_an_apostrophe_before_it(tmp_path, text):
    assert written(tmp_path, [(text, "x")]).decode() == f"path,note\n'{text},x\n"


@pytest.mark.parametrize("text", ["-1.5", "+3", "-inf", "1e-3"])
def test_a_number_written_as_text_stays_a_number(tmp_path, text):
    assert written(tmp_path, [(text, "x")]).decode() == f"path,note\n{text},x\n"


def test_the_header_is_guarded_as_well(tmp_path):
    write_table(tmp_path / "t.csv", ("=a", "b"), [])
    assert (tmp_path / "t.csv").read_text() == "'=a,b\n"


@pytest.mark.parametrize("text", ["=1+1", "-a", "@x", "\ta", "'=1", " a ", 'a"b', "a\nb"])
def test_a_table_that_is_read_again_gives_each_text_back_as_it_was(tmp_path, text):
    written(tmp_path, [(text, text)], guard_formulas=False)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file, strict=True)) == [["path", "note"], [text, text]]


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "a\nb"])
def test_a_line_end_within_a_cell_is_always_the_same(tmp_path, guard, text):
    assert written(tmp_path, [(text, "x")], guard_formulas=guard) == b'path,note\n"a\nb",x\n'


@pytest.mark.parametrize("guard", [True, False])
def test_no_control_character_is_written(tmp_path, guard):
    rows = [("a\x1b]2;x\x07.png", "\u202eb\n\tc")]
    assert written(tmp_path, rows, guard_formulas=guard).decode() == (
        'path,note\na\\x1b]2;x\\x07.png,"\\u202eb\n\tc"\n'
    )


def test_a_table_that_fails_leaves_the_one_before(tmp_path):
    before = written(tmp_path, [("a", "b")])

    def rows():
        yield "c", "d"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        written(tmp_path, rows())
    assert (tmp_path / "t.csv").read_bytes() == before
    assert os.listdir(tmp_path) == ["t.csv"]
