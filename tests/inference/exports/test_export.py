"""What `classify --format` and `survey export` write."""

import shutil
from pathlib import Path

import pytest

from cli_fixtures import Pelagia
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey.runner import classify

parquet = pytest.importorskip("pyarrow.parquet")


def test_a_survey_is_written_in_the_formats_asked_for_and_again_later_without_its_images(
    pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    images = shutil.copytree(survey.root, tmp_path / "images")
    out = tmp_path / "out"
    done = pelagia("classify", model.path, images, "--out", out, "--format", "parquet")
    assert done.returncode == 0, done.stderr
    assert f"results: {out / 'predictions.parquet'}\n" in done.stdout
    assert not (out / "predictions.csv").exists()
    whole = (out / "predictions.parquet").read_bytes()
    shutil.rmtree(images)
    (out / "predictions.parquet").unlink()
    again = pelagia("survey", "export", out, "--format", "csv,parquet")
    assert again.stdout == f"{survey.images} images: {out / 'predictions.csv'}, {out / 'predictions.parquet'}\n"
    assert (out / "predictions.parquet").read_bytes() == whole
    assert len((out / "predictions.csv").read_text().splitlines()) == survey.images + 1


def test_no_file_is_left_behind_that_knows_less_than_the_journal(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    first, second = sorted(survey.root.rglob("*.jpg"))[:2]
    shutil.copy(first, tmp_path / "in" / "1.jpg")
    classify(model, [tmp_path / "in"], tmp_path / "out", formats=["parquet"])
    shutil.copy(second, tmp_path / "in" / "2.jpg")
    result = classify(model, [tmp_path / "in"], tmp_path / "out")
    assert parquet.read_table(result.files["parquet"]).num_rows == 2


@pytest.mark.parametrize("words", ["classify {model} {images} --out {out}", "survey export {out}"])
def test_an_unknown_format_is_refused_before_anything_is_done(
    pelagia: Pelagia, model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, words: str
) -> None:
    places = {"model": model.path, "images": survey.root, "out": tmp_path / "out"}
    done = pelagia(*(word.format(**places) for word in words.split()), "--format", "parkett")
    assert done.returncode == 2
    assert done.stderr == "error: there is no format 'parkett' (did you mean 'parquet'?): choose csv or parquet\n"
    assert not (tmp_path / "out").exists()
