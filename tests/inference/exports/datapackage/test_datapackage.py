"""A survey as a data package, judged by the library frictionless."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counting import image
from counting import write_survey as known_survey
from pelagia.model.decision import UNKNOWN, Verdict
from pelagia.survey.additions import (
    Confirmed,
    CountedCells,
    Flag,
    Measured,
    add_confirmed,
    add_counted_cells,
    add_measures,
    set_flags,
)
from pelagia.survey.journal import Survey
from pelagia.survey.model_card import card_of_survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.exports.datapackage.write import write_datapackage
from surveys.small_survey import IMAGES, SAMPLES, make_survey

frictionless = pytest.importorskip("frictionless")


def package(tmp_path: Path, samples: dict[str, dict[str, str]] = SAMPLES) -> Path:
    folder = make_survey(tmp_path / "survey", samples, confirmed=[Confirmed("A/000.png", "krill", "Ann")])
    with Survey.open(folder, to_add=True) as survey:
        set_flags(survey, [Flag("A/001.png", "blurred", "below 3")], [Flag("A", "clogged")])
        add_counted_cells(survey, [CountedCells("A/000.png", 5.5, "Ann", "a dataset")])
        add_measures(survey, [Measured("A/001.png", {"area_px": 12.5})])
    (tmp_path / "dataset.yaml").write_text(
        "id: Cruise1\ntitle: T\nlicense: CC-BY-4.0\ncreators: [{family_name: Example}]\n", encoding="utf-8"
    )
    out = tmp_path / "package"
    out.mkdir()
    with Survey.open(folder) as survey:
        write_datapackage(
            survey,
            out,
            count_survey(survey),
            card=card_of_survey(survey),
            metadata=tmp_path / "dataset.yaml",
        )
    return out


def rows_of(out: Path, table: str) -> list[dict[str, object]]:
    resource = frictionless.Package(str(out / "datapackage.json")).get_resource(table)
    return [row.to_dict() for row in resource.read_rows()]


def test_frictionless_finds_no_fault_in_the_package(tmp_path: Path) -> None:
    report = frictionless.validate(str(package(tmp_path) / "datapackage.json"))
    assert report.valid, report.to_summary()
    names = {task.name for task in report.tasks}
    assert names == {
        "images", "samples", "counts", "taxa", "classes", "confirmed", "counted_cells", "image_flags", "sample_flags",
        "measures",
    }  # fmt: skip


def exported(tmp_path: Path, folder: Path, **options: object) -> tuple[Counts, Path]:
    out = tmp_path / "package"
    out.mkdir()
    with Survey.open(folder) as survey:
        counts = count_survey(survey, **options)  # type: ignore[arg-type]
        write_datapackage(survey, out, counts)
    return counts, out / "datapackage.json"


def test_flags_of_other_samples_than_the_counted_ones_are_kept_and_warned_of(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "survey")
    with Survey.open(folder, to_add=True) as survey:
        set_flags(survey, [], [Flag("A", "clogged"), Flag("S9", "clogged")])
    counts, package_file = exported(tmp_path, folder, by=["station"])
    report = frictionless.validate(str(package_file))
    assert report.valid, report.to_summary()
    assert [row["sample"] for row in rows_of(package_file.parent, "sample_flags")] == ["A", "S9"]
    assert next(sample.flags for sample in counts.samples if sample.name == "S1") == "clogged"
    assert [text for text in counts.warnings if "1 samples with flags are not among those" in text and "(S9)" in text]


def test_a_class_with_the_name_of_a_verdict_is_another_row(tmp_path: Path) -> None:
    folder = known_survey(tmp_path / "survey", [image("a.png", "calanus", verdict=Verdict(UNKNOWN))], decides=True)
    with Survey.open(folder, to_add=True) as survey:
        survey.add([image("b.png", "calanus")])
        add_confirmed(survey, [Confirmed("b.png", "unknown")])
    _, package_file = exported(tmp_path, folder, count_as="accepted")
    report = frictionless.validate(str(package_file))
    assert report.valid, report.to_summary()


def test_frictionless_finds_a_changed_cell(tmp_path: Path) -> None:
    out = package(tmp_path)
    table = out / "measures.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("12.5", "big"), encoding="utf-8")
    assert not frictionless.validate(str(out / "datapackage.json")).valid


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    out = package(tmp_path)
    images = rows_of(out, "images")
    assert len(images) == sum(map(len, IMAGES.values())) + 1
    assert images[0] | {"path": "A/000.png", "status": "ok", "class": "calanus", "station": "S1"} == images[0]
    assert float(str(images[0]["probability"])) == 1
    counts = {(row["sample"], row["name"]): (row["raw"], row["confirmed"]) for row in rows_of(out, "counts")}
    assert counts["A", "calanus"] == (3, 0)
    assert counts["A", "krill"] == (0, 1)
    assert rows_of(out, "taxa")[2] == {"name": "Copepoda", "rank": "class", "parent": "Arthropoda", "aphia_id": 1080}
    assert [(row["path"], float(str(row["cells"]))) for row in rows_of(out, "counted_cells")] == [("A/000.png", 5.5)]
    assert [float(str(row["area_px"])) for row in rows_of(out, "measures")] == [12.5]


def test_text_is_exactly_as_in_the_survey(tmp_path: Path) -> None:
    odd = {name: {**columns, "note": '=1+1, "a"\nb'} for name, columns in SAMPLES.items()}
    out = package(tmp_path, odd)
    assert {row["note"] for row in rows_of(out, "images")} == {'=1+1, "a"\nb'}
    assert {row["note"] for row in rows_of(out, "samples")} == {'=1+1, "a"\nb'}


def test_the_package_names_its_makers_license_and_model(tmp_path: Path) -> None:
    described = json.loads((package(tmp_path) / "datapackage.json").read_text(encoding="utf-8"))
    assert described["name"] == "cruise1"
    assert described["contributors"] == [{"title": "Example", "role": "author"}]
    assert described["licenses"][0]["name"] == "CC-BY-4.0"
    assert described["pelagia"]["model"] == "small"
