"""The biovolume and the carbon on the page of a survey."""

from pathlib import Path

import pytest

from counting import LITER, image, write_survey
from pelagia.survey.additions import Measured, add_measures
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.report.sizes import amounts_of

VOLUMES = {"a.png": 1000.0, "b.png": 3000.0, "c.png": 2000.0}


def counts(folder: Path, sampled: dict[str, dict[str, str]], volumes: dict[str, float] = VOLUMES) -> Counts:
    write_survey(folder, [image(path, "chaetoceros", columns) for path, columns in sampled.items()])
    with Survey.open(folder, to_add=True) as survey:
        add_measures(survey, [Measured(path, {"biovolume_um3": volume}) for path, volume in volumes.items()])
        return count_survey(survey)


def test_one_sample_has_its_interval_in_the_table_of_classes(tmp_path: Path) -> None:
    found = amounts_of(counts(tmp_path / "s", {key: {**LITER, "sample": "A"} for key in VOLUMES}), ["A"])
    assert found is not None
    assert (found.in_water, found.samples) == (True, ())
    assert found.classes.columns == ("Class", "Measured", "Biovolume, mm³/m³", "Carbon, µg/L")
    [[name, measured, volume, carbon]] = found.classes.rows
    assert (name.text, measured.value) == ("chaetoceros", 3)
    assert volume.value == pytest.approx(6000 / 2 * 1e-6)  # in 2 liters
    assert "–" in volume.range
    assert "–" in carbon.range


def test_several_samples_have_their_mean_and_each_its_own_interval(tmp_path: Path) -> None:
    sampled = {path: {**LITER, "sample": "B" if path == "c.png" else "A"} for path in VOLUMES}
    found = amounts_of(counts(tmp_path / "s", sampled), ["B", "A"])
    assert found is not None
    assert found.classes.rows[0][2].value == pytest.approx((4000 + 2000) / 2 / 2 * 1e-6)
    assert found.classes.rows[0][2].range == ""
    title, table = found.samples[0]
    assert title == "Biovolume, mm³/m³, by sample"
    assert [row[0].text for row in table.rows] == ["B", "A"]
    assert [row[1].value for row in table.rows] == pytest.approx([1000e-6, 2000e-6])
    assert all("–" in row[1].range for row in table.rows)


def test_without_the_volume_of_a_sample_the_amounts_are_those_on_the_images(tmp_path: Path) -> None:
    sampled = {path: {"sample": "B"} if path == "c.png" else {**LITER, "sample": "A"} for path in VOLUMES}
    found = amounts_of(counts(tmp_path / "s", sampled), ["A", "B"])
    assert found is not None
    assert not found.in_water
    assert found.classes.columns[2] == "Biovolume, µm³"
    assert found.classes.rows[0][2].value == 6000


def test_a_survey_that_was_not_measured_has_no_amounts(tmp_path: Path) -> None:
    assert amounts_of(counts(tmp_path / "s", {"a.png": {**LITER, "sample": "A"}}, {}), ["A"]) is None
