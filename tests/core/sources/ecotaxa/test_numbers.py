"""Numbers and positions as EcoTaxa, UVPapp and spreadsheets write them."""

import pytest

from pelagia.sources.ecotaxa.numbers import is_unknown, latitude_of, longitude_of, number_of


@pytest.mark.parametrize(
    "text", ["", " ", "nan", "NaN", "NA", "None", "99999", "99999.0", "99999,0", "-999", "-999.00"]
)
def test_the_values_for_unknown_are_known(text: str) -> None:
    assert is_unknown(text)


@pytest.mark.parametrize("text", ["0", "0.0", "9999", "999999", "Nansen", "-99"])
def test_other_values_are_values(text: str) -> None:
    assert not is_unknown(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12,5", "12.5"), ("12.50", "12.50"), (" 7 ", "7"), ("-0,5", "-0.5"), ("1e-3", "1e-3"), (",5", ".5")],
)
def test_a_number_keeps_its_digits(text: str, expected: str) -> None:
    assert number_of(text) == expected


@pytest.mark.parametrize("text", ["", "1.234,5", "1,234.5", "12 m", "inf", "nan", "1e999", "--1"])
def test_what_is_not_surely_a_number_is_none(text: str) -> None:
    assert number_of(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("43.685", "43.685"),
        ("43,685", "43.685"),
        ("0.0", "0.0"),
        ("-43.685", "-43.685"),
        ("43.685 N", "43.685"),
        ("43.685°S", "-43.685"),
        ("43°41 06", "43.685"),
        ("-43°41 06", "-43.685"),
        ("-0°30 00", "-0.5"),
        ("43°41'06\"N", "43.685"),
        ("43°41′06″S", "-43.685"),
        ("43° 41' 06\" N", "43.685"),
        ("43°41.1'N", "43.685"),
        ("43°41,1'", "43.685"),
        ("43°41'06.0", "43.685"),
        ("43°", "43.0"),
    ],
)
def test_a_latitude_of_any_form_is_decimal_degrees(text: str, expected: str) -> None:
    assert latitude_of(text) == expected


def test_a_longitude_may_be_east_or_west_in_several_languages() -> None:
    assert [longitude_of(f"7°18'54\"{side}") for side in "EWO"] == ["7.315", "-7.315", "-7.315"]


@pytest.mark.parametrize("text", ["91", "-90.5", "43°61 00", "43°41 60", "43°41.06", "43.685 E", "-43 N", "north", ""])
def test_what_is_not_surely_a_latitude_is_none(text: str) -> None:
    assert latitude_of(text) == ""


def test_a_longitude_has_its_own_limit() -> None:
    assert (longitude_of("179.9"), longitude_of("180.1"), longitude_of("7 N")) == ("179.9", "", "")
