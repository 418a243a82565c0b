"""A survey for EcoTaxa: zips of new objects, and a table of updates. `Judge` reads as EcoTaxa's import does."""

import csv
import io
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ecotaxa_exports import FORMS, object_row
from pelagia.errors import InputError
from pelagia.model.decision import ABSTAINED, ACCEPTED, Verdict
from pelagia.sources import Listing, list_images
from pelagia.sources.ecotaxa.import_table import has_zone, places_and_times
from pelagia.survey.additions import Confirmed, add_confirmed
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.exports.ecotaxa_update import FILE, TABLE
from pelagia_inference.exports.export import ExportOptions, export_survey
from pelagia_inference.exports.exporting import FAILED, NO_PICTURE
from survey_fixtures import CLASSES, NAMES, write_survey


class Judge:
    """The rules of ``py/BO/TSVFile.py``: encoding, types, mandatory columns, statuses and images."""

    def __init__(self, archive: zipfile.ZipFile, update: bool = False) -> None:
        [table] = [name for name in archive.namelist() if name.endswith(".tsv")]
        assert table.startswith("ecotaxa")
        data = archive.read(table)
        text = data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "latin-1")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quotechar='"')
        self.types = next(reader)
        self.rows = list(reader)
        assert set(self.types.values()) <= {"[t]", "[f]"}
        assert {name.split("_")[0] for name in self.types} <= {"object", "sample", "acq", "process", "img"}
        for row in self.rows:
            assert None not in row
            assert row["object_id"]
            assert bool(row["object_annotation_category"]) == bool(row["object_annotation_status"])
            assert row["object_annotation_status"] in ("", "predicted", "validated")
            for name, kind in self.types.items():
                assert kind == "[t]" or not row[name] or float(row[name]) == float(row[name])
            if not update:
                pixels = cv2.imdecode(np.frombuffer(archive.read(row["img_file_name"]), np.uint8), cv2.IMREAD_COLOR)
                assert pixels is not None
        assert len({row["object_id"] for row in self.rows}) == len(self.rows)


def test_new_objects_have_types_statuses_and_images(sea, tmp_path):
    done = export_survey(sea, tmp_path / "out", "ecotaxa")
    with zipfile.ZipFile(tmp_path / "out" / "out_part1.zip") as archive:
        judge = Judge(archive)
    assert done.left_out == {FAILED: 1}
    found = {row["object_source"]: row for row in judge.rows}
    assert set(found) == set(NAMES)
    assert found[NAMES[2]]["object_id"] == "動物 1"
    assert found["x/same.png"]["object_id"] == "same"
    assert found["y/same.png"]["object_id"].startswith("same-")
    assert (found[NAMES[0]]["object_annotation_category"], found[NAMES[0]]["object_annotation_status"]) == (
        CLASSES[0],
        "predicted",
    )
    assert found[NAMES[2]]["object_annotation_category"] == "Animalia"
    assert found[NAMES[3]]["object_annotation_status"] == ""
    last = found[NAMES[5]]
    assert (last["object_annotation_category"], last["object_annotation_status"]) == (CLASSES[0], "validated")
    assert (last["object_annotation_date"], last["object_annotation_time"]) == ("20240701", "080910")
    assert last["object_annotation_person_email"] == ""
    assert (last["object_lat"], last["object_date"], last["object_time"]) == ("55.5", "20240502", "102500")
    assert judge.types["object_lat"] == judge.types["object_pixel_size_um"] == "[f]"
    assert any("--people" in note for note in done.notes)
    assert "1 images have no category, because the model accepted none" in done.notes


def test_names_of_people_are_exported_only_if_that_is_wanted(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "ecotaxa", ExportOptions(people=True))
    with zipfile.ZipFile(tmp_path / "out" / "out_part1.zip") as archive:
        assert {row["object_annotation_person_email"] for row in Judge(archive).rows} == {"", "ann@example.org"}


def test_zips_stay_below_the_limit_and_hold_all_images_together(sea, tmp_path):
    limit = 12_000
    done = export_survey(sea, tmp_path / "out", "ecotaxa", ExportOptions(part_bytes=limit))
    zips = sorted((tmp_path / "out").glob("*.zip"))
    assert len(zips) > 1
    assert all(path.stat().st_size <= limit for path in zips)
    rows = [row for path in zips for row in Judge(zipfile.ZipFile(path)).rows]
    assert {row["object_source"] for row in rows} == set(NAMES)
    assert done.notes[0].startswith(f"zips for EcoTaxa: {len(zips)},")
    assert not list((tmp_path / "out").glob("*.tsv"))


def test_the_exported_objects_can_be_classified_as_an_ecotaxa_export(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "ecotaxa")
    images = list(list_images([tmp_path / "out" / "out_part1.zip"], Listing()))
    assert len(images) == len(NAMES)
    assert {image.columns["station"] for image in images} == {"=St 0", "=St 1"}


