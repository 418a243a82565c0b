"""What is left out of a listing is counted by reason, and said in words."""

import os
import tarfile
import zipfile

import pytest

from listing import fault, paths
from pelagia.sources import Listing, ListingOptions, left_out_lines, list_images


def test_files_that_are_no_images_are_counted_by_ending(tmp_path, put):
    put(tmp_path / "in" / "a" / "1.png")
    for name in ("x.NEF", "a/y.nef", "a/z.mp4", "README", ".hidden", "a/t.csv"):
        put(tmp_path / "in" / name, data=b"x")
    listing = Listing()
    assert paths(tmp_path / "in", listing=listing) == ["a/1.png"]
    assert left_out_lines(listing.left_out) == ["not images: 2 .nef, 1 without an ending, 1 .csv, 1 .mp4"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_are_no_images_are_counted_by_ending(tmp_path, put, kind):
    for name in ("1.png", "x.NEF", "y.nef", "inner.zip", ".hidden"):
        put(tmp_path / name, data=b"x")
    names = ["1.png", "x.NEF", "y.nef", "inner.zip", ".hidden"]
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            archive.mkdir("folder")
            for name in names:
                archive.write(tmp_path / name, f"folder/{name}")
    else:
        (tmp_path / "folder").mkdir()
        with tarfile.open(tmp_path / "in.tar", "w") as archive:
            archive.add(tmp_path / "folder", "folder")
            for name in names:
                archive.add(tmp_path / name, f"folder/{name}")
    listing = Listing()
    assert paths(tmp_path / f"in.{kind}", listing=listing) == ["folder/1.png"]
    assert listing.left_out == {"other_file:.nef": 2, "archive_inside": 1}


def test_a_folder_without_images_says_what_it_holds(tmp_path, put):
    for name in ("1.CR2", "2.cr2", "clip.mp4"):
        put(tmp_path / "in" / name, data=b"x")
    assert fault(tmp_path / "in").endswith(", in all its folders); it contains other files: 2 .cr2, 1 .mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_with_the_name_of_an_image_is_counted(tmp_path, put):
    put(tmp_path / "in" / "1.png")
    os.mkfifo(tmp_path / "in" / "2.png")
    listing = Listing()
    assert paths(tmp_path / "in", listing=listing) == ["1.png"]
    assert listing.left_out == {"no_file": 1}


def followed(root):
    listing = Listing(ListingOptions(follow_links=True))
    return [image.path for image in list_images([root], listing)], dict(listing.left_out)


def test_links_to_folders_are_followed_when_asked(tmp_path, put):
    put(tmp_path / "in" / "a" / "1.png")
    put(tmp_path / "far" / "deep" / "2.png")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "far")
    listing = Listing()
    assert paths(tmp_path / "in", listing=listing) == ["a/1.png"]
    assert listing.left_out == {"folder_link": 1}
    assert followed(tmp_path / "in") == (["a/1.png", "b/deep/2.png"], {})


def test_links_that_lead_back_are_never_followed(tmp_path, put):
    put(tmp_path / "in" / "a" / "1.png")
    put(tmp_path / "far" / "2.png")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "above").symlink_to(tmp_path)
    (tmp_path / "in" / "sibling").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "once").symlink_to(tmp_path / "far")
    (tmp_path / "in" / "twice").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "in")
    assert followed(tmp_path / "in") == (["a/1.png", "once/2.png"], {"folder_link_again": 5})


def test_a_folder_of_nothing_but_a_link_says_how_to_follow_it(tmp_path, put):
    put(tmp_path / "far" / "1.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").symlink_to(tmp_path / "far")
    assert fault(tmp_path / "in").endswith("; it contains links to folders: follow them with --follow-links")
    assert followed(tmp_path / "in") == (["a/1.png"], {})


def test_a_listing_of_very_many_endings_keeps_few_of_them():
    listing = Listing()
    for number in range(1000):
        listing.count_other_file(f"a.{number}")
    assert len(listing.left_out) <= 51
    assert left_out_lines(listing.left_out)[0].endswith("950 with other endings")


def test_the_case_of_a_survey_with_other_endings_lists_or_counts_every_file(case):
    survey = case("B04_survey") / "survey"
    listing = Listing()
    found = paths(survey, listing=listing)
    assert {"a0.jpg", "a1.jpg", "a2.jpg"} <= set(found)
    assert (listing.left_out["other_file:.mp4"], listing.left_out["other_file:.nef"]) == (1, 1)
    assert len(found) + listing.left_out.total() == sum(1 for _ in survey.iterdir())
