"""Positions, depths and times of a manifest that cannot be right are said once, with an example."""

import pytest

from pelagia.sources import Listing
from pelagia.sources.stated_values import StatedValues


def warned(name, text):
    listing = Listing()
    StatedValues("m.csv", [name], listing).check({name: text})
    return list(listing.warnings)


@pytest.mark.parametrize(
    "text",
    [
        "2024",
        "2024-05",
        "2024-05-31",
        "2024-05-31T13:45:00Z",
        "2024-05-31 13:45",
        "2024-05-31T13:45:00.123+05:30",
        "2024-05-31T10:00Z/2024-05-31T11:00Z",
        "20240531T134500Z",
        "",
        "NA",
    ],
)
def test_dates_of_iso_8601_are_right(text):
    assert warned("eventDate", text) == []


@pytest.mark.parametrize("text", ["44267.4166", "03/04/2021", "12.03.2021", "2199-13-45", "2024-02-30", "May 2024"])
def test_other_dates_are_said(text):
    [said] = warned("eventDate", text)
    assert said == (
        f"m.csv: the column eventDate has values that are not dates like 2024-05-31 or 2024-05-31T13:45:00Z, such as "
        f"'{text}': they are passed on as they are"
    )


@pytest.mark.parametrize(("text", "right"), [("5", True), ("-0.5", True), ("16 ft", False), ("50000", False)])
def test_depths_are_meters(text, right):
    assert (warned("minimumDepthInMeters", text) == []) is right


def test_a_depth_range_in_the_wrong_order_is_said_once_with_its_number():
    listing = Listing()
    names = ["minimumDepthInMeters", "maximumDepthInMeters"]
    values = StatedValues("m.csv", names, listing)
    for top, bottom in (("0", "20"), ("50", "5"), ("90", "10"), ("10", "10"), ("", "5")):
        values.check(dict(zip(names, (top, bottom), strict=True)))
    assert listing.warning_texts() == (
        "m.csv: the minimumDepthInMeters is more than the maximumDepthInMeters in rows, such as 50 and 5: they are "
        "passed on as they are (2 times)",
    )
