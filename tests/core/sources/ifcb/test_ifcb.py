"""IFCB bins: two real bins compared with values read by hand, and what the header says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from listing import by_name, grey
from pelagia.sources import Listing, list_images

SMHI, WHOI = "D20220519T124533_IFCB134", "D20130526T095207_IFCB013"


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


def test_endings_in_capitals_are_a_bin_too(data_root, tmp_path):
    for file in (data_root / "ifcb" / "smhi").iterdir():
        shutil.copyfile(file, tmp_path / f"{file.stem}{file.suffix.upper()}")
    assert len(by_name(tmp_path)) == 17
    assert all(image.read() for image in list_images([tmp_path / f"{SMHI}.ADC"]))


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


def test_images_of_style_d_are_never_stitched(make_style_d):
    rows = [",".join(map(str, [1, 1, *[0] * 11, 7, 8, 6, 5, 0, 0, 0, 0, 0, 1, 0.1]))] * 2
    assert len(by_name(make_style_d(*rows))) == 2
