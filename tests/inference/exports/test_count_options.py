"""Exports and the report take the options of `pelagia counts`, and hold the same counts."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cli_fixtures import Pelagia
from pelagia.model.decision import Verdict
from pelagia.survey.additions import Flag, set_flags
from pelagia.survey.journal import Prediction, Survey
from surveys.small_survey import IMAGES, SAMPLES, TAXONOMY, make_survey

CHOICES = ("--by", "station", "--depth-bins", "0,10,100", "--exclude-flags", "blurred")
METADATA = """
id: Cruise1
title: T
abstract: A
license: CC-BY-4.0
creators: [{given_name: Ann, family_name: Example, email: ann@example.org}]
sampling_protocol: nets
"""


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    folder = make_survey(tmp_path / "survey")
    with Survey.open(folder, to_add=True) as opened:
        set_flags(opened, [Flag("A/000.png", "blurred"), Flag("B/001.png", "blurred")])
    (tmp_path / "cells.csv").write_text("class,cells,sd,images\ncalanus,3,1,20\n", encoding="utf-8")
    (tmp_path / "about.yaml").write_text(METADATA, encoding="utf-8")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def plain(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def table_of(archive: Path, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(archive) as file:
        header, *lines = file.read(name).decode().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_every_format_with_counts_holds_those_of_pelagia_counts(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    choices = (*CHOICES, "--cells", tmp_path / "cells.csv")
    assert pelagia("counts", survey, *choices, "--out", tmp_path / "counts.csv").returncode == 0
    about = ("--metadata", tmp_path / "about.yaml", "--incomplete")
    formats = ("--to", "csv,geojson,datapackage,dwc", "--out", tmp_path / "out")
    done = pelagia("survey", "export", survey, *formats, *choices, *about)
    assert done.returncode == 0, done.stderr
    expected = rows_of(tmp_path / "counts.csv")
    classes = [row for row in expected if row["kind"] == "class" and int(row["raw"])]
    assert {row["sample"] for row in classes} == {"S1/10-100", "S2/0-10"}
    assert sum(int(row["raw"]) for row in classes) == sum(map(len, IMAGES.values())) - 2

    tidy = rows_of(tmp_path / "out" / "csv" / "counts.csv")
    assert [list(map(plain, row.values())) for row in tidy] == [list(map(plain, row.values())) for row in expected]
    features = json.loads((tmp_path / "out" / "geojson" / "samples.geojson").read_text("utf-8"))["features"]
    mapped = {one["properties"]["sample"]: one["properties"] for one in features}
    packaged = {
        (one["sample"], one["name"], one["rank"]): one for one in rows_of(tmp_path / "out/datapackage/counts.csv")
    }
    archive = tmp_path / "out" / "dwc" / "dwca.zip"
    published = {
        (row["eventID"].rpartition(":sample:")[2], name): int(row["individualCount"])
        for row in table_of(archive, "occurrence.txt")
        for name in [row["verbatimIdentification"]]
    }
    for row in classes:
        sample, name = row["sample"], row["name"]
        assert mapped[sample][f"raw {name}"] == int(row["raw"])
        assert packaged[sample, name, ""]["raw"] == row["raw"]
        if name in ("calanus", "arrow_worm"):  # the only classes of their taxa
            assert published[sample, name] == int(row["raw"])
    cells = {(row["sample"], row["name"]): row["cells_per_liter"] for row in classes}
    measured = table_of(archive, "extendedmeasurementorfact.txt")
    [found] = [
        float(row["measurementValue"])
        for row in measured
        if row["measurementType"].startswith("Cells") and ":S1/10-100:Calanus" in row["occurrenceID"]
        if "interval" not in row["measurementType"]
    ]
    assert found == pytest.approx(float(cells["S1/10-100", "calanus"]), rel=1e-5)


def test_an_export_keeps_the_options_that_it_was_made_with(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    pelagia("survey", "export", survey, "--to", "csv", *CHOICES, "--out", tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "pelagia-export.json").read_text("utf-8"))["counting"]
    assert kept == {"--by": ["station"], "--depth-bins": [0, 10, 100], "--exclude-flags": ["blurred"]}


def test_a_format_says_which_options_it_does_not_use(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    choices = (*CHOICES, "--cells", tmp_path / "cells.csv", "--no-correction")
    done = pelagia("survey", "export", survey, "--to", "label-studio,csv", *choices, "--out", tmp_path / "out")
    assert done.returncode == 0
    said = " ".join(done.stderr.split())
    assert "label-studio: this format does not use --by, --depth-bins, --cells, --no-correction" in said
    assert "label-studio: left out: 2 images with a flag of --exclude-flags blurred" in said
    assert "csv: this format" not in said
    assert "csv: the table of images has all images, also those with the flags blurred, which are not counted" in said


def test_a_flag_that_no_image_has_is_refused_by_every_format(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    done = pelagia(
        "survey", "export", survey, "--to", "label-studio", "--exclude-flags", "blured", "--out", tmp_path / "o"
    )
    assert done.returncode == 2
    assert "--exclude-flags: no image has the flag 'blured' (did you mean 'blurred'?)" in " ".join(done.stderr.split())
    assert not (tmp_path / "o").exists()


def test_an_archive_of_accepted_names_says_what_it_leaves_out(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    names = TAXONOMY.names
    with Survey.open(survey) as made:
        card = made.meta["model"]
    verdicts = [Verdict("accepted", "calanus"), Verdict("rolled_up", "Copepoda", "class"), Verdict("abstained")]
    sure = np.eye(len(names), dtype=np.float32)[names.index("calanus")]
    options = {"model_sha256": "ab" * 32, "classes": names, "settings": {}, "decides": True, "model": card}
    with Survey.open_for_writing(tmp_path / "deciding", **options) as deciding:
        for at, verdict in enumerate(verdicts):
            deciding.add(
                [Prediction(f"{at}.png", "/x", "c" * 64, probabilities=sure, verdict=verdict, columns=SAMPLES["A"])]
            )
    about = ("--metadata", tmp_path / "about.yaml", "--incomplete", "--count", "accepted", "--out", tmp_path / "out")
    done = pelagia("survey", "export", tmp_path / "deciding", "--to", "dwc", *about)
    assert done.returncode == 0, done.stderr
    assert "left out: 1 images that the model did not name with a class (rolled up)" in done.stderr
    assert "left out: 1 images that the model did not name with a class (abstained)" in done.stderr
    [row] = table_of(tmp_path / "out" / "dwca.zip", "occurrence.txt")
    assert (row["scientificName"], row["individualCount"]) == ("Calanus", "1")


def test_the_report_counts_with_the_same_options(pelagia: Pelagia, survey: Path, tmp_path: Path) -> None:
    done = pelagia("report", survey, *CHOICES, "--cells", tmp_path / "cells.csv", "--out", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "S1/10-100" in text
    assert "2 images are left out because of their flags (blurred 2)" in text
    assert re.search(r"25 m \(13\)", text)  # of 14 images
