"""A survey written out again, in each format, from its journal alone."""

import csv
import os
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from pelagia.errors import InputError, MissingExtra
from pelagia.shell import install_command
from pelagia.survey.columns import ResultColumns
from pelagia.survey.journal import JOURNAL_FILE, Prediction, Survey
from pelagia_inference.exports.results import (
    CSV,
    FILES,
    PARQUET,
    formats_of,
    formats_to_write,
    held_open,
    write_results,
)

CLASSES = ("copepod", "detritus", "medusa", "øre, 1")
parquet = pytest.importorskip("pyarrow.parquet")


def made(folder, rows):
    survey = Survey.open_for_writing(folder, model_sha256="f" * 64, classes=CLASSES, settings={})
    survey.add(rows)
    return survey


def some_rows():
    found = np.random.default_rng(0).dirichlet(np.ones(4), 5).astype(np.float32)
    own = {"station": "=S1", "depth": "5.0", "note": ""}
    good = [Prediction(f"{at}.png", "/f", "s", probabilities=row, columns=own) for at, row in enumerate(found)]
    return [*good, Prediction("bad.png", "/f", reason="empty", message="the file has no bytes")]


def test_both_formats_have_the_same_columns_and_say_the_same(tmp_path):
    with made(tmp_path / "s", some_rows()) as survey:
        files = write_results(survey, FILES)
    table = parquet.read_table(files[PARQUET])
    with files[CSV].open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert table.column_names == list(rows[0])
    for ours, theirs in zip(table.to_pylist(), rows, strict=True):
        for name, value in ours.items():
            text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else value
            assert theirs[name].removeprefix("'") == text


def test_probabilities_are_float32_and_all_else_is_text_as_the_survey_has_it(tmp_path):
    with made(tmp_path / "s", some_rows()) as survey:
        table = parquet.read_table(write_results(survey, [PARQUET])[PARQUET])
        first, *_, failed = table.to_pylist()
        expected = next(iter(survey)).probabilities
    kinds = {field.name: str(field.type) for field in table.schema}
    assert {name for name, kind in kinds.items() if kind == "float"} == {
        "probability",
        "probability_2",
        "probability_3",
    }
    assert {kind for name, kind in kinds.items() if not name.startswith("probability")} == {"string"}
    assert first["probability"] == expected.max()
    assert (first["station"], first["depth"], first["note"]) == ("=S1", "5.0", None)
    assert (failed["class"], failed["probability_3"], failed["reason"], failed["station"]) == (
        None,
        None,
        "empty",
        None,
    )


def test_a_survey_without_a_single_classified_image_is_written(tmp_path):
    with made(tmp_path / "s", some_rows()[-1:]) as survey:
        assert parquet.read_table(write_results(survey, [PARQUET])[PARQUET]).num_rows == 1


def test_rows_are_written_a_group_at_a_time_and_in_order(tmp_path):
    sure = np.array([1, 0, 0, 0], np.float32)
    with made(tmp_path / "s", [Prediction(f"{at:06}.png", "/f", probabilities=sure) for at in range(10_000)]) as survey:
        file = parquet.ParquetFile(write_results(survey, [PARQUET])[PARQUET])
    assert [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)] == [4096, 4096, 1808]
    paths = file.read(["path"])["path"].to_pylist()
    assert paths == sorted(paths)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    written = []
    for name, order in (("a", 1), ("b", -1)):
        with made(tmp_path / name, some_rows()[::order]) as survey:
            written.append(write_results(survey, [PARQUET])[PARQUET].read_bytes())
    assert written[0] == written[1]


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path):
    with made(tmp_path / "s", some_rows()) as survey:
        before = write_results(survey, [PARQUET])[PARQUET].read_bytes()
    with sqlite3.connect(tmp_path / "s" / JOURNAL_FILE) as db:
        db.execute("UPDATE images SET probabilities = x'00' WHERE path = '4.png'")
    db.close()
    with Survey.open(tmp_path / "s") as survey, pytest.raises(ValueError, match="buffer"):
        write_results(survey, [PARQUET])
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [FILES[PARQUET], JOURNAL_FILE]
    assert (tmp_path / "s" / FILES[PARQUET]).read_bytes() == before


