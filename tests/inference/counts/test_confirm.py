"""Labels of people in a survey: found by their bytes, else by their names."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from cli_fixtures import Pelagia
from counting import images, write_survey
from pelagia.errors import InputError
from pelagia.survey.additions import Confirmed, confirmed_of, counted_cells
from pelagia.survey.journal import Survey
from pelagia_inference.survey.confirm import Result, confirm, read_labels
from pelagia_labeling.importers.dataset import import_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_survey(tmp_path / "s", images("a", {"calanus": 4}))


def confirmed(folder: Path, table: Path, text: str) -> tuple[Result, dict[str, Confirmed]]:
    table.write_text(text)
    with Survey.open(folder, to_add=True) as survey:
        result = confirm(survey, read_labels(table, "somebody"))
        return result, confirmed_of(survey)


def test_labels_are_matched_by_path(folder: Path, tmp_path: Path) -> None:
    text = "path,class,annotator\na_calanus_0.png,acartia,Ann\na_calanus_1.png,calanus,\nelse.png,calanus,Ann\n"
    result, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert {path: (row.class_name, row.people) for path, row in found.items()} == {
        "a_calanus_0.png": ("acartia", "Ann"),
        "a_calanus_1.png": ("calanus", "somebody"),
    }
    assert list(result.lines())[1] == "1 of its 3 labeled images are not in the survey (by SHA-256, else by path)"


def test_other_bytes_with_the_same_name_are_another_image(folder: Path, tmp_path: Path) -> None:
    sha256 = b"a_calanus_1.png".hex().ljust(64, "0")
    text = f"path,sha256,class\na_calanus_0.png,{'f' * 64},acartia\nrenamed.png,{sha256},acartia\n"
    text += f"gone.png,{'e' * 64},acartia\na_calanus_1.png,{'d' * 64},acartia\n"
    result, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert list(found) == ["a_calanus_1.png"]
    assert list(result.lines())[1:] == [
        "2 of its 4 labeled images have the path of an image of the survey, but other bytes (SHA-256): "
        "a_calanus_0.png, a_calanus_1.png; they were not used. Were the files changed, or is it another survey?",
        "1 of its 4 labeled images are not in the survey (by SHA-256, else by path)",
    ]


def test_a_missing_sha256_is_no_sha256(folder: Path, tmp_path: Path) -> None:
    text = "path,sha256,class\na_calanus_0.png,NA,acartia\na_calanus_1.png,,acartia\na_calanus_2.png, nan,acartia\n"
    _, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert list(found) == ["a_calanus_0.png", "a_calanus_1.png", "a_calanus_2.png"]


def test_labels_that_contradict_each_other_are_not_used(folder: Path, tmp_path: Path) -> None:
    text = "path,class\na_calanus_0.png,acartia\na_calanus_0.png,calanus\na_calanus_1.png,\n"
    result, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert found == {}
    assert (result.contradicting, result.labels.no_class) == (1, 1)


def test_names_that_are_no_class_and_the_image_that_contradicts_are_said(folder: Path, tmp_path: Path) -> None:
    text = "path,class\na_calanus_0.png,Calanus\na_calanus_1.png,ACARTIA\na_calanus_2.png,seagull\n"
    text += "a_calanus_3.png,calanus\na_calanus_3.png,acartia\n"
    result, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert found["a_calanus_1.png"].class_name == "ACARTIA"  # never changed unasked
    assert list(result.lines())[1:] == [
        "1 images have labels of several classes in it, the first is a_calanus_3.png: none of them was used",
        "no class of the model is named 'ACARTIA' (did you mean 'acartia'?), 'seagull': each counts as a class of its "
        "own; if that is not meant, correct the names and confirm again",
    ]  # Calanus is a taxon of the model


def cells_in(folder: Path) -> dict[str, tuple[float, str]]:
    with Survey.open(folder) as survey:
        return {row.path: (row.cells, row.people) for row in counted_cells(survey)}


def test_cells_that_people_counted_come_along_and_an_empty_cell_replaces_none(folder: Path, tmp_path: Path) -> None:
    text = "path,class,people,cells\na_calanus_0.png,chaetoceros,Ann,7\na_calanus_1.png,calanus,Ann,\n"
    result, _ = confirmed(folder, tmp_path / "labels.csv", text)
    assert cells_in(folder) == {"a_calanus_0.png": (7.0, "Ann")}
    assert "people counted the cells of 1 of these images: `pelagia counts` uses their numbers" in [*result.lines()]
    later = "path,class,people,cells_counted\na_calanus_0.png,chaetoceros,Ben,\na_calanus_1.png,calanus,Ben,5.5\n"
    confirmed(folder, tmp_path / "later.csv", later)
    assert cells_in(folder) == {"a_calanus_0.png": (7.0, "Ann"), "a_calanus_1.png": (5.5, "Ben")}


def test_numbers_of_cells_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    rows = ["0.png,calanus,0", "1.png,calanus,many", "2.png,calanus,4", "2.png,calanus,5", "3.png,calanus,10001"]
    text = "path,class,cells\n" + "".join(f"a_calanus_{row}\n" for row in rows)
    result, found = confirmed(folder, tmp_path / "labels.csv", text)
    assert (len(found), cells_in(folder)) == (4, {})
    assert [*result.lines()][-2:] == [
        "1 images have several numbers of cells in it: none of them was used",
        "3 numbers of cells were not used, because they are not from 1 to 10000: line 2 (0), line 3 (many), line 6 "
        "(10001)",
    ]


def test_a_dry_run_writes_no_cells(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,class,cells\na_calanus_0.png,calanus,7\n")
    with Survey.open(folder) as survey:
        assert confirm(survey, read_labels(tmp_path / "labels.csv"), dry_run=True).cells == 1
    assert cells_in(folder) == {}


def test_a_dataset_gives_what_people_counted_and_not_the_column_of_the_input(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    for name in ("a", "b"):
        data = cv2.imencode(".png", np.full((9, 9), ord(name), np.uint8))[1].tobytes()
        (tmp_path / "crops" / f"{name}.png").write_bytes(data)
    (tmp_path / "labels.csv").write_text("path,class,cells,cells_counted\na.png,calanus,9,4\nb.png,calanus,9,\n")
    dataset = import_dataset(tmp_path / "crops", tmp_path / "dataset", manifest=tmp_path / "labels.csv")
    assert sorted(str(label.cells) for label in read_labels(dataset.root).by_sha256.values() if label) == [
        "4.0",
        "None",
    ]


def test_a_table_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,sample\na,b\n")
    with pytest.raises(
        InputError, match="labels need a column class, and a column path or sha256; it has path, sample"
    ):
        read_labels(tmp_path / "labels.csv")


def test_the_command_says_what_it_would_confirm(folder: Path, tmp_path: Path, pelagia: Pelagia) -> None:
    (tmp_path / "labels.csv").write_text("path,class\na_calanus_0.png,acartia\n")
    ended = pelagia("survey", "confirm", folder, tmp_path / "labels.csv", "--dry-run")
    assert ended.returncode == 0, ended.stderr
    assert "1 of 4 images of the survey have a label of people" in ended.stdout
    with Survey.open(folder) as survey:
        assert confirmed_of(survey) == {}
