"""Class scores of IFCB bins, read as pyifcb's ``ClassScoresFile`` reads version 3."""

import csv

import numpy as np
import pandas as pd
import pytest

from pelagia.errors import InputError
from pelagia.sources import Listing, list_images
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.exports.export import export_survey
from survey_fixtures import CLASSES

h5py = pytest.importorskip("h5py")
BINS = ("D20220519T124533_IFCB134", "IFCB5_2012_028_081515")


def as_pyifcb_reads(path):
    """The scores as ``class_scores`` of pyifcb gives them: the labels are ASCII, the numbers of ROIs are the index."""
    with h5py.File(path, "r") as file:
        scores = file["output_scores"][:]
        labels = [label.decode("ascii") for label in file["class_labels"][:]]
        frame = pd.DataFrame(scores, columns=labels).set_index(file["roi_numbers"][:])
        return frame, dict(file["metadata"].attrs)


def survey_of(folder, names, classes=CLASSES):
    survey = Survey.open_for_writing(folder, model_sha256="f" * 64, classes=classes, settings={})
    scores = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(names)).astype(np.float32)
    survey.add(Prediction(name, "/f", "s", "", "", row) for name, row in zip(names, scores, strict=True))
    return survey, dict(zip(names, scores, strict=True))


NAMES = [f"{BINS[0]}_00002", f"{BINS[0]}_00010", f"cruise/{BINS[1]}_00001", f"cruise/{BINS[1]}_00003.png"]


def test_each_bin_has_its_scores_by_the_number_of_the_image(tmp_path):
    survey, scores = survey_of(tmp_path / "s", [*NAMES, "other.png", f"later/{BINS[1]}_00001.png"])
    with survey:
        done = export_survey(survey, tmp_path / "out", "ifcb")
    frame, about = as_pyifcb_reads(tmp_path / "out" / f"{BINS[0]}_class.h5")
    assert list(frame.index) == [2, 10]
    assert np.array_equal(frame.loc[10], scores[NAMES[1]])
    assert about == {"version": "v3", "model_id": "ffffffffffff", "bin_id": BINS[0], "timestamp": about["timestamp"]}
    old, _ = as_pyifcb_reads(tmp_path / "out" / f"{BINS[1]}_class.h5")
    assert list(old.index) == [1, 3]
    assert list(old.columns) == ["Copepode", "detritus", "=medusa"]
    assert "Copépode -> Copepode" in done.notes[1]
    assert done.left_out == {
        "images that are not of an IFCB bin": 1,
        "images of a bin that the survey has a second time: its first folder, by path, is exported": 1,
    }


def test_images_are_sorted_by_number_and_have_the_number_of_their_class(tmp_path):
    names = [f"{BINS[0]}_{number}" for number in ("00002", "00010", "100000", "20000")]
    survey, scores = survey_of(tmp_path / "s", names)
    with survey:
        export_survey(survey, tmp_path / "out", "ifcb")
    with h5py.File(tmp_path / "out" / f"{BINS[0]}_class.h5", "r") as file:
        assert file["roi_numbers"][:].tolist() == [2, 10, 20000, 100000]
        best = [int(scores[names[at]].argmax()) for at in (0, 1, 3, 2)]
        assert file["output_classes"][:].tolist() == best


def test_labels_stay_different_in_ascii(tmp_path):
    survey, _ = survey_of(tmp_path / "s", NAMES, ("動物", "Œ", "e", "é", "e_2"))
    with survey:
        export_survey(survey, tmp_path / "out", "ifcb")
    frame, _ = as_pyifcb_reads(tmp_path / "out" / f"{BINS[0]}_class.h5")
    assert len(set(frame.columns)) == 5
    assert list(frame.columns[[2, 4]]) == ["e", "e_2"]


def test_the_csv_of_a_bin_has_the_names_of_its_images(tmp_path):
    survey, scores = survey_of(tmp_path / "s", NAMES)
    with survey:
        export_survey(survey, tmp_path / "out", "ifcb-csv")
    with (tmp_path / "out" / f"{BINS[0]}_class_scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["pid"] for row in rows] == NAMES[:2]
    assert float(rows[0]["detritus"]) == pytest.approx(scores[NAMES[0]][1], abs=1e-6)


def test_a_survey_without_bins_says_so(tmp_path):
    survey, _ = survey_of(tmp_path / "s", ["a.png"])
    with survey, pytest.raises(InputError, match="no image of an IFCB bin"):
        export_survey(survey, tmp_path / "out", "ifcb")


def test_the_scores_of_a_real_bin_have_the_numbers_of_its_images(tmp_path, data_root):
    images = list(list_images([data_root / "ifcb" / "whoi"], Listing()))
    survey, _ = survey_of(tmp_path / "s", [image.path for image in images])
    with survey:
        export_survey(survey, tmp_path / "out", "ifcb")
    [path] = (tmp_path / "out").glob("*_class.h5")
    frame, _ = as_pyifcb_reads(path)
    assert sorted(int(image.columns["target"]) for image in images) == list(frame.index)
    assert len(frame) == 19
