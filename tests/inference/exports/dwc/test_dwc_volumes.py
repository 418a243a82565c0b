"""The volumes and abundances in a Darwin Core Archive of samples with sub-samples, and of samples that are added up."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from counting import images, write_survey
from pelagia.survey.additions import Confirmed, add_confirmed
from pelagia.survey.journal import Survey
from pelagia_inference.counts.options import CountOptions
from pelagia_inference.exports.dwc.export import write_dwc

PLACE = {"eventDate": "2024-05-01T10:00:00Z", "decimalLatitude": "54.5", "decimalLongitude": "7.25", "station": "S"}
ABUNDANCE = "Abundance of biological entity specified elsewhere per unit volume of the water body"
Table = list[dict[str, str]]


def published(tmp_path: Path, folder: Path, *by: str) -> dict[str, Table]:
    with Survey.open(folder) as survey:
        done = write_dwc(survey, tmp_path / "dwc.zip", counting=CountOptions(by), incomplete=True)
    with zipfile.ZipFile(done.target) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".txt")}
    return {name: list(csv.DictReader(io.StringIO(text), delimiter="\t")) for name, text in texts.items()}


def size_of(tables: dict[str, Table], sample: str) -> tuple[str, str]:
    [event] = [row for row in tables["event.txt"] if row["eventID"].endswith(f":sample:{sample}")]
    return event["sampleSizeValue"], event["sampleSizeUnit"]


def test_the_images_of_people_and_machine_stand_for_the_organisms_of_their_own_sub_sample(tmp_path: Path) -> None:
    net = {**PLACE, "sample": "N", "sampleSizeValue": "50", "sampleSizeUnit": "m3"}
    rows = images("d1", {"calanus": 5}, {**net, "acq_sub_part": "1"})
    rows += images("d2", {"calanus": 5}, {**net, "acq_sub_part": "4"})  # all of these are confirmed
    folder = write_survey(tmp_path / "s", rows)
    with Survey.open(folder, to_add=True) as survey:
        add_confirmed(survey, [Confirmed(f"d2_calanus_{number}.png", "calanus") for number in range(5)])
    found = {
        row["occurrenceID"].rpartition(":")[2]: float(row["measurementValue"])
        for row in published(tmp_path, folder)["extendedmeasurementorfact.txt"]
        if row["measurementType"] == ABUNDANCE
    }
    assert found == pytest.approx({"PredictedByMachine": 5 * 1 / 50, "ValidatedByHuman": 5 * 4 / 50})  # in 1 m3


def test_samples_that_are_put_together_have_the_sum_of_their_volumes(tmp_path: Path) -> None:
    water = {**PLACE, "sampleSizeValue": "2,5", "sampleSizeUnit": "ml"}
    rows = images("a", {"calanus": 6}, {**water, "sample": "A"}) + images("b", {"calanus": 2}, {**water, "sample": "B"})
    folder = write_survey(tmp_path / "s", rows)
    assert size_of(published(tmp_path, folder, "station"), "S") == ("0.005", "litre")
    (tmp_path / "dwc.zip").unlink()
    assert size_of(published(tmp_path, folder), "A") == ("2.5", "millilitre")


@pytest.mark.parametrize("columns", [{"sampleSizeValue": "-5"}, {"sampleSizeUnit": "bottle"}])
def test_a_volume_that_gives_no_concentration_is_not_published(tmp_path: Path, columns: dict[str, str]) -> None:
    water = {**PLACE, "sample": "A", "sampleSizeValue": "5", "sampleSizeUnit": "ml", **columns}
    tables = published(tmp_path, write_survey(tmp_path / "s", images("a", {"calanus": 1}, water)))
    assert size_of(tables, "A") == ("", "")
    assert not any(row["measurementType"] == ABUNDANCE for row in tables["extendedmeasurementorfact.txt"])