def test_an_image_that_is_gone_is_counted_and_a_format_that_ecotaxa_lacks_becomes_png(tmp_path):
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    path = tmp_path / "one.pgm"
    path.write_bytes(cv2.imencode(".pgm", gray)[1].tobytes())
    with write_survey(tmp_path / "survey", ["one.pgm"], [path]) as survey:
        survey.add([replace(next(row for row in survey if row.ok), path="gone.png", file="/nowhere/gone.png")])
        done = export_survey(survey, tmp_path / "out", "ecotaxa")
    assert done.left_out == {FAILED: 1, NO_PICTURE: 1}
    with zipfile.ZipFile(tmp_path / "out" / "out_part1.zip") as archive:
        [row] = Judge(archive).rows
        assert row["img_file_name"].endswith(".png")
        data = np.frombuffer(archive.read(row["img_file_name"]), np.uint8)
    assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), gray)
    assert "1 images were written as PNG, because EcoTaxa does not show their format" in done.notes


def test_positions_and_times_that_cannot_be_are_left_out_and_said(tmp_path):
    path = tmp_path / "one.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    with write_survey(tmp_path / "survey", ["one.png"], [path]) as survey:
        row = next(row for row in survey if row.ok)
        wrong = {"decimalLatitude": "95", "decimalLongitude": "2.5", "eventDate": "31/05/2024"}
        survey.add([replace(row, columns=wrong)])
        done = export_survey(survey, tmp_path / "out", "ecotaxa")
    with zipfile.ZipFile(tmp_path / "out" / "out_part1.zip") as archive:
        [row] = Judge(archive).rows
    assert (row["object_lat"], row["object_lon"], row.get("object_date", "")) == ("", "", "")
    assert any(note.startswith("the positions of 1 images are left out") for note in done.notes)
    assert any(note.startswith("the times of 1 images are left out") for note in done.notes)


@pytest.mark.parametrize(
    ("given", "date", "time", "zone"),
    [
        ("2024-05-01T00:30:00+02:00", "20240430", "223000", True),
        ("2024-05-01T10:20:30Z/2024-05-01T11:00:00Z", "20240501", "102030", True),
        ("2024-05-01 10:20", "20240501", "102000", False),
        ("2024-05-01", "20240501", "", True),
        ("", None, None, True),
    ],
)
def test_times_are_utc(given, date, time, zone):
    row = places_and_times({"eventDate": given, "decimalLatitude": "54,5", "decimalLongitude": "NA"})
    assert (row.get("object_date"), row.get("object_time")) == (date, time)
    assert (row["object_lat"], row["object_lon"]) == ("54.5", "")
    assert has_zone(given) is zone


def test_an_export_whose_images_are_all_gone_is_refused(tmp_path):
    survey, gone = write_survey(tmp_path / "survey", NAMES), f"{len(NAMES)} {NO_PICTURE}"
    with survey, pytest.raises(InputError, match=f"nothing to export: .*{gone}"):
        export_survey(survey, tmp_path / "out", "ecotaxa")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def from_ecotaxa(tmp_path, encode):
    """A survey of an EcoTaxa export: predicted, validated and dubious objects, one of them confirmed here."""
    rows = [
        object_row(at, object_annotation_status=status)
        for at, status in enumerate(("predicted", "validated", "dubious", "validated", "predicted"))
    ]
    export = FORMS["zip"](tmp_path, rows, {row["img_file_name"]: encode(seed=at) for at, row in enumerate(rows)})
    survey = Survey.open_for_writing(
        tmp_path / "survey", model_sha256="f" * 64, classes=["Salpida", "Crustacea"], settings={}, decides=True
    )
    names = []
    for at, image in enumerate(list_images([export], Listing())):
        verdict = Verdict(ABSTAINED) if at == 4 else Verdict(ACCEPTED, "Salpida")
        likely = np.array([0.9, 0.1], np.float32)
        survey.add([Prediction(image.path, image.file, "s", "", "", likely, 0.1, verdict, image.columns)])
        names.append(image.path)
    add_confirmed(survey, [Confirmed(names[3], "Crustacea", "Bo", "2024-07-01")])
    return survey


def test_an_update_never_replaces_a_label_of_people_by_a_prediction(from_ecotaxa, tmp_path):
    done = export_survey(from_ecotaxa, tmp_path / "out", "ecotaxa-update")
    with zipfile.ZipFile(tmp_path / "out" / FILE) as archive:
        rows = Judge(archive, update=True).rows
    assert [(row["object_id"], row["object_annotation_category"], row["object_annotation_status"]) for row in rows] == [
        ("obj_0", "Salpida", "predicted"),
        ("obj_3", "Crustacea", "validated"),
    ]
    assert rows[1]["object_annotation_date"] == "20240701"
    assert done.left_out == {
        "objects that people validated or called dubious in EcoTaxa: a prediction does not replace their label": 2,
        "objects without a category, because the model accepted none": 1,
    }
    assert (tmp_path / "out" / TABLE).is_file()


def test_a_survey_that_is_not_from_ecotaxa_has_nothing_to_update(sea, tmp_path):
    with pytest.raises(InputError, match="no column object_id"):
        export_survey(sea, tmp_path / "out", "ecotaxa-update")
