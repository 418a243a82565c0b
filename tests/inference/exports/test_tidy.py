"""Tables and maps of a survey, read back by other programs' readers."""

import csv
import json

import geojson
import pytest
from openpyxl import load_workbook

from pelagia_inference.counts.samples import Sample
from pelagia_inference.exports import workbook
from pelagia_inference.exports.export import ExportOptions, export_survey
from pelagia_inference.exports.extents import Extent
from pelagia_inference.exports.geojson import position_of
from survey_fixtures import CLASSES, NAMES

parquet = pytest.importorskip("pyarrow.parquet")
BY_STATION = ExportOptions(by=("station",))


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_of_all_formats_say_the_same(sea, tmp_path):
    for name in ("csv", "parquet", "xlsx"):
        assert export_survey(sea, tmp_path / name, name, BY_STATION).left_out == {}
    book = load_workbook(tmp_path / "xlsx" / "survey.xlsx")
    for table in ("counts", "samples", "images"):
        rows = rows_of(tmp_path / "csv" / f"{table}.csv")
        of_parquet = parquet.read_table(tmp_path / "parquet" / f"{table}.parquet").to_pylist()
        header, *of_excel = book[table].iter_rows(values_only=True)
        assert list(rows[0]) == list(header) == list(of_parquet[0])
        assert len(rows) == len(of_excel) == len(of_parquet)
        for ours, theirs, sheet in zip(rows, of_parquet, of_excel, strict=True):
            for (name, text), cell in zip(ours.items(), sheet, strict=True):
                value = theirs[name]
                assert cell == value or cell == pytest.approx(value) or "\t" in str(cell)
                if isinstance(value, float | int):
                    assert float(text) == pytest.approx(value)
                else:
                    assert text.removeprefix("'") == (value or "")


def test_counts_keep_the_labels_of_people_apart(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "parquet", BY_STATION)
    counts = parquet.read_table(tmp_path / "out" / "counts.parquet").to_pylist()
    found = {(one["sample"], one["name"]): (one["raw"], one["confirmed"]) for one in counts if not one["rank"]}
    assert found["=St 1", CLASSES[0]][1] == 1
    assert found["=St 1", CLASSES[2]] == (1, 0)


def test_every_image_is_in_the_table_with_what_was_added(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "csv")
    rows = {row["path"].removeprefix("'"): row for row in rows_of(tmp_path / "out" / "images.csv")}
    assert set(rows) == {*NAMES, "broken.png"}
    assert rows[NAMES[-1]]["confirmed_class"] == CLASSES[0]
    assert rows[NAMES[-1]]["confirmed_at"] == "2024-07-01T08:09:10Z"
    assert "confirmed_by" not in rows[NAMES[-1]]
    assert rows[NAMES[0]]["esd_um"] == "14.5"
    assert rows["broken.png"]["reason"] == "empty"


def test_no_cell_of_the_workbook_is_a_formula(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "xlsx")
    cells = [cell for sheet in load_workbook(tmp_path / "out" / workbook.FILE) for row in sheet for cell in row]
    assert any(str(cell.value).startswith("=") for cell in cells)
    assert {cell.data_type for cell in cells} <= {"s", "n"}


def test_a_long_table_continues_on_another_sheet(sea, tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    done = export_survey(sea, tmp_path / "out", "xlsx")
    book = load_workbook(tmp_path / "out" / workbook.FILE)
    parts = [book[name] for name in ("images", "images 2", "images 3")]
    assert [sheet.max_row for sheet in parts] == [4, 4, 2]
    assert len({row[0] for sheet in parts for row in sheet.iter_rows(min_row=2, values_only=True)}) == 7
    assert any("3 sheets" in note for note in done.notes)


def test_the_map_is_valid_geojson_with_a_point_for_each_station(sea, tmp_path):
    export_survey(sea, tmp_path / "out", "geojson", BY_STATION)
    read = geojson.loads((tmp_path / "out" / "samples.geojson").read_text(encoding="utf-8"))
    assert read.is_valid
    assert [one.geometry.coordinates for one in read.features] == [[-3.25, 54.5], [-4.25, 55.5]]
    assert read.features[1].properties["confirmed Copépode"] == 1
    assert read.features[1].properties["confirmed taxon Copepoda"] == 1
    assert read.features[1].properties["sample"] == "=St 1"


def test_every_format_reads_a_position_as_the_counts_do():
    columns = {"decimalLatitude": "54,5", "decimalLongitude": " -3.25 ", "minimumDepthInMeters": "-999"}
    assert position_of(Sample("S1", ("S1",), columns)) == [-3.25, 54.5]
    extent = Extent()
    extent.add(columns, None)
    assert (extent.latitudes, extent.longitudes, extent.depths) == ([54.5, 54.5], [-3.25, -3.25], [])
    assert position_of(Sample("S1", ("S1",), columns | {"decimalLatitude": "99"})) is None


def test_a_sample_without_one_position_has_no_point_and_that_is_said(sea, tmp_path):
    done = export_survey(sea, tmp_path / "out", "geojson", ExportOptions(by=("pixel_size_um",)))
    [feature] = json.loads((tmp_path / "out" / "samples.geojson").read_text(encoding="utf-8"))["features"]
    assert feature["geometry"] is None
    assert "1 of 1 samples have no position" in done.notes[0]
