"""IFCB bins of style I: their columns, times and volumes, and images that are stitched."""

import pickle

import numpy as np
import pytest

from listing import by_name, grey
from pelagia.sources import Listing, list_images

STYLE_I = "IFCB5_2012_028_081515"


def test_a_bin_of_style_i_is_read_by_its_own_columns(make_bin):
    found = by_name(make_bin((1, 5, 5, 4, 3), (2, 0, 0, 0, 0), (3, 9, 9, 2, 6)))
    assert list(found) == [f"{STYLE_I}_00001", f"{STYLE_I}_00003"]
    assert grey(found[f"{STYLE_I}_00001"]).shape == (3, 4)
    assert (grey(found[f"{STYLE_I}_00003"]) == 120).all()


def test_the_name_of_a_bin_of_style_i_gives_its_time(make_bin):
    (image,) = list_images([make_bin((1, 5, 5, 4, 3))])
    assert image.columns["eventDate"] == "2012-01-28T08:15:15Z"
    assert image.columns["instrument"] == "IFCB5"


def test_the_volume_of_a_bin_of_style_i(make_bin):
    # Triggers 1 (frame at 10.0 s), 2 (opened at 12.0 s, frame at 20.0 s, two images), 3 (opened at 20.01 s, frame at
    # 30.0 s). Busy: 12.0 - 10.0 = 2.0 s; 20.01 - 20.0 = 0.01 s, at least 0.073 s; and 0.073 s for the first frame.
    # Look time 30.0 - 2.0 - 0.073 - 0.073 = 27.854 s. Flow 40 steps/s x 5/48000 ml = 1/240 ml/s: 0.11605833 ml
    adc = make_bin(
        (1, 0, 0, 2, 2, 0.0, 10.0),
        (2, 0, 0, 2, 2, 12.0, 20.0),
        (2, 50, 50, 2, 2, 13.0, 20.0),
        (3, 0, 0, 2, 2, 20.01, 30.0),
    )
    assert float(next(list_images([adc])).columns["sampleSizeValue"]) == pytest.approx(0.11605833, rel=1e-3)


def test_the_volume_of_a_bin_of_style_i_that_spans_midnight(make_bin):
    # Frames at 100 s and at -86300 s, which is 100 s again a day later: + 86400 s = 100 s. Opened at -86350 s: 50 s.
    # Busy: 50 - 100 = -50 s, at least 0.073 s, and 0.073 s. Look time 100 - 0.146 = 99.854 s / 240 = 0.41605833 ml
    adc = make_bin((1, 0, 0, 2, 2, 0.0, 100.0), (2, 0, 0, 2, 2, -86350.0, -86300.0))
    assert float(next(list_images([adc])).columns["sampleSizeValue"]) == pytest.approx(0.41605833, rel=1e-3)


def test_ifcb5_was_quicker_from_june_2015_on(make_bin):
    # One trigger, frame at 11 s: look time 11 - 0.05 = 10.95 s / 240 = 0.045625 ml; before, 11 - 0.073: 0.04552917 ml
    new = make_bin((1, 0, 0, 2, 2, 0.0, 11.0), name="IFCB5_2015_152_000000")
    old = make_bin((1, 0, 0, 2, 2, 0.0, 11.0), name="IFCB5_2015_151_235959")
    assert next(list_images([new])).columns["sampleSizeValue"] == "0.045625"
    assert next(list_images([old])).columns["sampleSizeValue"] == "0.045529"


def test_two_images_of_one_trigger_that_overlap_are_stitched(make_bin):
    listing = Listing()
    found = by_name(make_bin((3, 10, 20, 6, 5), (3, 13, 22, 6, 5), (4, 10, 20, 6, 5)), listing=listing)
    assert list(found) == [f"{STYLE_I}_00001", f"{STYLE_I}_00003"]
    assert found[f"{STYLE_I}_00001"].columns["stitched_with"] == "2"
    assert listing.left_out == {"stitched": 1}
    # The first (40) from column 0 and row 0, the second (80) from column 3 and row 2, over it; what neither has is the
    # mean of its known neighbours, here worked out by hand below.
    pixels = grey(found[f"{STYLE_I}_00001"])
    assert pixels.shape == (7, 9)
    assert (pixels[:2, :6] == 40).all()
    assert (pixels[2:5, :3] == 40).all()
    assert (pixels[2:, 3:] == 80).all()
    assert len(np.unique(pixels[:2, 6:])) == 1
    assert 40 <= pixels[0, 8] <= 80
    assert pixels[0, 8] == pixels[6, 0]


def test_the_filling_of_a_stitched_image_is_that_of_pyifcb(make_bin):
    # pyifcb 55d0a8e on the same two rectangles: missing pixels dilated by one (four neighbours), the border of that
    # (eroded, four neighbours), the outermost rows and columns copied from those next to them; the mean of the known
    # pixels among these. Drawn out for 7 x 9 pixels (1 = missing, b = known and in the border):
    #   row 0  . . . . . b 1 1 1      5 -> 40
    #   row 1  . . . . . b 1 1 1      5 -> 40
    #   row 2  . . . . . . b b b      6, 7, 8 -> 80
    #   row 4  b b b . . . . . .      0, 1, 2 -> 40
    #   row 5  1 1 1 b . . . . .      3 -> 80
    #   row 6  1 1 1 b . . . . .      3 -> 80
    # 5 x 40 + 5 x 80 over 10 = 60
    found = by_name(make_bin((3, 10, 20, 6, 5), (3, 13, 22, 6, 5)))
    assert grey(found[f"{STYLE_I}_00001"])[0, 8] == 60


@pytest.mark.parametrize(
    "second",
    [(4, 13, 22, 6, 5), (3, 14, 22, 6, 5), (3, 40, 22, 6, 5), (3, 13, 23, 6, 5)],
    ids=["another trigger", "two columns", "apart", "two rows"],
)
def test_images_that_do_not_overlap_enough_stay_apart(make_bin, second):
    assert len(by_name(make_bin((3, 10, 20, 6, 5), second))) == 2


def test_of_three_that_overlap_in_a_row_none_is_lost(make_bin):
    found = by_name(make_bin((3, 10, 20, 6, 5), (3, 13, 22, 6, 5), (3, 14, 23, 6, 5)))
    assert list(found) == [f"{STYLE_I}_00001", f"{STYLE_I}_00003"]


def test_an_image_can_be_sent_to_another_process(make_bin):
    (image,) = list_images([make_bin((1, 5, 5, 4, 3))])
    assert pickle.loads(pickle.dumps(image)).read() == image.read()
