"""Names in tables that differ from the names of their files."""

import os
import unicodedata

import pytest

from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, ListingOptions
from pelagia.sources.named import NamedFiles


@pytest.fixture
def named(tmp_path):
    """Makes these files below a folder, and gives the folder's files by name."""

    def named(*names, listing=None):
        for name in names:
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(name)
        return NamedFiles(tmp_path / "root", Listing() if listing is None else listing)

    return named


def content(files, name):
    image = files.image(name, {})
    return image.path, image.read().decode()


def cause(files, name):
    with pytest.raises(ImageError) as caught:
        files.image(name, {}).read()
    assert caught.value.reason == "missing"
    return str(caught.value)


NFC, NFD = (unicodedata.normalize(form, "été.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("file", "name", "path"),
    [
        ("a/b.jpg", "a/b.jpg", "a/b.jpg"),
        ("a/b.jpg", "a\\b.jpg", "a/b.jpg"),
        ("a/b.jpg", "./a//b.jpg ", "a/b.jpg"),
        ("a/b.JPG", "a/b.jpg", "a/b.jpg"),
        ("A/b.jpg", "a/B.JPG", "a/B.JPG"),
        (NFD, NFC, NFC),
        (NFC, NFD, NFD),
        ("b.jpg", "C:\\Users\\ann\\cruise\\b.jpg", "b.jpg"),
        ("cruise/b.jpg", "C:\\Users\\ann\\cruise\\b.jpg", "cruise/b.jpg"),
        ("cruise/B.JPG", "/home/ann/cruise/b.jpg", "cruise/B.JPG"),
        ("deep/er/b.jpg", "D:/b.jpg", "deep/er/b.jpg"),
        ("deep/b.jpg", "b.jpg", "b.jpg"),
        ("b 1.jpg", "https://example.org/x/b%201.jpg?size=big", "b 1.jpg"),
        ("x/b.jpg", "s3://bucket/x/b.jpg", "x/b.jpg"),
        ("b.jpg", "cruise/b.jpg", "cruise/b.jpg"),
        ("b.jpg", "\\\\nas\\share\\b.jpg", "b.jpg"),
    ],
)
def test_a_name_is_found_where_one_file_fits(named, file, name, path):
    assert content(named(file, "other.jpg"), name) == (path, file)


def test_an_exact_name_comes_before_one_that_is_alike(named):
    files = named("a.JPG", "a.jpg")
    assert content(files, "a.jpg")[1] == "a.jpg"
    assert content(files, "a.JPG")[1] == "a.JPG"


def test_the_longest_end_of_a_path_decides(named):
    assert content(named("s1/b.jpg", "s2/b.jpg", "b.jpg"), "C:\\cruise\\s2\\b.jpg")[1] == "s2/b.jpg"


def test_several_files_that_fit_are_named_and_none_is_taken(named):
    files = named("a.JPG", "a.Jpg", "s1/b.jpg", "s2/b.jpg")
    assert cause(files, "a.jpg") == "several files fit: a.JPG, a.Jpg; write the path of one into the table"
    assert cause(files, "C:\\x\\b.jpg") == "several files fit: s1/b.jpg, s2/b.jpg; write the path of one into the table"


def test_a_file_in_another_folder_is_not_taken_for_a_path_with_a_folder(named, tmp_path):
    assert cause(named("s2/b.jpg"), "s1/b.jpg") == f"there is no such file in {tmp_path / 'root'}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.jpg", "there is no such file in ROOT"),
        ("", "the table names no file"),
        ("C:\\x\\no.jpg", "a path of another computer, and not found in the folder ROOT: copy the images there"),
        ("https://x.org/no.jpg", "a web address: Pelagia downloads nothing; download the images to ROOT"),
        (
            "/etc/hostname",
            "a path on this computer, but outside the folder ROOT: put table and images together",
        ),
        ("../secret.jpg", "the table names a file outside the folder ROOT: put table and images together"),
        ("a/../../secret.jpg", "the table names a file outside the folder ROOT: put table and images together"),
    ],
)
def test_the_message_names_the_cause(named, tmp_path, name, message):
    (tmp_path / "secret.jpg").touch()
    assert cause(named("a/b.jpg"), name) == message.replace("ROOT", str(tmp_path / "root"))


