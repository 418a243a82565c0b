"""Patterns over folders and archives that cannot be used, are empty, or are deep."""

import os
import subprocess
from pathlib import Path

import pytest

from listing import fault, paths
from pelagia.errors import InputError, MissingExtra
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, list_images


def outcomes(path):
    found = []
    for image in list_images([Path(path)]):
        try:
            image.read()
            found.append((image.path, "ok"))
        except ImageError as error:
            found.append((image.path, error.reason))
    return found


@pytest.mark.parametrize("pattern", ["in/*", "in/*/*.png", "in/**/*.png"])
def test_an_unreadable_folder_is_a_failed_row_and_the_rest_goes_on(tmp_path, as_nobody, put, pattern):
    for name in ("a/1.png", "secret/2.png", "z/3.png"):
        put(tmp_path / "in" / name)
    (tmp_path / "in" / "secret").chmod(0)
    found = as_nobody(lambda: outcomes(pattern))
    assert found == [("a/1.png", "ok"), ("secret", "unreadable"), ("z/3.png", "ok")]


def test_a_folder_whose_files_may_not_be_looked_at_is_failed_rows(tmp_path, as_nobody, put):
    put(tmp_path / "in" / "a" / "1.png")
    put(tmp_path / "in" / "b" / "2.png")
    (tmp_path / "in" / "b").chmod(0o444)
    assert as_nobody(lambda: outcomes("in/*/*.png")) == [("a/1.png", "ok"), ("b/2.png", "unreadable")]


def test_a_fixed_part_that_cannot_be_listed_is_refused(tmp_path, as_nobody, put):
    put(tmp_path / "in" / "a" / "1.png")
    (tmp_path / "in").chmod(0)
    with pytest.raises(InputError, match="Permission denied; check that your account may read it"):
        as_nobody(lambda: outcomes("in/*/*.png"))


def test_a_damaged_archive_is_a_failed_row_and_the_rest_goes_on(tmp_path, put, make_zip, make_tar):
    make_zip(("1.png", b"x"), name="a.zip")
    (tmp_path / "b.zip").write_bytes(b"no zip")
    (tmp_path / "c.tar").write_bytes(b"no tar")
    make_tar(("2.png", b"y"), name="d.tar")
    expected = [("a.zip/1.png", "ok"), ("b.zip", "damaged"), ("c.tar", "damaged"), ("d.tar/2.png", "ok")]
    assert outcomes(tmp_path / "*") == expected


def test_folders_and_archives_without_an_image_are_counted(tmp_path, put, make_zip):
    put(tmp_path / "a" / "1.png")
    (tmp_path / "empty").mkdir()
    make_zip(("notes.txt", b"x"), name="notes.zip")
    listing = Listing()
    assert paths(tmp_path / "*", listing=listing) == ["a/1.png"]
    assert listing.left_out["match_without_image"] == 2


def test_a_table_that_is_wrong_still_ends_the_run(tmp_path):
    (tmp_path / "a.csv").write_text("station\nx\n")
    assert "a.csv has no column 'path'" in fault(tmp_path / "*.csv")


def test_a_package_that_is_missing_still_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra):
        paths(tmp_path / "*.parquet")


def test_folders_deeper_than_python_recurses_are_matched(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(os.open("a.png", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    try:
        assert paths(tmp_path / "**" / "*.png") == ["d/" * 1200 + "a.png"]
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest recurses when it tidies up
