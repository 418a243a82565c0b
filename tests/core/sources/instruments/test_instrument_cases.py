"""Inputs that people have from a FlowCam and a Pi-10, where the archives with them are present."""

import re
from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import decode
from pelagia.sources import Listing, list_images


def test_a_flowcam_run_is_cut_by_its_list(case):
    listing = Listing()
    images = list(list_images([case("F01") / "201-045311"], listing))
    assert [image.path for image in images] == [f"201-045311_{number:05}" for number in range(1, 7)]
    assert {decode(image.read()).shape for image in images} == {(70, 70, 3)}
    assert {image.columns["eventDate"] for image in images} == {"2014-07-20T04:53:25"}
    assert listing.left_out == {"flowcam_mask": 1, "flowcam_calibration": 1}
    assert len(listing.warnings) == 2  # its .ctx has neither the volume nor the size of a pixel


def test_the_hint_for_a_folder_of_tars_names_a_pattern_that_lists_them(case, monkeypatch):
    monkeypatch.chdir(case("F02"))
    with pytest.raises(InputError) as caught:
        list(list_images([Path("CRUISE")]))
    (pattern,) = re.findall(r"as in '([^']+)'", str(caught.value))
    images = list(list_images([Path(pattern)]))
    assert len(images) > 4
    assert all(decode(image.read()).size for image in images)
