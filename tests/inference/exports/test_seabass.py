"""SeaBASS files, checked by the rules of its page "Metadata Headers" (`check`)."""

import re
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from pelagia.errors import ConfigError
from pelagia.survey.additions import keep_pixel_size
from pelagia.survey.journal import Prediction, Survey
from pelagia_inference.counts.samples import Sample
from pelagia_inference.exports.export import ExportOptions, export_survey
from pelagia_inference.exports.seabass import SeabassMetadata, _imaged_ml, _pixel_per_um
from survey_fixtures import NAMES, write_survey

METADATA = """
seabass:
  investigators: [Ann Müller, Bo]
  affiliations: [Sea Institute]
  contact: [ann@example.org]
  experiment: SEA
  cruise: sea01
  documents: [protocol.pdf, checklist.txt]
  calibration_files: [no_cal_files]
  instrument_model: Imaging_FlowCytobot_IFCB134
  instrument_manufacturer: McLane Research Laboratories
  data_type: flow_thru
  data_status: preliminary
  volume_sampled_ml: 5
  volume_imaged_ml: 4.5
  time_zone: "+02:00"
  scientific_name_ids: {detritus: "ptwg:detritus"}
  comments: [Rough sea]
"""
REQUIRED = (
    *("investigators", "affiliations", "contact", "experiment", "cruise", "station", "data_file_name", "documents"),
    *("calibration_files", "data_type", "data_status", "start_date", "end_date", "start_time", "end_time"),
    *("north_latitude", "south_latitude", "east_longitude", "west_longitude", "water_depth", "measurement_depth"),
    *("missing", "delimiter", "fields", "units", "eventID", "instrument_model", "instrument_manufacturer"),
    *("volume_sampled_ml", "volume_imaged_ml", "pixel_per_um"),
    *("length_representation_instrument_varname", "width_representation_instrument_varname"),
)
REQUIRED_FIELDS = {"associatedMedia", "scientificNameID_automated", "biovolume", "area_cross_section"} | {
    "length_representation",
    "width_representation",
}


def check(path):
    """The headers and rows of a file that keeps the rules; AssertionError for one that does not."""
    lines = path.read_bytes().decode("ascii").splitlines()
    assert lines[0] == "/begin_header"
    end = lines.index("/end_header")
    headers = {}
    for line in lines[1:end]:
        if not line.startswith("!"):
            found = re.fullmatch(r"/(\w+)=(\S+)", line)  # no white space, no empty value
            assert found, line
            assert found[1] not in headers
            headers[found[1]] = found[2]
    assert [name for name in REQUIRED if name not in headers] == []
    assert headers["data_file_name"] == path.name
    assert headers["delimiter"] == "comma"
    for name in ("north_latitude", "south_latitude", "east_longitude", "west_longitude"):
        assert re.fullmatch(r"-?\d+(\.\d+)?\[DEG\]", headers[name])
    for name in ("start", "end"):
        datetime.strptime(f"{headers[name + '_date']} {headers[name + '_time']}", "%Y%m%d %H:%M:%S[GMT]")
    fields = headers["fields"].split(",")
    assert set(fields) >= REQUIRED_FIELDS
    assert len(headers["units"].split(",")) == len(fields)
    rows = [line.split(",") for line in lines[end + 1 :]]
    assert rows
    assert all(len(row) == len(fields) and all(cell and not re.search(r"\s", cell) for cell in row) for row in rows)
    assert all(cell != "NA" for row in rows for cell in row)
    return headers, [dict(zip(fields, row, strict=True)) for row in rows]


@pytest.fixture
def options(tmp_path):
    (tmp_path / "seabass.yaml").write_text(METADATA, encoding="utf-8")
    return ExportOptions(by=("station",), metadata=tmp_path / "seabass.yaml")


def test_each_sample_is_a_file_that_keeps_the_rules(sea, tmp_path, options):
    done = export_survey(sea, tmp_path / "out", "seabass", options)
    files = sorted((tmp_path / "out").glob("*.sb"))
    assert [path.name for path in files] == ["SEA-sea01_St_0.sb", "SEA-sea01_St_1.sb"]
    headers, rows = check(files[0])
    assert headers["investigators"] == "Ann_Muller,Bo"
    assert headers["measurement_depth"] == "5"
    assert (headers["start_time"], headers["end_time"]) == ("08:20:00[GMT]", "08:22:00[GMT]")
    assert headers["pixel_per_um"] == "0.5"
    assert headers["water_depth"] == "NA"
    seen = {row["associatedMedia"]: row for row in rows}
    first, script = seen["%3D1%2B1.png"], seen["%3Cscript%3Ealert%281%29%3C/script%3E.png"]
    assert first["scientificName_automated"] == "Copepoda"
    assert first["scientificNameID_automated"] == "urn:lsid:marinespecies.org:taxname:1080"
    assert script["scientificNameID_automated"] == "ptwg:detritus"
    sizes = [first[name] for name in ("area_cross_section", "length_representation", "biovolume")]
    assert sizes == ["160", "20", "1600"]
    assert any("classes have no scientificNameID" in note and "=medusa" in note for note in done.notes)
    assert done.left_out == {"images that could not be classified": 1}


