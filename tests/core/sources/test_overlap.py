"""Inputs that share images are refused, or their images are listed only once; no image is counted twice."""

import os
import shutil
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from listing import fault, paths
from pelagia.sources import Listing, ListingOptions, list_images

BIN = "D20220519T124533_IFCB134"


@pytest.fixture
def cruise(tmp_path, put, monkeypatch):
    """A folder of two stations, its manifest, and links to it; it is the current folder's child."""
    for seed, name in enumerate(("st1/a.png", "st1/b.png", "st2/a.png")):
        put(tmp_path / "cruise" / name, seed=seed)
    (tmp_path / "cruise" / "manifest.csv").write_text("path\nst1/a.png\n")
    (tmp_path / "link").symlink_to(tmp_path / "cruise")
    (tmp_path / "deep").symlink_to(tmp_path / "cruise" / "st1")
    (tmp_path / "one.png").symlink_to(tmp_path / "cruise" / "st1" / "a.png")
    put(tmp_path / "other" / "c.png", seed=9)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cruise"


# The same input twice


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("cruise", "cruise"),
        ("cruise", "cruise/"),
        ("cruise", "./cruise"),
        ("cruise", "cruise/../cruise"),
        ("cruise", "link"),
        ("cruise/st1/a.png", "one.png"),
        ("cruise/st1/a.png", "link/st1/a.png"),
        ("cruise/*/a.png", "link/*/a.png"),
    ],
)
@pytest.mark.usefixtures("cruise")
def test_an_input_is_given_once_however_it_is_spelled(one, two):
    assert " is given twice" in fault(one, two)


def test_a_file_of_two_names_on_the_disk_is_one_input(tmp_path, put):
    """As `A.png` and `a.png` are on a disk that ignores case."""
    put(tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "B.png")
    one, two = tmp_path / "a.png", tmp_path / "B.png"
    assert fault(one, two) == (
        f"the input {two} is given twice, as {one} and as {two}: its images would count twice: name it only once"
    )


def test_on_a_disk_that_ignores_case_a_folder_is_one_input(tmp_path, put):
    put(tmp_path / "crops" / "a.png")
    if not (tmp_path / "CROPS").exists():
        pytest.skip("this disk tells capitals apart")
    assert "is given twice" in fault(tmp_path / "crops", tmp_path / "CROPS")
    assert "is inside the input" in fault(tmp_path / "crops", tmp_path / "CROPS" / "a.png")


# One within the other


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("cruise", "cruise/st1"),
        ("cruise", "deep"),
        ("link", "cruise/st1"),
        ("cruise", "cruise/st1/a.png"),
        ("cruise", "one.png"),
        ("cruise", "cruise/st1/../st1/a.png"),
        ("cruise", "cruise/st1/*.png"),
        ("cruise", "link/*/*.png"),
    ],
)
@pytest.mark.usefixtures("cruise")
def test_an_input_within_another_is_refused(outer, inner):
    expected = f"the input {Path(inner)} is inside the input {outer}: its images would count twice: name only one"
    assert fault(outer, inner) == fault(inner, outer) == expected


@pytest.mark.parametrize("name", [BIN, f"{BIN}.adc", f"{BIN}.roi"])
def test_a_bin_within_a_folder_is_refused(tmp_path, name, data_root):
    for file in (data_root / "ifcb" / "smhi").glob(f"{BIN}*"):
        (tmp_path / "bins").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "bins")
    assert "is inside the input" in fault(tmp_path / "bins", tmp_path / "bins" / name)
    assert "may match" in fault(tmp_path / "bins" / "*.adc", tmp_path / "bins" / name)
    assert len(paths(tmp_path / "bins" / f"{BIN}.adc", tmp_path / "bins" / BIN)) == len(paths(tmp_path / "bins"))


# Patterns


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        ("cruise/*", "cruise/st1"),
        ("*", "cruise"),
        ("*", "cruise/st1"),
        ("cr*/st*/*.png", "cruise/st1"),
        ("cruise/st?/a.png", "cruise/st1/a.png"),
        ("cruise/st?/a.png", "one.png"),
        ("link/st?/a.png", "cruise/st2"),
        ("**/a.png", "cruise/st1/a.png"),
        ("cruise/*/*.png", "cruise/st1/a*"),
    ],
)
@pytest.mark.usefixtures("cruise")
def test_a_pattern_that_may_match_another_input_is_refused(pattern, other):
    for message in (fault(pattern, other), fault(other, pattern)):
        assert "may match images of the input" in message


@pytest.mark.parametrize(
    ("pattern", "other", "count"),
    [
        ("cruise/st1/*", "cruise/st2", 3),
        ("cruise/*/b.png", "cruise/st1/a.png", 2),
        ("cruise/*/b.*", "cruise/st1/a*", 2),
        ("cruise/st1/*.png", "cruise/*2/*.png", 3),
        ("cruise/st*", "other", 4),
    ],
)
@pytest.mark.usefixtures("cruise")
def test_a_pattern_that_cannot_match_another_input_is_taken(pattern, other, count):
    found = paths(pattern, other)
    assert len(found) == len(set(found)) == count


