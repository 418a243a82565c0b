"""The dates and times that EcoTaxa exports and imports."""

import pytest

from pelagia.sources.ecotaxa.clock import day_of, event_date, time_of

DAY = "2022-07-18"


@pytest.mark.parametrize("text", ["20220718", "2022-07-18", " 20220718 ", "20220718.0", "20220718,00"])
def test_a_date_with_or_without_dashes_is_a_day(text: str) -> None:
    assert day_of(text) == DAY


@pytest.mark.parametrize(
    "text",
    ["", "nan", "2022", "202207", "18/07/2022", "07/18/2022", "2022-0718", "202207-18", "20220732", "20230229", "0"],
)
def test_what_is_not_surely_a_date_is_none(text: str) -> None:
    assert day_of(text) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("115300", "11:53:00"),
        ("93015", "09:30:15"),
        ("1153", "11:53:00"),
        ("320", "03:20:00"),
        ("20", "00:20:00"),
        ("5", "00:05:00"),
        ("0", "00:00:00"),
        ("0000", "00:00:00"),
        ("000000", "00:00:00"),
        ("235959", "23:59:59"),
        ("1153.0", "11:53:00"),
        ("115300.0", "11:53:00"),
        ("115300.25", "11:53:00.25"),
        ("115300,250", "11:53:00.25"),
        ("93015.5", "09:30:15.5"),
        ("11:53:00", "11:53:00"),
        ("11:53", "11:53:00"),
        ("3:20", "03:20:00"),
        ("3:20:05", "03:20:05"),
        ("11:53:00.25", "11:53:00.25"),
        ("11:53:00,5", "11:53:00.5"),
        (" 11:53:00 ", "11:53:00"),
    ],
)
def test_a_time_of_any_form_is_read(text: str, expected: str) -> None:
    assert time_of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "nan", "240000", "2400", "1160", "115360", "24:00", "11:60", "11:53:60", "1153.5", "-320", "1.5e3"),
        *("11:5", "11:53 PM", "11h53", "1153000", "noon", "11:53:00Z"),
    ],
)
def test_what_is_not_surely_a_time_is_none(text: str) -> None:
    assert time_of(text) == ""


@pytest.mark.parametrize("time", ["", "nan", "NaN", "2400", "noon"])
def test_without_a_time_an_event_is_a_day_and_never_midnight(time: str) -> None:
    assert event_date("20220718", time) == DAY


def test_a_time_without_a_date_is_no_event() -> None:
    assert event_date("18/07/2022", "115300") == ""


def test_a_date_and_a_time_are_utc() -> None:
    assert event_date("2022-07-18", "11:53") == "2022-07-18T11:53:00Z"


def test_every_minute_of_a_day_is_read_from_both_forms() -> None:
    for minute in range(24 * 60):
        expected = f"{minute // 60:02}:{minute % 60:02}:00"
        assert time_of(f"{minute // 60:02}{minute % 60:02}") == expected
        assert time_of(str(int(f"{minute // 60}{minute % 60:02}"))) == expected
        assert time_of(expected) == expected
