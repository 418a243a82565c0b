"""The fastest setting of a machine is stored and found again, and a damaged file is ignored."""

from pathlib import Path

import pytest

from pelagia.model.metadata import ModelFile
from pelagia.synthetic.survey import SimulatedSurvey
from pelagia.system.cores import usable_cores
from pelagia_inference.machine.setting import HOME_VARIABLE, Setting, store_setting, stored_setting
from pelagia_inference.survey.runner import classify


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "config"))
    return tmp_path / "config"


def test_a_stored_setting_is_found_for_its_model_alone() -> None:
    store_setting("a" * 64, Setting(2, 1, 4))
    store_setting("b" * 64, Setting(1, 2, 16))
    assert stored_setting("a" * 64) == Setting(2, 1, 4)
    assert stored_setting("b" * 64) == Setting(1, 2, 16)
    assert stored_setting("c" * 64) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"m": 3}', '{"m": {"cores": 999999, "workers": 1, "threads": 1, "batch": 1}}']
)
def test_a_damaged_file_or_one_of_another_machine_is_ignored(home: Path, text: str) -> None:
    home.mkdir()
    (home / "bench.json").write_text(text)
    assert stored_setting("m") is None


def test_classify_uses_what_bench_stored(model: ModelFile, survey: SimulatedSurvey, tmp_path: Path) -> None:
    assert classify(model, [survey.root], tmp_path / "before").setting == Setting(usable_cores())
    store_setting(model.sha256, Setting(1, 1, 3))
    assert classify(model, [survey.root], tmp_path / "after").setting == Setting(1, 1, 3)


def test_a_survey_is_resumed_with_the_batch_that_it_began_with(
    model: ModelFile, survey: SimulatedSurvey, tmp_path: Path
) -> None:
    classify(model, [survey.root], tmp_path / "out", setting=Setting(1, 1, 5))
    store_setting(model.sha256, Setting(2, 1, 16))
    assert classify(model, [survey.root], tmp_path / "out").setting == Setting(2, 1, 5)
