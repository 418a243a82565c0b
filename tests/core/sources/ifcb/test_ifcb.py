"""IFCB bins: two real bins compared with values read by hand, and synthetic bins of style I."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError, decode
from pelagia.sources import Listing, list_images

SMHI, WHOI = "D20220519T124533_IFCB134", "D20130526T095207_IFCB013"
STYLE_I = "IFCB5_2012_028_081515"


def by_name(*inputs, listing=None):
    return {image.path: image for image in list_images(inputs, listing)}


def grey(image):
    """Pixels of an image, uint8, H x W."""
    pixels = decode(image.read())
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()
    return pixels[..., 0]


def fault(*inputs):
    with pytest.raises(InputError) as caught:
        list(list_images(inputs))
    return str(caught.value)


def why(image):
    with pytest.raises(ImageError) as caught:
        image.read()
    return caught.value.reason, str(caught.value)


@pytest.fixture
def make_bin(tmp_path):
    """Writes a bin of style I whose rows are (trigger, x, y, width, height[, opened, grabbed]), and its pixels."""

    def make(*rows, name=STYLE_I, pixels=None):
        lines, data = [], bytearray(b"\0")
        for number, (trigger, x, y, width, height, *times) in enumerate(rows, start=1):
            opened, grabbed = times or (0.1 * trigger, 0.1 * trigger + 0.05)
            values = [trigger, 0.3, 0, 0, 0, 0, 0, opened, grabbed, x, y, width, height, len(data), -0.2]
            lines.append(",".join(map(str, values)) + ",")
            data += bytes([40 * number % 256]) * (width * height)
        (tmp_path / f"{name}.adc").write_text("\r\n".join(lines) + "\r\n")
        (tmp_path / f"{name}.roi").write_bytes(bytes(data) if pixels is None else pixels)
        (tmp_path / f"{name}.hdr").write_text('"Imaging FlowCytobot Acquisition Software version 1.0; October 2005"\n')
        return tmp_path / f"{name}.adc"

    return make


@pytest.fixture
def make_style_d(tmp_path):
    """Writes a bin of style D; rows are (width, height, offset) or whole lines."""

    def make(*rows, pixels=bytes(1000), header="", name=SMHI):
        lines = []
        for target, row in enumerate(rows, start=1):
            values = [target, target, *[0] * 11, 7, 8, *row, 0, 0, 0, 0, target + 0.02, 0.08 * target]
            lines.append(row if isinstance(row, str) else ",".join(map(str, values)))
        (tmp_path / f"{name}.adc").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{name}.roi").write_bytes(pixels)
        (tmp_path / f"{name}.hdr").write_text(header)
        return tmp_path / f"{name}.roi"

    return make


# The real bins


@pytest.mark.parametrize(("folder", "name", "images", "empty"), [("smhi", SMHI, 17, 1), ("whoi", WHOI, 19, 99)])
def test_a_real_bin_gives_its_images_and_counts_the_rows_without(data_root, folder, name, images, empty):
    listing = Listing()
    found = by_name(data_root / "ifcb" / folder, listing=listing)
    assert (len(found), listing.left_out) == (images, {"no_image": empty})
    assert all(path.startswith(f"{name}_") for path in found)


@pytest.mark.parametrize(("folder", "name"), [("smhi", SMHI), ("whoi", WHOI)])
def test_pixels_of_a_real_bin_equal_a_reading_by_hand(data_root, folder, name):
    base = data_root / "ifcb" / folder / name
    raw = np.fromfile(f"{base}.roi", np.uint8)
    found = by_name(base.with_suffix(".adc"))
    expected = 0
    for target, line in enumerate(base.with_suffix(".adc").read_text().splitlines(), start=1):
        width, height, start = (int(value) for value in line.split(",")[15:18])
        if width:
            expected += 1
            by_hand = raw[start : start + width * height].reshape(height, width)
            np.testing.assert_array_equal(grey(found[f"{name}_{target:05}"]), by_hand)
    assert len(found) == expected


def test_the_targets_of_the_whoi_bin_are_those_that_pyifcb_lists(data_root):
    found = [int(image.columns["target"]) for image in list_images([data_root / "ifcb" / "whoi"])]
    assert found == [7, 11, 13, 21, 32, 33, 47, 49, 54, 61, 66, 68, 73, 78, 80, 92, 99, 102, 114]


def test_the_volume_of_the_smhi_bin(data_root):
    # The last of its 18 rows: run time 1003.4138888888889 s, inhibit time 1.4629383680555557 s. Every inhibit time
    # grows by about 0.08 s, so all rows are good. The other estimate of the run time, last ADC time 1003.3537319 +
    # median(run - ADC time) 0.0366 = 1003.3903, differs by 0.0236 s < 0.2 s, so the row's own counts.
    # (1003.4138889 - 1.4629384) s x 0.25 ml / 60 s = 1001.9509505 / 240 = 4.1747956 ml
    image = next(list_images([data_root / "ifcb" / "smhi"]))
    assert float(image.columns["sampleSizeValue"]) == pytest.approx(4.1747956, rel=1e-3)
    assert image.columns["sampleSizeUnit"] == "millilitre"


def test_the_volume_of_the_whoi_bin(data_root):
    # The last of its 118 rows: run time 1184.037103 s, inhibit time 11.620326 s; look time 1172.416777 s.
    # 1172.416777 s x 0.25 ml / 60 s = 4.8850699 ml. The header says 1231.02 s and 11.62 s, as it counts on after the
    # last trigger: 5.0808 ml, 4% more, which is why the rows are what is used.
    image = next(list_images([data_root / "ifcb" / "whoi"]))
    assert float(image.columns["sampleSizeValue"]) == pytest.approx(4.8850699, rel=1e-3)


def test_a_real_bin_says_when_and_by_what_it_was_taken(data_root):
    image = next(list_images([data_root / "ifcb" / "smhi"]))
    assert {key: image.columns[key] for key in ("sample", "instrument", "target", "eventDate")} == {
        "sample": SMHI,
        "instrument": "IFCB134",
        "target": "1",
        "eventDate": "2022-05-19T12:45:33Z",
    }
    assert "decimalLatitude" not in image.columns


@pytest.mark.parametrize("ending", [".adc", ".hdr", ".roi", ""])
def test_any_file_of_a_bin_stands_for_it(data_root, ending):
    path = data_root / "ifcb" / "smhi" / f"{SMHI}{ending}"
    assert list(by_name(path)) == list(by_name(data_root / "ifcb" / "smhi"))


def test_the_three_files_of_a_bin_are_one_input(data_root):
    files = sorted((data_root / "ifcb" / "smhi").iterdir())
    assert len(by_name(*files)) == 17


def test_a_folder_of_bins_names_them_below_it(data_root):
    found = list(by_name(data_root / "ifcb"))
    assert len(found) == 36
    assert found[0] == f"smhi/{SMHI}_00001"
    assert found[-1] == f"whoi/{WHOI}_00114"


def test_two_bins_need_no_prefix(data_root):
    found = list(by_name(data_root / "ifcb" / "whoi" / f"{WHOI}.adc", data_root / "ifcb" / "smhi" / f"{SMHI}.roi"))
    assert (len(found), found[0], found[-1]) == (36, f"{WHOI}_00007", f"{SMHI}_00018")


def test_where_an_image_lay_is_the_roi_file_and_its_name(data_root):
    image = next(list_images([data_root / "ifcb" / "smhi"]))
    assert str(image.file) == f"{data_root}/ifcb/smhi/{SMHI}.roi!/{SMHI}_00001"


# Style I


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


def test_images_of_style_d_are_never_stitched(make_style_d):
    rows = [",".join(map(str, [1, 1, *[0] * 11, 7, 8, 6, 5, 0, 0, 0, 0, 0, 1, 0.1]))] * 2
    assert len(by_name(make_style_d(*rows))) == 2


# The header


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gpsLatitude: 57.25\ngpsLongitude: -11.5\n", ("57.25", "-11.5")),
        ("latitude: 57.25\nlongitude: -11.5\n", ("57.25", "-11.5")),
        ("gpsLatitude: 0.0\ngpsLongitude: 0.0\n", None),
        ("gpsLatitude: 91\ngpsLongitude: 0.0\n", None),
        ("gpsLatitude: none\ngpsLongitude: 1\n", None),
        ("GPSFeed: 2\n", None),
    ],
)
def test_a_position_comes_from_the_header_where_it_has_one(make_style_d, header, expected):
    (image,) = list_images([make_style_d((4, 3, 0), header=header)])
    found = image.columns.get("decimalLatitude"), image.columns.get("decimalLongitude")
    assert found == (expected or (None, None))


def test_a_bin_of_one_row_takes_its_volume_from_the_header(make_style_d):
    # (240.0 - 24.0) s x 0.25 ml / 60 s = 0.9 ml
    (image,) = list_images([make_style_d((4, 3, 0), header="runTime: 240.0\ninhibitTime: 24.0\n")])
    assert image.columns["sampleSizeValue"] == "0.900000"


def test_the_header_of_the_first_software_2_gives_its_times_too(make_style_d):
    first = "Imaging FlowCytobot Acquisition Software version 2.0; May 2010"
    header = f"{first}\nSample Date\nrun time = 240.0 s   inhibit time = 24.0 s\n"
    (image,) = list_images([make_style_d((4, 3, 0), header=header)])
    assert image.columns["sampleSizeValue"] == "0.900000"


def test_a_clock_that_started_late_is_taken_off(make_style_d):
    # Run time is 100 s ahead of the ADC's time from the start: both times are counted from there. Inhibit time of the
    # second row 0.16 s, usual step 0.08 s: offset 0.16 + 2 x 0.08 = 0.32 s, and the last row has 0.4 s. Run time
    # 105.0 - 100.0 = 5.0 s. (5.0 - (0.4 - 0.32)) s x 0.25 ml / 60 s = 0.0205 ml
    rows = [
        ",".join(map(str, [target, target, *[0] * 11, 7, 8, 4, 3, 0, 0, 0, 0, 0, target + 100.0, 0.08 * target]))
        for target in range(1, 6)
    ]
    image = next(list_images([make_style_d(*rows)]))
    assert float(image.columns["sampleSizeValue"]) == pytest.approx(0.0205, rel=1e-3)


def test_a_missing_header_costs_no_image(make_style_d):
    path = make_style_d((4, 3, 0))
    path.with_suffix(".hdr").unlink()
    assert len(by_name(path)) == 1


# What disks hold


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((-4, 3, 0), "row 2 of the .adc: -4 x 3 pixels at byte 0"),
        ((4, 3, -1), "row 2 of the .adc: 4 x 3 pixels at byte -1"),
        ((4, 3, 10**30), "row 2 of the .adc: 4 x 3 pixels at byte 1000000000000000019884624838656"),
        ((100_000, 100_000, 0), "row 2 of the .adc: 100000 x 100000 pixels at byte 0"),
        (("x", 3, 0), "row 2 of the .adc: 'x' is not a whole number"),
        ((4.5, 3, 0), "row 2 of the .adc: '4.5' is not a whole number"),
        (("nan", 3, 0), "row 2 of the .adc: 'nan' is not a whole number"),
        (("inf", 3, 0), "row 2 of the .adc: 'inf' is not a whole number"),
        ("2,2.0,0.1", "row 2 of the .adc has 3 values: it is cut short"),
        ((4, 3, 995), "the .roi ends within target 2: it is cut short"),
        ((4, 3, 5000), "the .roi ends within target 2: it is cut short"),
    ],
)
def test_a_corrupt_row_is_a_failed_image_and_the_next_is_read(make_style_d, row, message):
    found = by_name(make_style_d((4, 3, 0), row, (2, 2, 12)))
    assert list(found) == [f"{SMHI}_00001", f"{SMHI}_00002", f"{SMHI}_00003"]
    assert why(found[f"{SMHI}_00002"]) == ("damaged", message)
    assert grey(found[f"{SMHI}_00003"]).shape == (2, 2)


def test_whole_numbers_may_be_written_with_a_point(make_style_d):
    (image,) = list_images([make_style_d(("4.0", "3.000000", "0.0"))])
    assert grey(image).shape == (3, 4)


def test_blank_lines_are_no_targets(make_style_d):
    path = make_style_d((4, 3, 0), (2, 2, 0))
    adc = path.with_suffix(".adc")
    adc.write_text("\n" + adc.read_text().replace("\n", "\n\n"))
    assert list(by_name(path)) == [f"{SMHI}_00001", f"{SMHI}_00002"]


def test_a_bin_without_its_roi_file_gives_missing_images(make_style_d):
    path = make_style_d((4, 3, 0))
    path.unlink()
    (image,) = list_images([path.with_suffix(".adc")])
    with pytest.raises(FileNotFoundError):
        image.read()


def test_a_bin_without_its_adc_file_is_refused(make_style_d):
    path = make_style_d((4, 3, 0))
    path.with_suffix(".adc").unlink()
    assert fault(path) == (
        f"cannot read {path.with_suffix('.adc')}, which lists the bin's images: No such file or directory"
    )


def test_in_a_folder_a_bin_without_its_adc_file_is_a_failed_image(make_style_d, put):
    path = make_style_d((4, 3, 0))
    path.with_suffix(".adc").unlink()
    put(path.with_name("z.png"))
    found = by_name(path.parent)
    assert list(found) == [SMHI, "z.png"]
    assert why(found[SMHI]) == ("unreadable", "the bin's .adc cannot be read: No such file or directory")


def test_a_bin_without_any_image_is_refused_by_name(make_style_d):
    path = make_style_d((0, 0, 0), (0, 0, 0))
    base = path.with_suffix("")
    assert fault(path) == f"the bin {base} has no image: its .adc has 2 rows without an image"


def test_an_empty_adc_is_a_bin_without_images(make_style_d):
    path = make_style_d()
    path.with_suffix(".adc").write_bytes(b"")
    assert "its .adc has 0 rows" in fault(path)


def test_a_file_that_is_no_bin_says_what_a_bin_is_called(tmp_path):
    (tmp_path / "renamed.adc").write_text("1,2,3\n")
    assert fault(tmp_path / "renamed.adc") == (
        f"{tmp_path / 'renamed.adc'} does not have the name of an IFCB bin, such as D20220519T124533_IFCB134: "
        "give the files their original names"
    )


def test_in_a_folder_files_with_other_names_are_counted(tmp_path, put):
    (tmp_path / "renamed.adc").write_text("1,2,3\n")
    put(tmp_path / "a.png")
    listing = Listing()
    assert list(by_name(tmp_path, listing=listing)) == ["a.png"]
    assert listing.left_out == {"bin_without_name": 1}


def test_a_name_with_an_impossible_date_has_no_date(make_style_d):
    (image,) = list_images([make_style_d((4, 3, 0), name="D20221399T124533_IFCB134")])
    assert "eventDate" not in image.columns


def test_endings_in_capitals_are_a_bin_too(data_root, tmp_path):
    for file in (data_root / "ifcb" / "smhi").iterdir():
        shutil.copyfile(file, tmp_path / f"{file.stem}{file.suffix.upper()}")
    assert len(by_name(tmp_path)) == 17
    assert all(image.read() for image in list_images([tmp_path / f"{SMHI}.ADC"]))


def test_an_image_can_be_sent_to_another_process(make_bin):
    (image,) = list_images([make_bin((1, 5, 5, 4, 3))])
    assert pickle.loads(pickle.dumps(image)).read() == image.read()


def test_a_bin_of_many_images_is_listed_without_reading_its_pixels(tmp_path):
    base = Path(tmp_path) / SMHI
    with base.with_suffix(".adc").open("w") as file:
        for target in range(1, 20_001):
            file.write(f"{target},1,{'0,' * 11}7,8,100,100,{target * 10_000},0,0,0,0,1,0.1\n")
    with base.with_suffix(".roi").open("wb") as roi:
        roi.truncate(200_010_000)
    images = list(list_images([base]))
    assert len(images) == 20_000
    assert len(images[-1].read()) == 10_000 + len(b"P5\n100 100\n255\n")