def test_the_imaged_volume_is_the_imaged_part_of_the_water():
    sample = Sample("S1", ("S1",), {"pixel_size_mm": "0.002"}, volume_l=8.0, fraction=0.25)
    assert _imaged_ml(SeabassMetadata(), sample) == 2000
    assert _imaged_ml(SeabassMetadata(volume_imaged_ml=4.5), sample) == 4.5
    assert _pixel_per_um(SeabassMetadata(), sample) == 0.5


def typed_by_a_user(folder, size):
    """The survey of the fixture, whose input states no size of a pixel, checked with ``--pixel-size``."""
    with write_survey(folder, NAMES) as survey:
        survey.add([replace(row, columns={**row.columns, "pixel_size_um": ""}) for row in survey])
        survey.write(["UPDATE images SET columns = json_remove(columns, '$.pixel_size_um')"])
        keep_pixel_size(survey, size)
    return Survey.open(folder)


def test_the_size_of_a_pixel_that_a_user_typed_for_the_check_is_used(tmp_path, options):
    with typed_by_a_user(tmp_path / "typed", 2.5) as survey:
        export_survey(survey, tmp_path / "out", "seabass", options)
    headers, rows = check(tmp_path / "out" / "SEA-sea01_St_0.sb")
    assert headers["pixel_per_um"] == "0.4"
    assert rows[0]["area_cross_section"] == "250"  # 40 pixels of 2.5 x 2.5 micrometers


def test_another_size_of_a_pixel_than_that_of_the_measures_is_refused(sea, tmp_path, options):
    options.metadata.write_text(f"{METADATA}  pixel_per_um: 0.4\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"pixel_per_um is 0\.4, but the survey says 0\.5"):
        export_survey(sea, tmp_path / "out", "seabass", options)


def test_more_water_imaged_than_sampled_is_refused(sea, tmp_path, options):
    options.metadata.write_text(METADATA.replace("volume_imaged_ml: 4.5", "volume_imaged_ml: 6"), encoding="utf-8")
    with pytest.raises(ConfigError, match="volume_sampled_ml is 5, and the samples .* have a larger volume_imaged_ml"):
        export_survey(sea, tmp_path / "out", "seabass", options)


def test_a_sample_across_the_date_line_is_refused(tmp_path, options):
    with write_survey(tmp_path / "line", NAMES) as survey:
        rows = list(survey)
        columns = [{**row.columns, "decimalLongitude": "-179.9" if at else "179.9"} for at, row in enumerate(rows[:2])]
        survey.add([replace(row, columns=found) for row, found in zip(rows, columns, strict=False)])
        with pytest.raises(ConfigError, match="on both sides of 180 degrees of longitude.*=St 0"):
            export_survey(survey, tmp_path / "out", "seabass", options)


def test_an_address_with_letters_and_commas_keeps_the_rules(sea, tmp_path, options):
    export_survey(sea, tmp_path / "out", "seabass", replace(options, media_url="https://möwe.example/a,b?f="))
    _, rows = check(tmp_path / "out" / "SEA-sea01_St_0.sb")
    assert rows[0]["associatedMedia"].startswith("https://m%C3%B6we.example/a%2Cb?f=")


def test_a_label_of_people_is_in_the_manual_fields_beside_that_of_the_machine(sea, tmp_path, options):
    export_survey(sea, tmp_path / "out", "seabass", options)
    _, rows = check(tmp_path / "out" / "SEA-sea01_St_1.sb")
    last = rows[-1]
    assert (last["data_provider_category_automated"], last["data_provider_category_manual"]) == ("=medusa", "Copepode")
    assert last["biovolume"] == "-9999"
    assert rows[0]["scientificName_manual"] == "-9999"


def test_all_that_is_missing_is_listed_before_anything_is_written(tmp_path):
    with Survey.open_for_writing(tmp_path / "s", model_sha256="f" * 64, classes=["a"], settings={}) as survey:
        survey.add(row for row in rows_without_columns())
        with pytest.raises(ConfigError) as refused:
            export_survey(survey, tmp_path / "out", "seabass")
    text = str(refused.value)
    for word in ("investigators", "not measured", "decimalLatitude", "time_zone", "volume_imaged_ml", "pixel_per_um"):
        assert word in text
    assert not (tmp_path / "out").exists()


def rows_without_columns():
    return [Prediction("a.png", "/a.png", "s", "", "", np.ones(1, np.float32))]


def test_a_wrong_key_in_the_metadata_is_named(sea, tmp_path, options):
    options.metadata.write_text(METADATA.replace("cruise:", "criuse:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="did you mean 'cruise'"):
        export_survey(sea, tmp_path / "out", "seabass", options)


def test_samples_of_the_same_name_for_a_file_get_two_files(tmp_path, options):
    with write_survey(tmp_path / "twins", NAMES) as survey:
        rows = list(survey)
        survey.add(replace(row, columns={**row.columns, "station": "(St 0)"}) for row in rows[:2])
        export_survey(survey, tmp_path / "out", "seabass", options)
    assert len({path.name.lower() for path in (tmp_path / "out").glob("*.sb")}) == 3
