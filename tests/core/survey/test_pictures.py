"""The images of a survey, read again from files, archives and inputs that were moved."""

import json
import zipfile

import numpy as np
import pytest

from pelagia.sources import Listing, list_images
from pelagia.sources.image import read_encoded
from pelagia.survey import pictures
from pelagia.survey.journal import Prediction, Survey
from pelagia.survey.pictures import read_pictures
from pelagia.system.files import sha256_of


def survey_of(folder, inputs):
    """A survey of the images of some inputs, as a run makes it."""
    origin = json.dumps([str(path) for path in inputs])
    with Survey.open_for_writing(folder, model_sha256="f" * 64, classes=["a"], settings={}, origin=origin) as survey:
        for image in list_images(inputs, Listing()):
            digest = sha256_of(read_encoded(image.reader or image.file))
            survey.add([Prediction(image.path, str(image.file), digest, probabilities=np.ones(1, np.float32))])
    return Survey.open(folder)


@pytest.fixture
def archive(tmp_path, put):
    files = [put(tmp_path / "in" / f"{at}.png", seed=at) for at in range(5)]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as made:
        for file in files:
            made.write(file, file.name)
    return tmp_path / "all.zip"


def read(survey):
    return {row.path: data if isinstance(data, str) else sha256_of(data) for row, data in read_pictures(survey, survey)}


@pytest.mark.parametrize("at_once", [2, 256])
def test_images_inside_an_archive_come_back_with_their_rows(tmp_path, archive, monkeypatch, at_once):
    monkeypatch.setattr(pictures, "_ROWS_AT_ONCE", at_once)
    with survey_of(tmp_path / "s", [archive]) as survey:
        assert read(survey) == {row.path: row.sha256 for row in survey}
        assert len(survey) == 5


def test_an_image_that_changed_or_is_gone_has_a_reason(tmp_path, archive, put):
    with survey_of(tmp_path / "s", [tmp_path / "in"]) as survey:
        put(tmp_path / "in" / "1.png", seed=9)
        (tmp_path / "in" / "2.png").unlink()
        found = read(survey)
    assert found["1.png"].startswith("changed")
    assert found["2.png"].startswith("missing: it was at ")
    assert sorted(found) == [f"{at}.png" for at in range(5)]


def test_the_images_of_the_other_inputs_come_back_if_the_first_is_gone(tmp_path, archive):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as made, zipfile.ZipFile(archive) as first:
        made.writestr("x.png", first.read("0.png") + b" ")
    with survey_of(tmp_path / "s", [archive, other]) as survey:
        archive.unlink()
        found = read(survey)
        assert found.pop("other.zip/x.png") == next(survey.rows_of(["other.zip/x.png"])).sha256
        assert {text.split(":")[0] for text in found.values()} == {"missing"}
        assert len(found) == 5


def test_the_images_of_an_input_that_is_gone_are_missing(tmp_path, archive):
    with survey_of(tmp_path / "s", [archive]) as survey:
        archive.rename(tmp_path / "elsewhere.zip")
        assert {text.split(":")[0] for text in read(survey).values()} == {"missing"}
        assert len(read(survey)) == 5
