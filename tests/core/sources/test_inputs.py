"""Folders, patterns, manifests and mixtures of inputs."""

import os
import random
import subprocess
import tracemalloc
import zipfile

import pytest

from listing import fault, paths
from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import KINDS, LEFT_OUT, Listing, list_images
from pelagia.sources.seen import Seen

MEASURE = (
    "import sys, resource; from pathlib import Path; from pelagia.sources import list_images\n"
    "images = list_images([Path(sys.argv[1])]); next(images)\n"
    "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "count = 1 + sum(1 for _ in images)\n"
    "print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
)


# Folders


def test_what_a_nas_or_a_mac_leaves_behind_is_passed_over(tmp_path, put):
    for name in ("@eaDir/a.png", "__MACOSX/a.png", "$RECYCLE.BIN/a.png", "x/.AppleDouble/a.png", "x/a.png"):
        put(tmp_path / name)
    assert paths(tmp_path) == ["x/a.png"]


def test_folders_deeper_than_python_recurses_are_listed(tmp_path):
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
        assert paths(tmp_path) == ["d/" * 1200 + "a.png"]
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # pytest recurses when it tidies up


def test_the_first_image_comes_before_the_last_folder_is_listed(tmp_path, put):
    put(tmp_path / "a" / "1.png")
    put(tmp_path / "b" / "2.png")
    images = list_images([tmp_path])
    assert next(images).path == "a/1.png"
    put(tmp_path / "b" / "1.png")
    assert [image.path for image in images] == ["b/1.png", "b/2.png"]


def test_a_folder_holds_its_names_and_no_more(tmp_path, start):
    folder = tmp_path / "in"
    for part in range(20):
        (folder / f"{part:02}").mkdir(parents=True)
        for index in range(2000):
            (folder / f"{part:02}" / f"{index}.png").touch()
    count, megabytes = map(int, start(MEASURE, folder).communicate()[0].split())
    assert count == 40_000
    assert megabytes < 4


def test_a_pipe_behind_a_link_is_a_failed_row(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x.png").symlink_to(tmp_path / "pipe")
    (image,) = list_images([tmp_path])
    with pytest.raises(ImageError) as caught:
        image.read()
    assert (caught.value.reason, str(caught.value)) == ("unreadable", "a pipe or a device, not a file")


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate((1 << 28) + 1)
    (image,) = list_images([tmp_path])
    with pytest.raises(ImageError) as caught:
        image.read()
    assert (caught.value.reason, str(caught.value)) == ("too_large", "268435457 bytes; the limit is 268435456")


# Patterns


@pytest.fixture
def casts(tmp_path, put):
    for name in ("2024a/x.png", "2024a/y.jpg", "2024b/x.png", "2024b/deep/z.png", "2023/x.png", "2024a/.x.png"):
        put(tmp_path / name)
    (tmp_path / "2024a" / "notes.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("2024*/*.png", ["2024a/x.png", "2024b/x.png"]),
        ("2024?/x.*", ["2024a/x.png", "2024b/x.png"]),
        ("*/[xy].*", ["2023/x.png", "2024a/x.png", "2024a/y.jpg", "2024b/x.png"]),
        ("2024a/*", ["x.png", "y.jpg"]),
        ("2024*", ["2024a/x.png", "2024a/y.jpg", "2024b/deep/z.png", "2024b/x.png"]),
        ("**/x.png", ["2023/x.png", "2024a/x.png", "2024b/x.png"]),
        ("2024b/**", ["deep/z.png", "x.png"]),
        ("**/deep/*.png", ["2024b/deep/z.png"]),
    ],
)
def test_a_pattern_names_what_it_matches_below_its_fixed_part(casts, pattern, expected):
    assert paths(casts / pattern) == expected


def test_a_pattern_may_be_relative(casts, monkeypatch):
    monkeypatch.chdir(casts)
    assert paths("2024*/*.png") == ["2024a/x.png", "2024b/x.png"]


def test_a_pattern_that_matches_nothing_is_refused(casts):
    assert (
        fault(casts / "1999*/*.png")
        == f"nothing that matches '{casts}/1999*/*.png' is an image or contains one: check the pattern"
    )


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path, put):
    assert paths(put(tmp_path / "x[1].png")) == ["x[1].png"]


def test_a_pattern_may_match_bins_once_each(data_root):
    assert len(paths(data_root / "ifcb" / "*" / "D20*")) == 36
    assert paths(data_root / "ifcb" / "*" / "*.roi")[0] == "smhi/D20220519T124533_IFCB134_00001"


# Names that appear twice


def test_seen_finds_every_repetition_among_many(tmp_path):
    seen = Seen()
    names = [str(number) for number in random.Random(1).sample(range(10**9), 100_000)]
    assert not any(seen.add(name) for name in names)
    assert all(seen.add(name) for name in random.Random(2).sample(names, 5000))