@pytest.mark.usefixtures("cruise")
def test_a_pattern_goes_through_folders_and_not_through_files(put):
    put(Path("only.png"))
    assert paths("o*/c.png", "only.png")[1] == "only.png"


@pytest.mark.usefixtures("cruise")
def test_a_pattern_follows_no_link_to_a_folder_and_says_so():
    listing = Listing()
    found = [image.file.resolve() for image in list_images([Path("*")], listing)]
    assert listing.left_out["folder_link"] == 2
    assert sorted(path.name for path in set(found)) == ["a.png", "a.png", "b.png", "c.png"]
    listing.left_out.clear()
    os.symlink("st1", "cruise/again")
    assert len(paths("cruise", listing=listing)) == 3
    assert listing.left_out["folder_link"] == 1


def test_a_pattern_follows_links_to_folders_on_demand_and_lists_no_folder_twice(cruise, put):
    put(cruise.parent / "far" / "station" / "d.png")
    for name, target in (("near", "st1"), ("far", "../far"), ("far2", "../far/station"), ("up", "..")):
        os.symlink(target, cruise / name)
    listing = Listing(ListingOptions(follow_links=True))
    assert paths("cruise/*", listing=listing) == ["far/station/d.png", "st1/a.png", "st1/b.png", "st2/a.png"]
    assert listing.left_out["folder_link"] == 0
    assert listing.left_out["folder_link_again"] == 3


# Manifests


@pytest.mark.parametrize("other", ["cruise", "cruise/st1", "deep", "cruise/st1/a.png", "one.png", "cruise/*/*.png"])
@pytest.mark.usefixtures("cruise")
def test_a_manifest_and_what_it_may_name_are_not_both_taken(other):
    for message in (fault("cruise/manifest.csv", other), fault(other, "cruise/manifest.csv")):
        assert "may share images with the manifest cruise/manifest.csv, which would count twice" in message


def test_two_manifests_of_which_one_may_name_the_others_images_are_refused(cruise):
    (cruise / "st1" / "manifest.csv").write_text("path\na.png\n")
    (cruise / "st2" / "manifest.csv").write_text("path\na.png\n")
    assert "may share images with the manifest" in fault("cruise/manifest.csv", "cruise/st1/manifest.csv")
    assert paths("cruise/st1/manifest.csv", "cruise/st2/manifest.csv") == ["st1/a.png", "st2/a.png"]


# Archives and what they were unpacked to


@pytest.fixture
def cast(cruise):
    """`cast.zip` of station 1, and beside it the folder that it was unpacked to."""
    with zipfile.ZipFile("cast.zip", "w") as archive:
        for file in sorted((cruise / "st1").iterdir()):
            archive.write(file, file.name)
    shutil.copytree(cruise / "st1", "cast")
    return Path("cast.zip")


def test_an_archive_and_the_folder_that_it_was_unpacked_to_are_not_both_taken(cast):
    expected = "the folder cast contains the images of cast.zip, which would count twice: name only one"
    assert fault(cast, "cast") == fault("cast", cast) == expected
    os.mkdir("more")
    shutil.move("cast", "more/cast")
    assert fault(cast, "more").startswith("the folder more contains the images of cast.zip, ")


def test_an_archive_that_holds_its_own_folder_is_recognised(cruise):
    with zipfile.ZipFile("st1.zip", "w") as archive:
        archive.write("cruise/st1/a.png", "st1/a.png")
    assert "contains the images of st1.zip" in fault("st1.zip", "cruise/st1")


def test_an_archive_of_other_images_may_bear_a_folders_name(cast, put):
    put(Path("cast/a.png"), seed=77)
    assert len(paths(cast, "cast")) == 4


def test_of_what_a_pattern_matches_an_unpacked_archive_is_taken_once_and_counted(cast):
    listing = Listing()
    assert paths("cas*", listing=listing) == ["cast/a.png", "cast/b.png"]
    assert listing.left_out["unpacked"] == 1
    assert paths("cast.*", listing=listing) == ["cast.zip/a.png", "cast.zip/b.png"]


# No two images share a row


def test_a_member_that_is_called_as_a_second_one_would_be_keeps_its_own_name():
    from pelagia.sources.archives.names import Names

    names = Names(Counter())
    found = [names.unique(name) for name in ("a", "a#2", "a", "a", "a#2")]
    assert found == ["a", "a#2", "a#3", "a#4", "a#2#2"]


def test_thousands_of_files_and_a_pattern_are_compared_quickly(tmp_path):
    many = [tmp_path / f"{index}.png" for index in range(5000)]
    assert "may match" in fault(*many, tmp_path / "49*9.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_folder_that_is_a_link_is_an_input(cruise):
    assert paths("deep", "other") == ["deep/a.png", "deep/b.png", "other/c.png"]
