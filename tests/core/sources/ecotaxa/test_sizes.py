"""Pixel sizes and volumes, whose units depend on the instrument."""

import pytest

from pelagia.images.pixel_size import pixel_size_um
from pelagia.sources.ecotaxa.columns import Columns
from pelagia.sources.listing import Listing


def converted(**row: str) -> tuple[dict[str, str], list[str]]:
    """The columns of one row, and the warnings."""
    listing = Listing()
    return Columns(list(row), "t", listing)(row), list(listing.warnings)


@pytest.mark.parametrize(
    ("row", "micrometers"),
    [
        ({"process_particle_pixel_size_mm": "0.0106"}, 10.6),
        ({"process_particle_pixel_size_mm": "0,0106"}, 10.6),
        ({"process_pixel": "0.75", "acq_instrument": "PlanktoScope v2.6"}, 0.75),
        ({"process_pixel": "0.174", "acq_instrument": "uvp5"}, 174),
        ({"acq_pixel": "73", "acq_instrument": "uvp6"}, 73),
        ({"acq_pixel": "0.094", "acq_instrument": "UVP5HD"}, 94),
        ({"acq_pixel": "0.0106", "acq_instrument": "zooscan"}, 10.6),
        ({"acq_pixel": "10.6"}, 10.6),
        ({"acq_pixel": "0.0106"}, 10.6),
        ({"acq_pixel_um": "1.1"}, 1.1),
        ({"acq_resolution_pixel_per_micron": "3.4", "acq_instrument": "IFCB"}, 1 / 3.4),
        ({"process_particle_pixel_size_mm": "99999", "acq_pixel": "73"}, 73),
    ],
)
def test_a_pixel_size_reaches_the_network_in_micrometers(row: dict[str, str], micrometers: float) -> None:
    columns, warnings = converted(**row)
    assert pixel_size_um(columns) == pytest.approx(micrometers, rel=1e-4)
    assert warnings == []


@pytest.mark.parametrize(
    ("instrument", "value", "unit", "micrometers"),
    [("zooscan", "10.6", "micrometers", 10.6), ("flowcam", "0.0011", "millimeters", 1.1)],
)
def test_a_value_that_is_possible_in_one_unit_alone_is_read_so_and_said(instrument, value, unit, micrometers) -> None:
    columns, warnings = converted(acq_pixel=value, acq_instrument=instrument)
    assert pixel_size_um(columns) == pytest.approx(micrometers)
    assert warnings == [f"t: the column acq_pixel has {value}, which is only possible in {unit}: it is read as {unit}"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"acq_pixel": "0.2"}, "may be in micrometers or in millimeters"),
        ({"process_particle_pixel_size_mm": "10.6"}, "cannot be the size of a pixel"),
    ],
)
def test_a_pixel_size_of_an_unknown_unit_keeps_its_column_and_is_said(row: dict[str, str], why: str) -> None:
    columns, (warning,) = converted(**row)
    assert pixel_size_um(columns) == 0
    assert row.items() <= columns.items()
    assert why in warning


def test_two_columns_that_contradict_each_other_are_said() -> None:
    columns, (warning,) = converted(process_particle_pixel_size_mm="0.0106", acq_pixel_um="5")
    assert pixel_size_um(columns) == pytest.approx(10.6)
    assert "have different pixel sizes (10.6 and 5 micrometers): process_particle_pixel_size_mm is used" in warning


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"sample_tot_vol": "12,5"}, ("12.5", "cubic metre")),
        ({"sample_tot_vol": "12.5", "acq_instrument": "ZooScan 132"}, ("12.5", "cubic metre")),
        ({"sample_initial_col_vol_m3": "0.019", "acq_instrument": "flowcam"}, ("0.019", "cubic metre")),
        ({"acq_volume_sampled": "4.17", "acq_instrument": "IFCB"}, ("4.17", "millilitre")),
        ({"sample_tot_vol": "99999,0"}, None),
        ({"sample_tot_vol": "999999"}, None),
        ({"sample_total_volume": "20", "acq_instrument": "PlanktoScope v2.6"}, None),
    ],
)
def test_a_volume_has_the_unit_of_its_document(row: dict[str, str], expected: tuple[str, str] | None) -> None:
    columns, warnings = converted(**row)
    found = (columns["sampleSizeValue"], columns["sampleSizeUnit"]) if "sampleSizeValue" in columns else None
    assert found == expected
    assert warnings == []


def test_a_volume_of_an_unknown_unit_keeps_its_column_and_is_said() -> None:
    columns, (warning,) = converted(sample_tot_vol="2.5", acq_instrument="uvp6")
    assert columns == {"sample_tot_vol": "2.5", "instrument": "uvp6"}
    assert "the unit of sample_tot_vol is not known for the instrument 'uvp6'" in warning


def test_the_columns_of_sub_sampling_are_kept() -> None:
    row = {"acq_sub_part": "4", "acq_sub_method": "motoda", "acq_celltype": "300", "acq_imaged_volume": "2.93"}
    row |= {"sample_concentrated_sample_volume": "100", "acq_nb_frame": "750", "acq_volume": "37.5"}
    assert converted(**row) == (row, [])


def test_people_and_settings_are_left_out_of_a_survey_and_people_out_of_a_dataset() -> None:
    row = {"sample_operator": "Ann", "acq_author": "Bo", "object_area": "7", "acq_gain": "2", "sample_ship": "Tara"}
    assert Columns(list(row), "t", Listing())(row) == {"sample_ship": "Tara"}
    kept = {"object_area": "7", "acq_gain": "2", "sample_ship": "Tara"}
    assert Columns(list(row), "t", Listing(), everything=True)(row) == kept


def test_values_that_cannot_be_converted_keep_their_columns_and_are_said_once() -> None:
    listing = Listing()
    columns = Columns(["object_lat", "object_date", "object_time"], "t", listing)
    row = {"object_lat": "43°41.06", "object_date": "18/07/2022", "object_time": "11h53"}
    assert [columns(row), columns(row)] == [row, row]
    assert listing.warning_texts() == tuple(
        f"t: the column {name} has values that are not {what}, such as '{row[name]}': such a value keeps its column "
        f"{name} (2 times)"
        for name, what in (
            ("object_lat", "a latitude"),
            ("object_date", "dates such as 20240708 or 2024-07-08"),
            ("object_time", "times such as 080000, 0800 or 08:00:00"),
        )
    )
