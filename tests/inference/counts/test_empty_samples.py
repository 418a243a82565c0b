"""Samples that were taken and have no image: their water counts."""

import shutil
from pathlib import Path

import pytest

from counting import LITER, images, write_survey
from pelagia.model.metadata import ModelFile
from pelagia.survey.additions import add_empty_samples, empty_samples
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.survey.runner import classify


def counted(folder: Path, *by: str) -> Counts:
    with Survey.open(folder) as survey:
        return count_survey(survey, by)


def survey_with(folder: Path, *empty: dict[str, str]) -> Path:
    columns = {**LITER, "sample": "bin 1", "instrument": "IFCB134"}
    write_survey(folder, images("a", {"calanus": 6}, columns))
    with Survey.open(folder, to_add=True) as survey:
        add_empty_samples(survey, [{**columns, **one} for one in empty])
    return folder


def test_the_water_of_an_empty_sample_counts_where_samples_are_put_together(tmp_path: Path) -> None:
    folder = survey_with(tmp_path / "s", {"sample": "bin 2"}, {"sample": "bin 3", "sampleSizeValue": "8"})
    counts = counted(folder, "instrument")
    (sample,) = counts.samples
    assert (sample.images, sample.volume_l, sample.pooled) == (6, 2 + 2 + 8, 3)
    assert next(one.per_liter for one in counts.counts if one.name == "calanus") == 6 / 12
    assert "2 samples have no image, and their volumes count: bin 2, bin 3" in counts.warnings


def test_an_empty_sample_is_a_sample_without_images(tmp_path: Path) -> None:
    counts = counted(survey_with(tmp_path / "s", {"sample": "bin 2"}))
    assert [(one.name, one.images, one.volume_l) for one in counts.samples] == [("bin 1", 6, 2.0), ("bin 2", 0, 2.0)]
    assert {one.sample for one in counts.counts} == {"bin 1"}


def test_an_empty_sample_without_a_volume_is_warned_of(tmp_path: Path) -> None:
    counts = counted(survey_with(tmp_path / "s", {"sample": "bin 2", "sampleSizeValue": ""}), "instrument")
    assert [one.volume_l for one in counts.samples] == [2.0]
    assert any(text.startswith("1 samples have no image and no known volume") for text in counts.warnings)


def test_a_sample_whose_images_came_later_is_not_empty(tmp_path: Path) -> None:
    counts = counted(survey_with(tmp_path / "s", {"sample": "bin 1"}))
    assert [(one.name, one.images, one.volume_l) for one in counts.samples] == [("bin 1", 6, 2.0)]
    assert not any("no image" in text for text in counts.warnings)


def test_the_survey_keeps_the_real_bins_without_an_image(data_root: Path, model: ModelFile, tmp_path: Path) -> None:
    shutil.copytree(data_root / "ifcb", tmp_path / "bins")
    table = next((tmp_path / "bins" / "whoi").glob("D*.adc"))
    before = table.read_text().splitlines()
    empty = [row for row in before if float(row.split(",")[15]) == 0]  # the triggers without an image
    twin = table.with_name(f"D2000{table.name[5:]}")
    twin.write_text("\n".join(empty) + "\n")
    for ending in (".hdr", ".roi"):
        shutil.copy(table.with_suffix(ending), twin.with_suffix(ending))
    classify(model, [tmp_path / "bins"], tmp_path / "s")
    with Survey.open(tmp_path / "s") as survey:
        (columns,) = empty_samples(survey)
    assert columns["sample"] == twin.stem
    volumes = {one.name: one.volume_l for one in counted(tmp_path / "s").samples}
    assert volumes[twin.stem] == pytest.approx(float(columns["sampleSizeValue"]) / 1000)
