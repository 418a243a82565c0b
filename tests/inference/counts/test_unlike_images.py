"""Images that were given one sample name, but are of several samples; and names that may mean one sample."""

from pathlib import Path

import pytest

from counting import LITER, images, write_survey
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import Counts, count_survey
from pelagia_inference.counts.samples import are_unlike


def counted(folder: Path, *by: str) -> Counts:
    with Survey.open(folder) as survey:
        return count_survey(survey, by)


def visits(folder: Path, column: str = "station", **second: str) -> Path:
    """A survey of one station with 4 and 6 images of the same class and two liters each."""
    at = {**LITER, column: "S1", "eventDate": "2024-01-05T10:00:00Z", "decimalLatitude": "54.1"}
    rows = images("a", {"calanus": 4}, {**at, "minimumDepthInMeters": "5"})
    rows += images("b", {"calanus": 6}, {**at, "minimumDepthInMeters": "5", **second})
    return write_survey(folder, rows)


def per_liter(counts: Counts) -> list[float | None]:
    return [count.per_liter for count in counts.counts if count.name == "calanus"]


@pytest.mark.parametrize(
    ("second", "said", "by"),
    [
        ({"eventDate": "2024-02-05T10:00:00Z"}, "several days (column eventDate)", "eventDate"),
        ({"decimalLatitude": "55.1"}, "several positions (column decimalLatitude)", "decimalLatitude"),
        ({"minimumDepthInMeters": "20"}, "several depths (column minimumDepthInMeters)", "depth"),
    ],
)
def test_two_visits_of_a_station_have_no_concentration_until_they_are_told_apart(
    tmp_path: Path, second: dict[str, str], said: str, by: str
) -> None:
    folder = visits(tmp_path / "s", **second)
    one = counted(folder)
    assert per_liter(one) == [None]  # and not 10 images in the 2 liters of one visit
    assert said in one.samples[0].no_volume
    assert one.samples[0].no_volume.endswith(f"name the samples with --by station,{by}")
    two = counted(folder, "station", by)
    assert {*per_liter(two)} == {2.0, 3.0}
    assert not any("volume" in text for text in two.warnings)


def test_a_run_after_midnight_and_a_drifting_ship_are_one_sample(tmp_path: Path) -> None:
    later = {"eventDate": "2024-01-06T00:10:00Z", "decimalLatitude": "54.13", "minimumDepthInMeters": "5.5"}
    assert per_liter(counted(visits(tmp_path / "s", **later))) == [5.0]


def test_the_images_of_a_named_sample_have_one_volume(tmp_path: Path) -> None:
    folder = visits(tmp_path / "s", "sample", eventDate="2024-02-05T10:00:00Z")
    assert any("the images of one sample have several days" in text for text in counted(folder).warnings)
    split = counted(folder, "sample", "eventDate")
    assert per_liter(split) == [None, None]


def test_samples_that_are_put_together_have_their_own_volumes(tmp_path: Path) -> None:
    at = {**LITER, "station": "S1"}
    rows = images("a", {"calanus": 4}, {**at, "sample": "A", "decimalLatitude": "54.1"})
    rows += images("b", {"calanus": 6}, {**at, "sample": "B", "decimalLatitude": "55.1"})
    counts = counted(write_survey(tmp_path / "s", rows), "station")
    assert per_liter(counts) == [2.5]
    assert counts.samples[0].no_volume == ""


def test_a_column_that_names_images_is_warned_of(tmp_path: Path) -> None:
    times = [{**LITER, "station": "S1", "eventDate": f"2024-01-05T10:00:{second:02}Z"} for second in range(12)]
    rows = [row for number, at in enumerate(times) for row in images(f"a{number}", {"calanus": 1}, at)]
    folder = write_survey(tmp_path / "s", rows)
    said = "12 of 12 samples are a single image (S1/2024-01-05T10:00:00Z, "
    assert any(text.startswith(said) for text in counted(folder, "station", "eventDate").warnings)
    assert not any("a single image" in text for text in counted(folder).warnings)


def test_a_few_samples_of_one_image_are_not_warned_of(tmp_path: Path) -> None:
    rows = [row for number in range(10) for row in images(f"a{number}", {"calanus": 1}, {"station": f"S{number}"})]
    assert not any("a single image" in text for text in counted(write_survey(tmp_path / "s", rows)).warnings)


@pytest.mark.parametrize(
    ("name", "one", "other", "unlike"),
    [
        ("eventDate", "2024-05-31", "2024-06-01", False),  # a run that goes on after midnight
        ("eventDate", "2024-05-31", "2024-06-02", True),
        ("eventDate", "44267.4166", "44300.1", False),  # not a date: no guess
        ("decimalLatitude", "54.10", "54,1", False),
        ("decimalLatitude", "54.1", "-54.1", True),
        ("maximumDepthInMeters", "10", "10.5", False),
        ("maximumDepthInMeters", "10", "25 m", False),
    ],
)
def test_small_differences_are_one_sample(name: str, one: str, other: str, unlike: bool) -> None:
    assert are_unlike(name, one, other) is unlike


def test_names_that_differ_only_in_capitals_or_spaces_are_said(tmp_path: Path) -> None:
    rows = [
        row
        for place, name in enumerate(("St 1", "st  1", "St 2"))
        for row in images(str(place), {"calanus": 1}, {**LITER, "sample": name})
    ]
    counts = counted(write_survey(tmp_path / "s", rows))
    assert len(counts.samples) == 3
    [text] = [text for text in counts.warnings if "capitals" in text]
    assert text.startswith("the names of the samples 'St 1' and 'st  1' differ only in capitals or spaces")


@pytest.mark.parametrize(
    ("one", "other", "unlike"), [("179.99", "-179.99", False), ("179.9", "-179.9", True), ("0.01", "-0.01", False)]
)
def test_longitudes_beside_the_date_line_are_neighbors(one: str, other: str, unlike: bool) -> None:
    assert are_unlike("decimalLongitude", one, other) is unlike
    assert are_unlike("decimalLongitude", other, one) is unlike
