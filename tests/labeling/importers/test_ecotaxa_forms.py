"""Datasets of EcoTaxa exports in all their forms, and what is said about them."""

import pytest

from ecotaxa_exports import FORMS, flat, object_row, table, write_files, zipped
from pelagia.images.pixel_size import pixel_size_um
from pelagia.sources import ListingOptions, list_images
from pelagia_labeling.importers.dataset import import_dataset

ROWS = [object_row(number, sample=f"s{number // 2}") for number in range(6)]


@pytest.fixture
def images(encode):
    return {row["img_file_name"]: encode(seed=seed) for seed, row in enumerate(ROWS)}


@pytest.fixture
def export(tmp_path, images):
    """Writes an export of these rows in one folder, with all six images."""
    return lambda *rows: write_files(tmp_path / "in", flat(rows, images))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_dataset(form, images, tmp_path):
    made = import_dataset(FORMS[form](tmp_path, ROWS, images), tmp_path / "ds", join_near_duplicates=False)
    assert {record.extra["object_id"]: (record.class_name, record.group) for record in made.records} == {
        row["object_id"]: (row["object_annotation_category"], row["sample_id"]) for row in ROWS
    }
    for record in made.records:
        assert record.annotators == "Ann"
        assert made.file(record).read_bytes() in images.values()
        assert record.extra["eventDate"] == "2022-07-18T11:53:00Z"
        assert (record.extra["decimalLatitude"], record.extra["sampleSizeValue"]) == ("43.685", "12.5")
        assert (record.extra["acq_sub_part"], record.extra["object_area"]) == ("4", "311")
        assert pixel_size_um(record.extra) == pytest.approx(10.6)
        assert "ann@example.org" not in record.extra.values()


@pytest.mark.parametrize("form", FORMS)
def test_a_dataset_and_a_survey_have_the_same_columns(form, images, tmp_path):
    path = FORMS[form](tmp_path, ROWS, images)
    made = import_dataset(path, tmp_path / "ds", join_near_duplicates=False)
    of_survey = {one.columns["object_id"]: dict(one.columns) for one in list_images([path])}
    for record in made.records:
        expected = of_survey[record.extra["object_id"]]
        del expected["object_annotation_category"]
        assert expected.items() <= record.extra.items()


def test_the_dataset_names_its_tables(images, tmp_path):
    made = import_dataset(FORMS["backup"](tmp_path, ROWS, images), tmp_path / "ds")
    tables = [f"s{at}/ecotaxa_s{at}.tsv" for at in range(3)]
    assert made.meta.source == {"kind": "ecotaxa", "folder": "export", "tables": tables}
    (tmp_path / "e.zip").write_bytes(zipped(flat(ROWS, images)))
    made = import_dataset(tmp_path / "e.zip", tmp_path / "ds2")
    assert made.meta.source == {
        "kind": "ecotaxa",
        "archive": "e.zip",
        "tables": ["ecotaxa_export_42_20240101_1200.tsv"],
    }


def test_statuses_are_read_as_ecotaxa_reads_them(export, tmp_path):
    statuses = ["validated", "Validated", "VALIDATED ", "predicted", "V", "nan"]
    src = export(*(object_row(at, object_annotation_status=status) for at, status in enumerate(statuses)))
    made = import_dataset(src, tmp_path / "ds")
    assert made.meta.images == 3
    assert made.meta.left_out == {"status_none": 1, "status_predicted": 1, "status_v": 1}
    assert import_dataset(src, tmp_path / "ds2", statuses={"Predicted", "v"}).meta.images == 2


def test_a_sample_that_is_nan_is_no_group(export, tmp_path):
    made = import_dataset(export(object_row(0), object_row(1, "nan"), object_row(2, "NaN")), tmp_path / "ds")
    assert made.meta.images == 1
    assert made.meta.left_out == {"no_group": 2, "not_in_table": 3}


@pytest.mark.parametrize("column", ["sample_stationid", "SAMPLE_STATIONID", "station"])
def test_the_group_may_be_named_as_in_ecotaxa_or_as_in_pelagia(column, export, tmp_path):
    src = export(object_row(0, sample_stationid="A"), object_row(1, sample_stationid="B"))
    made = import_dataset(src, tmp_path / "ds", group_column=column)
    assert {record.group for record in made.records} == {"A", "B"}


def test_the_taxonomy_has_the_taxa_of_the_hierarchy(export, tmp_path):
    taxonomy = import_dataset(export(*ROWS), tmp_path / "ds").meta.taxonomy
    assert taxonomy.names == ("Salpida", "part<Crustacea")
    lineage = [taxon.name for taxon in taxonomy.lineage("part<Crustacea")]
    assert lineage == ["living", "Arthropoda", "Crustacea", "part<Crustacea"]
    assert [taxon.name for taxon in taxonomy.lineage("Salpida")] == ["living", "Tunicata", "Salpida"]


def test_a_contradiction_in_the_hierarchy_is_said(export, tmp_path):
    rows = [object_row(0), object_row(2), object_row(4, object_annotation_hierarchy="living>Salpida")]
    made = import_dataset(export(*rows), tmp_path / "ds")
    (said,) = made.meta.warnings
    assert said.startswith("the class 'Salpida' has 2 lineages")


def test_only_the_image_of_the_lowest_rank_is_taken_unless_all_are_wanted(export, tmp_path):
    src = export(object_row(0), object_row(1, object_id="obj_0", img_rank="1", object_annotation_category="Salpida"))
    made = import_dataset(src, tmp_path / "ds")
    assert ([record.source for record in made.records], made.meta.left_out) == (
        ["0.png"],
        {"not_in_table": 4, "other_rank": 1},
    )
    assert import_dataset(src, tmp_path / "all", listing=ListingOptions(all_ranks=True)).meta.images == 2


def test_images_that_are_missing_or_outside_the_export_are_counted(images, put, tmp_path):
    put(tmp_path / "secret.png", seed=9)
    rows = [object_row(0), object_row(1), object_row(2, img_file_name="../secret.png")]
    files = {"ecotaxa.tsv": table(rows), "0.png": images["0.png"]}
    made = import_dataset(write_files(tmp_path / "in", files), tmp_path / "ds")
    assert (made.meta.images, made.meta.left_out) == (1, {"missing": 2})
