"""EcoTaxa exports that people reported: what a survey and a dataset must have of each.

The inputs are not part of the repository; the tests of `pelagia.sources.ecotaxa` make inputs of the same kinds.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from pelagia.images.pixel_size import pixel_size_um
from pelagia.sources import Listing, list_images
from pelagia_labeling.importers.dataset import import_dataset

Case = Callable[[str], Path]


def columns_of(path: Path) -> list[dict[str, str]]:
    """The columns of each image; every image must be readable."""
    images = list(list_images([path]))
    assert all(image.read() for image in images)
    return [dict(image.columns) for image in images]


def images_of(path: Path, out: Path) -> int:
    """The number of images of a dataset of the export."""
    return import_dataset(path, out, join_near_duplicates=False).meta.images


@pytest.mark.parametrize("form", ["export", "export.zip"])
def test_a_table_in_latin_1_keeps_its_names_whole(case: Case, form: str, tmp_path: Path) -> None:
    path = case("A05") / form
    assert [row["station"] for row in columns_of(path)] == ["Baie des Anges, été"] * 9
    assert images_of(path, tmp_path / "ds") == 9


def test_decimal_commas_are_numbers(case: Case, tmp_path: Path) -> None:
    path = case("A06") / "export"
    rows = columns_of(path)
    assert {(row["decimalLatitude"], row["decimalLongitude"], row["maximumDepthInMeters"]) for row in rows} == {
        ("43.685", "7.315", "75.5")
    }
    assert not any("sampleSizeValue" in row for row in rows)
    assert [pixel_size_um(row) for row in rows] == [pytest.approx(10.6)] * 9
    made = import_dataset(path, tmp_path / "ds", join_near_duplicates=False)
    assert [pixel_size_um(record.extra) for record in made.records] == [pytest.approx(10.6)] * 9


@pytest.mark.parametrize("form", ["export", "Ecotaxa_yotel_4501_A_004.zip"])
def test_a_table_with_a_capital_is_a_table(case: Case, form: str, tmp_path: Path) -> None:
    path = case("A07") / form
    assert len(columns_of(path)) == 9
    assert images_of(path, tmp_path / "ds") == 9


def test_times_of_all_forms(case: Case) -> None:
    path = case("A16") / "export"
    found = {row["object_id"]: row.get("eventDate") for row in columns_of(path)}
    assert found == {
        "obj_0": "2022-07-18T11:53:00Z",
        "obj_1": "2022-07-18T03:20:00Z",
        "obj_2": "2022-07-18T11:53:00Z",
        "obj_3": "2022-07-18T11:53:00Z",
        "obj_4": "2022-07-18T11:53:00Z",
        "obj_5": "2022-07-18T11:53:00Z",
        "obj_6": "2022-07-18T11:53:00.25Z",
        "obj_7": "2022-07-18",
        "obj_8": None,
    }
    listing = Listing()
    last = list(list_images([path], listing))[-1]
    assert (last.columns["object_date"], last.columns["object_time"]) == ("18/07/2022", "11:53")
    assert "the column object_date has values that are not dates" in listing.warning_texts()[0]


@pytest.mark.parametrize(
    ("form", "images"), [("openquote", 9), ("noquotes", 9), ("rawquote", 9), ("header", 9), ("status", 7)]
)
def test_odd_tables_are_read_as_ecotaxa_reads_them(case: Case, form: str, images: int, tmp_path: Path) -> None:
    path = case("A17") / form
    assert len(columns_of(path)) == 9
    assert images_of(path, tmp_path / "ds") == images
