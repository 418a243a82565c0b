"""The pass over the rows of a survey."""

import pytest

from pelagia_inference.counts.samples import grouping
from pelagia_inference.counts.tally import Tally, _Parts

DEPTH = "minimumDepthInMeters"


def test_images_that_each_have_their_own_depth_are_remembered_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pelagia_inference.counts.tally._MOST_SEEN", 3)
    found = Tally()
    part_of = _Parts(found, grouping(["sample", DEPTH], edges=(0, 10, 20)))
    for number in range(20):
        part_of({"sample": "A", DEPTH: f"{number}"}).failed += 1
    assert len(part_of._seen) <= 3
    assert {part.key: part.failed for part in found.parts} == {("A", "0-10"): 10, ("A", "10-20"): 10}
