"""The table of counts in its formats, and the command."""

import csv
import json
from pathlib import Path

import openpyxl
import pytest
from pyarrow import parquet

from cli_fixtures import Pelagia
from counting import CLASSES, LITER, images, write_survey
from disk_fixtures import Mounts, fill
from pelagia.model.metadata import ModelFile
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.counts.counts import Count, Counts, count_survey
from pelagia_inference.counts.table import amount, header, summary
from pelagia_inference.counts.table import rows as rows_of_table

ST = {**LITER, "sample": "A", "station": "=ST1", "minimumDepthInMeters": "0", "maximumDepthInMeters": "5"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = images("a", {"calanus": 6, "detritus": 2}, ST) + images("b", {"acartia": 1}, {**ST, "sample": "B"})
    return write_survey(tmp_path / "s", rows)


def test_a_row_is_a_sample_and_a_class_or_taxon(folder: Path, tmp_path: Path, pelagia: Pelagia) -> None:
    ended = pelagia("counts", folder, "--out", tmp_path / "counts.csv")
    assert ended.returncode == 0, ended.stderr
    assert (
        "9 images in 2 samples (by sample); the table adds up all samples; per liter: the lowest and the highest sample"
    ) in ended.stdout
    assert "warning: the counts are not corrected" in ended.stderr
    with (tmp_path / "counts.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (len(CLASSES) + 6)
    row = next(row for row in rows if (row["sample"], row["name"]) == ("A", "calanus"))
    wanted = {
        "kind": "class", "raw": "6", "confirmed": "0", "corrected": "", "per_liter": "3.0", "per_cubic_meter": "3000.0",
        "organisms": "6.0", "cells": "", "eventDate": "2024-05-01", "minimumDepthInMeters": "0", "sample_liters": "2.0",
        "sample_images": "8", "sample_fraction": "1.0", "no_volume": "",
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_excel_and_parquet_have_the_same_values(folder: Path, tmp_path: Path, pelagia: Pelagia) -> None:
    tables = []
    for name in ("counts.xlsx", "counts.parquet"):
        ended = pelagia("counts", folder, "--by", "station,sample", "--out", tmp_path / name)
        assert ended.returncode == 0, ended.stderr
    sheet = openpyxl.load_workbook(tmp_path / "counts.xlsx").active
    assert sheet is not None
    header, *rows = sheet.iter_rows(values_only=True)
    tables = [dict(zip(header, row, strict=True)) for row in rows]
    assert tables == parquet.read_table(tmp_path / "counts.parquet").to_pylist()
    assert (tables[0]["sample"], tables[0]["station"], tables[0]["raw"]) == ("=ST1/A", "=ST1", 6)


def test_json_has_samples_and_counts(folder: Path, pelagia: Pelagia) -> None:
    found = json.loads(pelagia("counts", folder, "--json").stdout)
    assert [sample["name"] for sample in found["samples"]] == ["A", "B"]
    assert found["counts"][0]["per_liter"] == 3.0
    assert found["counts"][0]["corrected"] is None


@pytest.mark.parametrize(
    ("out", "why"),
    [("counts.doc", "name a file that ends in .csv, .xlsx or .parquet"), ("there.csv", "exists already")],
)
def test_nothing_is_overwritten(folder: Path, tmp_path: Path, pelagia: Pelagia, out: str, why: str) -> None:
    (tmp_path / "there.csv").write_text("mine")
    ended = pelagia("counts", folder, "--out", tmp_path / out)
    assert ended.returncode == 2
    assert why in ended.stderr
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_a_survey_of_failed_images_has_an_empty_table(tmp_path: Path, pelagia: Pelagia) -> None:
    write_survey(tmp_path / "s", [Prediction("a.png", "/a.png", reason="damaged", columns=ST)])
    ended = pelagia("counts", tmp_path / "s", "--out", tmp_path / "counts.parquet")
    assert ended.returncode == 0, ended.stderr
    assert "0 images in 1 sample (by sample)" in ended.stdout
    assert "1 images could not be classified" in ended.stderr
    assert parquet.read_table(tmp_path / "counts.parquet").num_rows == 0


def test_the_model_must_be_that_of_the_survey(folder: Path, model: ModelFile, pelagia: Pelagia) -> None:
    ended = pelagia("counts", folder, "--model", model.path)
    assert ended.returncode == 2
    assert "is not the model of the survey" in ended.stderr


def test_a_column_of_the_input_whose_name_is_taken_gets_another(tmp_path: Path) -> None:
    with Survey.open(write_survey(tmp_path / "s", images("a", {"calanus": 1}, {**ST, "rank": "high"}))) as survey:
        counts = count_survey(survey, ["rank"])
    assert header(counts)[:2] == ["sample", "survey_rank"]
    assert len(header(counts)) == len(set(header(counts))) == len(next(rows_of_table(counts)))


def test_a_full_disk_is_one_line_and_leaves_no_workbook(mounts: Mounts, disk: Path, tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "s", images("a", {"calanus": 4}))
    fill(mounts, disk, 0)
    ended = mounts.pelagia("counts", folder, "--out", disk / "counts.xlsx")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("error: the disk is full: free some space")
    assert "Traceback" not in ended.stderr
    assert mounts.must("ls", "-A", disk) == "filler\n"


def test_the_terminal_shows_numbers_as_people_write_them() -> None:
    found = {"corrected": 1234.4, "low": 9.76, "high": 2500.0, "per_liter": 22744.2}
    water = {"per_liter_low": 10130.0, "per_liter_high": 1.2e6}
    columns, [row] = summary(Counts(("sample",), (), (Count("A", "diatom", raw=1200, confirmed=3, **found, **water),)))
    assert dict(zip(columns, row, strict=True)) == {
        "class": "diatom", "machine": 1200, "people": 3, "corrected": "1,234", "interval": "9.8 to 2,500",
        "samples": 1, "per liter": "22,744 (10,130 to 1,200,000)",
    }  # fmt: skip
    assert [amount(value) for value in (0.0, 0.00125, 12.34, 99.99)] == ["0", "0.00125", "12.3", "100"]


def test_a_corrected_number_that_is_shown_as_0_has_no_concentration() -> None:
    one = Count("A", "diatom", raw=2, corrected=1e-18, low=0.0, high=1.3, per_liter=6.2e-19)
    other = Count("B", "diatom", raw=1, corrected=1.0, low=0.5, high=1.5, per_liter=901.7)
    assert summary(Counts(("sample",), (), (one, other)))[1][0][-1] == "0 to 902"
