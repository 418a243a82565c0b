"""IFCB bins of which a part is missing, damaged or named otherwise."""

import pytest

from listing import by_name, fault, grey, why
from pelagia.sources import Listing, list_images

BIN = "D20220519T124533_IFCB134"


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
    assert list(found) == [f"{BIN}_00001", f"{BIN}_00002", f"{BIN}_00003"]
    assert why(found[f"{BIN}_00002"]) == ("damaged", message)
    assert grey(found[f"{BIN}_00003"]).shape == (2, 2)


def test_whole_numbers_may_be_written_with_a_point(make_style_d):
    (image,) = list_images([make_style_d(("4.0", "3.000000", "0.0"))])
    assert grey(image).shape == (3, 4)


def test_blank_lines_are_no_targets(make_style_d):
    path = make_style_d((4, 3, 0), (2, 2, 0))
    adc = path.with_suffix(".adc")
    adc.write_text("\n" + adc.read_text().replace("\n", "\n\n"))
    assert list(by_name(path)) == [f"{BIN}_00001", f"{BIN}_00002"]


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
    assert list(found) == [BIN, "z.png"]
    assert why(found[BIN]) == ("unreadable", "the bin's .adc cannot be read: No such file or directory")


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


def test_in_a_folder_a_bin_without_an_image_is_an_empty_sample_with_its_volume(make_style_d):
    make_style_d((0, 0, 0), (0, 0, 0), (0, 0, 0), name="D20220520T124533_IFCB134")
    path = make_style_d((4, 3, 0), (0, 0, 0), (0, 0, 0))
    listing = Listing()
    assert list(by_name(path.parent, listing=listing)) == [f"{BIN}_00001"]
    (empty,) = listing.empty_samples
    assert empty["sample"] == "D20220520T124533_IFCB134"
    assert empty["eventDate"] == "2022-05-20T12:45:33Z"
    assert float(empty["sampleSizeValue"]) > 0