@pytest.mark.parametrize("name", ["link.jpg", "folder/secret.jpg", "C:\\x\\link.jpg"])
def test_a_link_that_leads_out_of_the_folder_is_followed_only_on_demand(named, tmp_path, name):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "secret.jpg").write_text("secret")
    files = named("a.jpg")
    (tmp_path / "root" / "link.jpg").symlink_to(tmp_path / "far" / "secret.jpg")
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "far")
    assert cause(files, name) == (
        f"a link to {tmp_path / 'far' / 'secret.jpg'}, outside the folder {tmp_path / 'root'}; --follow-links follows "
        "it"
    )
    assert content(named(listing=Listing(ListingOptions(follow_links=True))), name)[1] == "secret"


def test_a_link_inside_the_folder_is_an_image(named, tmp_path):
    files = named("a.jpg")
    (tmp_path / "root" / "b.jpg").symlink_to("a.jpg")
    assert content(files, "b.jpg") == ("b.jpg", "a.jpg")


def test_each_kind_of_difference_is_said_once_with_its_number_and_an_example(named):
    listing = Listing()
    files = named("a.JPG", "b.JPG", "c.jpg", listing=listing)
    for name in ("a.jpg", "b.jpg", "a.JPG", "C:\\c.jpg"):
        files.image(name, {})
    assert listing.warning_texts() == (
        "names of images in the table differ from the files in the case or the Unicode form of their letters, such as "
        "'a.jpg', which is 'a.JPG' (2 times)",
        "names of images in the table are paths with other folders and were found by their last parts, such as "
        "'C:\\c.jpg', which is 'c.jpg'",
    )


def test_an_exact_name_looks_at_one_file_and_lists_no_folder(named, monkeypatch):
    files = named("a/b.jpg")
    files.find("a/b.jpg")
    looked = []
    monkeypatch.setattr("os.listdir", lambda path: looked.append(path))
    monkeypatch.setattr("os.path.realpath", lambda path: looked.append(path))
    assert files.find("a/b.jpg").path == "a/b.jpg"
    assert looked == []


def test_many_files_of_a_folder_are_found_by_listing_it(named, monkeypatch):
    files = named(*(f"a/{number}.jpg" for number in range(500)), "b/0.jpg")
    asked = []
    lstat = os.lstat
    monkeypatch.setattr("os.lstat", lambda path: asked.append(path) or lstat(path))
    assert [files.find(f"a/{number}.jpg").path for number in range(500)] == [f"a/{number}.jpg" for number in range(500)]
    assert [content(files, name)[0] for name in ("b/0.jpg", "a/7.jpg")] == ["b/0.jpg", "a/7.jpg"]
    assert len(asked) < 100


def test_links_and_missing_files_are_noticed_in_a_folder_that_was_listed(named, tmp_path):
    files = named(*(f"a/{number}.jpg" for number in range(500)), "0.jpg")
    (tmp_path / "secret.jpg").touch()
    (tmp_path / "root" / "a" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for number in range(500):
        assert files.find(f"a/{number}.jpg").path
    assert cause(files, "a/link.jpg").startswith("a link to ")
    assert cause(files, "a/no.jpg").startswith("there is no such file")
    assert content(files, "/0.jpg")[0] == "0.jpg"
    assert cause(files, "a/../../secret.jpg").startswith("the table names a file outside the folder")


def test_a_file_that_comes_after_its_folder_was_listed_is_found(named, tmp_path):
    files = named(*(f"{number}.jpg" for number in range(100)))
    for number in range(100):
        files.find(f"{number}.jpg")
    (tmp_path / "root" / "new.jpg").write_text("new")
    assert content(files, "new.jpg") == ("new.jpg", "new")


def test_only_a_part_of_a_folder_of_many_files_is_listed(named, tmp_path):
    files = named(*(f"{number}.jpg" for number in range(2000)))
    for number in range(100):
        files.find(f"{number}.jpg")
    assert 0 < len(files._known) <= 64 * 16
    assert content(files, "1999.jpg") == ("1999.jpg", "1999.jpg")
