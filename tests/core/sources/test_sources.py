import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from pelagia.errors import InputError
from pelagia.sources import list_images
from pelagia.sources.image import Fault
from pelagia.system.files import printable

KNOWN = ".avif .bmp .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp"


def paths(*inputs):
    return [image.path for image in list_images(inputs)]


def fault(action):
    with pytest.raises(InputError) as caught:
        list(action())
    return str(caught.value)


# Folders


def test_a_folder_is_searched_deeply_and_sorted(tmp_path, put):
    for name in ("b.png", "a/z.jpg", "a/b/c.TIFF", "a.png", "c/1.webp"):
        put(tmp_path / name)
    assert paths(tmp_path) == ["a/b/c.TIFF", "a/z.jpg", "a.png", "b.png", "c/1.webp"]


def test_only_image_names_are_listed(tmp_path, put):
    for name in ("a.png", "a.txt", "png", "Thumbs.db", "b.png.part", ".hidden.png", ".cache/c.png", "x.svg"):
        put(tmp_path / name)
    assert paths(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "name", ["øre 1.png", "a,b;c.png", "-rf.png", "new\nline.png", "quote\"'.png", "#1%20?.png", " lead.png"]
)
def test_odd_names_are_names(tmp_path, put, name):
    put(tmp_path / name)
    (image,) = list_images([tmp_path])
    assert image.path == printable(name)  # a control character is an escape
    assert image.read() == (tmp_path / name).read_bytes()


def test_a_name_that_is_not_utf8_can_be_read_and_written_down(tmp_path, encode):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb") as file:
        file.write(encode())
    (image,) = list_images([tmp_path])
    assert image.path.encode() == b"caf\\udce9.png"
    assert image.read() == encode()


def test_a_folder_named_like_an_image_is_a_folder(tmp_path, put):
    put(tmp_path / "x.png" / "a.png")
    assert paths(tmp_path) == ["x.png/a.png"]
    assert paths(tmp_path / "x.png") == ["a.png"]


def test_a_loop_of_folders_ends(tmp_path, put):
    put(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert paths(tmp_path) == ["a/1.png"]


def test_a_link_to_an_image_is_an_image(tmp_path, put):
    put(tmp_path / "far" / "1.png", seed=3)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "2.png").symlink_to(tmp_path / "far" / "1.png")
    (image,) = list_images([tmp_path / "near"])
    assert (image.path, image.read()) == ("2.png", (tmp_path / "far" / "1.png").read_bytes())


@pytest.mark.parametrize("target", ["nowhere.png", "loop.png"])
def test_a_dead_link_is_listed_and_cannot_be_read(tmp_path, target):
    (tmp_path / "loop.png").symlink_to(target)
    (image,) = list_images([tmp_path])
    with pytest.raises(OSError, match=r"No such file|Too many levels"):
        image.read()


def test_a_pipe_that_would_never_end_is_passed_over(tmp_path, put):
    os.mkfifo(tmp_path / "pipe.png")
    put(tmp_path / "real.png")
    assert paths(tmp_path) == ["real.png"]


def test_an_empty_folder_is_refused(tmp_path):
    assert (
        fault(lambda: list_images([tmp_path]))
        == f"there is no image in {tmp_path} (looked for {KNOWN}, in all its folders)"
    )


def test_a_missing_input_is_refused(tmp_path):
    assert fault(lambda: list_images([tmp_path / "no"])) == f"there is no file or folder at {tmp_path / 'no'}"


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.pdf").touch()
    assert fault(lambda: list_images([tmp_path / "a.pdf"])) == (
        f"{tmp_path / 'a.pdf'} is not an input: name a folder, an image ({KNOWN}), a manifest "
        "(.csv .tsv .txt .xlsx .parquet), a .zip or .tar archive, an IFCB bin, the .lst of a FlowCam run, or an "
        "EcoTaxa export"
    )


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, as_nobody, put):
    put(tmp_path / "in" / "a.png")
    (tmp_path / "in").chmod(0)
    with pytest.raises(InputError) as caught:
        as_nobody(lambda: [image.path for image in list_images([Path("in")])])
    assert str(caught.value) == "cannot list in: Permission denied"


def test_a_folder_inside_that_cannot_be_listed_is_a_failed_image_and_the_rest_goes_on(tmp_path, as_nobody, put):
    for name in ("a/1.png", "secret/2.png", "z/3.png"):
        put(tmp_path / "in" / name)
    (tmp_path / "in" / "secret").chmod(0)
    found = as_nobody(lambda: [(image.path, isinstance(image.reader, Fault)) for image in list_images([Path("in")])])
    assert found == [("a/1.png", False), ("secret", True), ("z/3.png", False)]


# Several inputs


def test_a_single_image_is_named_after_its_file(tmp_path, put):
    assert paths(put(tmp_path / "a" / "x.png")) == ["x.png"]


def test_of_several_inputs_each_path_starts_with_its_input(tmp_path, put):
    put(tmp_path / "a" / "x.png")
    put(tmp_path / "b" / "x.png")
    put(tmp_path / "x.png")
    assert paths(tmp_path / "a", tmp_path / "b", tmp_path / "x.png") == ["a/x.png", "b/x.png", "x.png"]


def test_a_folder_named_like_an_image_keeps_its_prefix(tmp_path, put):
    put(tmp_path / "a.png" / "x.png")
    put(tmp_path / "b" / "x.png")
    assert paths(tmp_path / "a.png", tmp_path / "b") == ["a.png/x.png", "b/x.png"]


def test_two_inputs_of_one_name_are_refused(tmp_path, put):
    put(tmp_path / "a" / "s" / "x.png")
    put(tmp_path / "b" / "s" / "x.png")
    assert fault(lambda: list_images([tmp_path / "a" / "s", tmp_path / "b" / "s"])) == (
        "two inputs are called 's': classify each into its own survey"
    )


def test_a_relative_input_is_named_after_its_folder(tmp_path, put, monkeypatch):
    put(tmp_path / "a" / "x.png")
    put(tmp_path / "b" / "y.png")
    monkeypatch.chdir(tmp_path / "a")
    assert paths(Path("../a"), Path("../b/.")) == ["a/x.png", "b/y.png"]
    assert paths(Path(), Path("../b")) == ["a/x.png", "b/y.png"]
    monkeypatch.chdir(tmp_path / "a" / "..")
    message = "the input b is inside the input a/..: its images would count twice: name only one"
    with pytest.raises(InputError, match=message):
        paths(Path("a/.."), Path("b"))


def test_two_manifests_are_told_apart_by_their_folders(tmp_path, put):
    for name in "ab":
        put(tmp_path / name / "x.png")
        (tmp_path / name / "manifest.csv").write_text("path\nx.png\n")
    assert paths(tmp_path / "a" / "manifest.csv", tmp_path / "b" / "manifest.csv") == ["a/x.png", "b/x.png"]


def test_thousands_of_files_on_the_command_line_are_not_compared_each_with_each(tmp_path):
    many = [tmp_path / f"{index}.png" for index in range(2000)]
    calls = Counter()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        found = fault(lambda: list_images([*many, many[7]]))
    finally:
        sys.setprofile(None)
    assert found == f"the input {many[7]} is given twice: its images would count twice: name it only once"
    assert calls.total() < 2000 * len(many), "the work grows faster than the number of files"
