"""The log in a survey folder."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from pelagia.errors import SurveyError
from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia_inference.survey import survey_log
from pelagia_inference.survey.progress import SurveyProgress
from pelagia_inference.survey.runner import classify
from pelagia_inference.survey.survey_log import LOG_FILE


def lines_of(folder: Path) -> list[str]:
    return (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()


def test_each_start_says_with_what_and_how_it_ended(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    classify(model, [survey.root], tmp_path / "out", provider="cpu")
    first = lines_of(tmp_path / "out")
    assert len(first) == 4
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO ", line) for line in first)
    assert re.search(r"start: pelagia [\d.]+, \S+", first[0])
    assert f"model {model.metadata.name} {model.sha256[:12]}, provider cpu, setting " in first[1]
    assert re.search(r"machine \d+ cores, ", first[1])
    assert re.search(r" INFO not images: \d .csv, 1 .yaml$", first[2])
    assert f"done: {survey.images} images in " in first[3]
    classify(model, [survey.root], tmp_path / "out", provider="cpu")
    assert lines_of(tmp_path / "out")[:4] == first
    assert f"done: 0 images in 0.0 s, 0 images/s, 0 failed, {survey.images} before" in lines_of(tmp_path / "out")[-1]


def test_what_a_path_holds_breaks_no_line(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pelagia", "a\nb", os.fsdecode(b"caf\xe9")])
    classify(model, [survey.root], tmp_path / "out")
    assert len(lines_of(tmp_path / "out")) == 4
    assert lines_of(tmp_path / "out")[0].endswith("'a\\x0ab' 'caf\\udce9'")


def test_the_log_does_not_grow_with_the_images(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[SurveyProgress] = []
    monkeypatch.setattr(survey_log, "_PROGRESS_SECONDS", 0.0)
    classify(model, [survey.root], tmp_path / "often", progress=seen.append)
    assert len(lines_of(tmp_path / "often")) == 4 + len(seen)
    monkeypatch.setattr(survey_log, "_PROGRESS_SECONDS", 3600.0)
    classify(model, [survey.root], tmp_path / "seldom")
    assert len(lines_of(tmp_path / "seldom")) == 4


def test_an_error_is_its_last_line(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.mkdir()
    files = sorted(survey.root.rglob("*.jpg"))
    shutil.copy(files[0], card / "0.jpg")
    classify(model, [card], tmp_path / "out")
    shutil.copy(files[1], card / "0.jpg")
    with pytest.raises(SurveyError) as caught:
        classify(model, [card], tmp_path / "out")
    assert lines_of(tmp_path / "out")[-1].endswith(f"Z ERROR {caught.value}")


@pytest.mark.parametrize(
    ("error", "words"), [(KeyboardInterrupt(), "interrupted"), (SystemExit(143), "interrupted, exit code 143")]
)
def test_an_interruption_is_its_last_line(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, error: BaseException, words: str
) -> None:
    def stop(_: SurveyProgress) -> None:
        raise error

    with pytest.raises(type(error)):
        classify(model, [survey.root], tmp_path / "out", progress=stop)
    assert lines_of(tmp_path / "out")[-1].endswith(f"Z INFO {words}")


@pytest.mark.parametrize("obstacle", ["a folder", "a full disk"])
def test_a_log_that_cannot_be_written_ends_nothing_and_says_nothing(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path, obstacle: str, capfd: pytest.CaptureFixture[str]
) -> None:
    classify(model, [survey.root], tmp_path / "out")
    (tmp_path / "out" / LOG_FILE).unlink()
    if obstacle == "a folder":
        (tmp_path / "out" / LOG_FILE).mkdir()
    elif not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    else:
        (tmp_path / "out" / LOG_FILE).symlink_to("/dev/full")
    assert classify(model, [survey.root], tmp_path / "out").progress.before == survey.images
    assert capfd.readouterr() == ("", "")
