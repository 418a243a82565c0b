"""The events of a Darwin Core Archive whose samples are unusual."""

import re
from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.survey.additions import add_empty_samples
from pelagia.survey.journal import Survey
from pelagia_inference.counts.counts import count_survey
from pelagia_inference.counts.samples import grouping
from pelagia_inference.exports.dwc.details import details_of
from pelagia_inference.exports.dwc.events import SampleEvent, sample_events
from pelagia_inference.exports.dwc.export import write_dwc
from pelagia_inference.exports.dwc.metadata import DatasetMetadata
from surveys.small_survey import IMAGES, SAMPLES, make_survey

pytest.importorskip("dwca.read")


def events_of(folder: Path) -> dict[str, SampleEvent]:
    with Survey.open(folder) as survey:
        details = details_of(survey, grouping(survey.columns().own))
        found = sample_events(count_survey(survey).samples, details, DatasetMetadata(id="cruise1"))
    return {event.sample.name: event for event in found}


def test_a_sample_without_an_image_is_an_event_with_its_time_and_volume(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "s")
    with Survey.open(folder, to_add=True) as survey:
        add_empty_samples(survey, [{**SAMPLES["A"], "sample": "C"}])
    row = events_of(folder)["C"].row
    assert (row["eventDate"], row["decimalLatitude"]) == ("2024-05-01T10:00:00Z", "54.5")
    assert (row["sampleSizeValue"], row["sampleSizeUnit"]) == ("5", "millilitre")


def test_depths_in_the_wrong_order_are_left_out_with_the_reason(tmp_path: Path) -> None:
    wrong = {**SAMPLES["A"], "minimumDepthInMeters": "50", "maximumDepthInMeters": "5"}
    event = events_of(make_survey(tmp_path / "s", {**SAMPLES, "A": wrong}))["A"]
    assert "minimumDepthInMeters" not in event.row
    assert "maximumDepthInMeters" not in event.row
    assert event.faults["minimumDepthInMeters"] == (
        "its minimumDepthInMeters 50 is more than its maximumDepthInMeters 5"
    )


def test_a_sample_on_both_sides_of_the_date_line_has_no_middle(tmp_path: Path) -> None:
    folder = make_survey(tmp_path / "wide", {"A": {**SAMPLES["A"], "decimalLongitude": "179.9"}}, {"A": IMAGES["A"]})
    make_survey(folder, {"A": {**SAMPLES["A"], "decimalLongitude": "-179.9"}}, {"A": IMAGES["A"][:1]})
    assert "decimalLongitude" not in events_of(folder)["A"].row
    metadata = tmp_path / "dataset.yaml"
    metadata.write_text("id: cruise1\ntitle: A cruise\n", encoding="utf-8")
    with Survey.open(folder) as survey, pytest.raises(InputError) as caught:
        write_dwc(survey, tmp_path / "dwc.zip", metadata=metadata)
    assert re.search(r"decimalLongitude: .*lie between -179\.9 and 179\.9", str(caught.value))