def test_a_name_that_is_taken_gives_way_and_none_comes_twice():
    columns = ResultColumns(1, ("path", "survey_path", "depth"))
    assert columns.header == [
        "path", "status", "class", "probability", "reason", "message", "survey_survey_path", "survey_path", "depth"
    ]  # fmt: skip


def test_excel_and_pandas_read_letters_with_accents(tmp_path):
    pandas = pytest.importorskip("pandas")
    sure = np.array([0, 0, 0, 1], np.float32)
    with made(tmp_path / "s", [Prediction("Æstuaire_été.jpg", "/f", probabilities=sure)]) as survey:
        file = write_results(survey, [CSV])[CSV]
    assert file.read_bytes().startswith(b"\xef\xbb\xbfpath,")  # from the mark, Excel knows that it is UTF-8
    table = pandas.read_csv(file)
    assert (table.columns[0], table["path"][0], table["class"][0]) == ("path", "Æstuaire_été.jpg", "øre, 1")


# A file that is open in Excel on Windows


def held(monkeypatch, *names):
    """Makes files of these names impossible to replace, as Windows does while a program has them open."""
    replace = os.replace

    def refuse(source, target):
        if Path(target).name in names and Path(target).exists():
            raise PermissionError(13, "Access is denied", str(target))
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)


def test_results_are_written_beside_a_file_that_is_held_open(tmp_path, monkeypatch):
    with made(tmp_path / "s", some_rows()) as survey:
        whole = write_results(survey, FILES)[CSV].read_bytes()
        (tmp_path / "s" / FILES[CSV]).write_text("old")
        held(monkeypatch, *FILES.values(), "predictions (2).csv")
        (tmp_path / "s" / "predictions (2).csv").write_text("older")
        files = write_results(survey, FILES)
    assert {name: path.name for name, path in files.items()} == {
        CSV: "predictions (3).csv",
        PARQUET: "predictions (2).parquet",
    }
    assert files[CSV].read_bytes() == whole
    assert (tmp_path / "s" / FILES[CSV]).read_text() == "old"
    texts = held_open(files)
    assert texts[0].startswith(
        "predictions.csv is open in another program, so the results are in 'predictions (3).csv'"
    )
    assert len(texts) == 2


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    with made(tmp_path / "s", some_rows()) as survey:
        monkeypatch.setattr("os.replace", lambda source, target: (_ for _ in ()).throw(PermissionError(13, "no")))
        with pytest.raises(PermissionError):
            write_results(survey, [CSV])


# Which formats


def test_formats_are_named_one_by_one_or_with_commas():
    assert formats_of(["csv"]) == ("csv",)
    assert formats_of(["parquet,csv", "CSV"]) == ("parquet", "csv")
    for wrong in ("parket", "", "csv,"):
        with pytest.raises(InputError, match=r"there is no format '.*: choose csv or parquet"):
            formats_of([wrong])


def test_a_file_that_lies_there_is_written_as_well(tmp_path):
    (tmp_path / FILES[CSV]).touch()
    assert formats_to_write(tmp_path, [PARQUET]) == (CSV, PARQUET)
    assert formats_to_write(tmp_path / "new", [PARQUET]) == (PARQUET,)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    install_command("parquet")  # it imports what it needs
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(MissingExtra) as caught:
        formats_to_write(Path("s"), [PARQUET])
    assert str(caught.value).startswith(
        "writing predictions.parquet needs the package 'pyarrow', which is not installed; install it with: "
    )
    assert formats_to_write(Path("s"), [CSV]) == (CSV,)