@pytest.mark.parametrize("seed", range(20))
def test_seen_agrees_with_a_set_in_whatever_order_folders_come(seed):
    chance, seen, known = random.Random(seed), Seen(), set()
    folders = ["", "a", "a/b", "a/b/c", "a/bc", "b", "b/a"]
    for folder in chance.sample(folders, len(folders)) + chance.choices(folders, k=chance.choice((0, 30))):
        for name in (f"{folder}/{chance.randrange(400)}".lstrip("/") for _ in range(chance.randrange(30))):
            assert seen.add(name) == (name in known)
            known.add(name)


def test_seen_forgets_no_name_of_a_folder_that_is_done():
    seen = Seen()
    assert not any(seen.add(f"{number // 1000}/{number}") for number in range(100_000))
    assert all(seen.add(f"{number // 1000}/{number}") for number in range(0, 100_000, 7))


def test_the_memory_of_names_is_that_of_their_largest_folder():
    tracemalloc.start()
    seen = Seen()
    for number in range(300_000):
        seen.add(f"{number // 1000}/{number}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 300_000


# All together


def test_all_kinds_go_together_and_every_name_is_its_own(tmp_path, put, data_root, encode):
    import tarfile
    import zipfile

    put(tmp_path / "crops" / "x.png", seed=1)
    put(tmp_path / "single.png")
    put(tmp_path / "st1" / "x.png", seed=2)
    (tmp_path / "st1" / "manifest.csv").write_text("path,depth\nx.png,5\n")
    with zipfile.ZipFile(tmp_path / "cast.zip", "w") as archive:
        archive.writestr("x.png", encode())
    with tarfile.open(tmp_path / "cast.tar", "w") as archive:
        archive.add(tmp_path / "single.png", "x.png")
    put(tmp_path / "far" / "x.png")
    ours = [tmp_path / name for name in ("crops", "single.png", "st1/manifest.csv", "cast.zip", "cast.tar", "f*/*")]
    listing = Listing()
    with pytest.raises(InputError, match="is inside the input"):
        paths(*ours, tmp_path, listing=listing)
    found = paths(*ours, data_root / "ifcb" / "smhi" / "D20220519T124533_IFCB134", data_root / "ecotaxa_export")
    assert found[:5] == ["crops/x.png", "single.png", "st1/x.png", "cast.zip/x.png", "cast.tar/x.png"]
    assert found[5] == f"{tmp_path.name}/far/x.png"
    assert len(found) == len(set(found)) == 6 + 17 + 437


def test_a_listing_only_has_keys_that_are_explained(data_root):
    listing = Listing()
    paths(data_root / "ifcb", listing=listing)
    assert set(listing.left_out) <= set(LEFT_OUT)


def test_thousands_of_inputs_are_listed(tmp_path, put):
    many = [put(tmp_path / f"{index}.png", data=b"x") for index in range(2000)]
    assert len(paths(*many)) == 2000


def test_every_kind_claims_nothing_that_is_not_there(tmp_path):
    for ending in ("", ".csv", ".png", ".zip", ".tar", ".adc", ".parquet"):
        assert not any(kind.claims(tmp_path / f"no{ending}") for kind in KINDS)


def test_a_pattern_lists_no_image_twice(tmp_path, put):
    for name in ("s/x.png", "s/d/a.png", "s/d/e/b.png"):
        put(tmp_path / name)
    (tmp_path / "s" / "manifest.csv").write_text("path\nx.png\n")
    assert sorted(paths(tmp_path / "s" / "**" / "*")) == ["d/a.png", "d/e/b.png", "x.png"]
    assert sorted(paths(tmp_path / "s" / "*")) == ["d/a.png", "d/e/b.png", "x.png"]


def test_a_folder_and_the_manifest_of_its_images_are_not_both_taken(tmp_path, put):
    put(tmp_path / "cruise" / "images" / "a.png")
    (tmp_path / "cruise" / "m.csv").write_text("path\nimages/a.png\n")
    with pytest.raises(InputError, match="which would count twice: name only one of the two"):
        paths(tmp_path / "cruise" / "images", tmp_path / "cruise" / "m.csv")


def test_images_that_no_table_of_an_export_names_are_counted(tmp_path, put):
    for name in ("a.png", "b.png", "sub/c.png"):
        put(tmp_path / "eco" / name)
    (tmp_path / "eco" / "ecotaxa_1.tsv").write_text("img_file_name\tobject_id\na.png\to1\n")
    listing = Listing()
    assert paths(tmp_path / "eco", listing=listing) == ["a.png"]
    assert listing.left_out["not_in_table"] == 2


@pytest.mark.parametrize("others", [("ecotaxa.txt", "m.tsv"), ("notes_ecotaxa.tsv",)], ids=" and ".join)
def test_a_zip_of_images_with_another_table_is_no_ecotaxa_export(tmp_path, put, others):
    put(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "a.png")
        for name in others:
            archive.writestr(name, "x")
    assert paths(tmp_path / "z.zip") == ["a.png"]
