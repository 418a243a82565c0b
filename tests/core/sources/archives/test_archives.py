"""Zip and tar archives alike: whole, hostile and cut short."""

import io
import pickle
import random
import shlex
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archive_fixtures import fault, names, outcomes
from pelagia.images.preprocess import ImageError
from pelagia.sources import Listing, left_out_text, list_images
from pelagia.sources.image import known_suffixes


def test_an_archive_gives_its_images_in_its_order(make, encode):
    path = make(("b.png", encode(seed=1)), ("a/x.jpg", encode(seed=2)), ("readme.txt", b"x"), ("a.PNG", encode(seed=3)))
    found = outcomes(path)
    assert list(found) == ["b.png", "a/x.jpg", "a.PNG"]
    assert list(found.values()) == [encode(seed=seed) for seed in (1, 2, 3)]


def test_where_an_image_lay_is_the_archive_and_its_member(make, encode):
    path = make(("a/b.png", encode()))
    (image,) = list_images([path])
    assert str(image.file) == f"{path}!/a/b.png"


def test_hidden_members_and_junk_are_passed_over(make):
    path = make(
        ("__MACOSX/a/._x.png", b"x"), ("a/.x.png", b"x"), ("@eaDir/x.png", b"x"), (".a/x.png", b"x"), ("x.png", b"x")
    )
    assert names(path) == ["x.png"]


def test_a_member_cannot_be_named_outside_its_archive(make):
    path = make(("../../etc/x.png", b"1"), ("/abs/x.png", b"2"), ("./a/./x.png", b"3"), ("b//x.png", b"4"))
    assert names(path) == ["__/__/etc/x.png", "abs/x.png", "a/x.png", "b/x.png"]


def test_backslashes_and_drives_of_windows_become_folders(make_zip):
    path = make_zip(("C:\\casts\\x.png", b"1"), ("a\\y.png", b"2"))
    assert names(path) == ["casts/x.png", "a/y.png"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_all_given(make):
    found = outcomes(make(("a.png", b"1"), ("b.png", b"2"), ("a.png", b"3"), ("./a.png", b"4")))
    assert found == {"a.png": b"1", "b.png": b"2", "a.png#2": b"3", "a.png#3": b"4"}


def test_an_empty_member_is_read_as_nothing(make):
    assert outcomes(make(("a.png", b""), ("b.png", b"x"))) == {"a.png": b"", "b.png": b"x"}


def test_an_archive_inside_is_counted_and_not_opened(make):
    listing = Listing()
    assert names(make(("a.png", b"x"), ("inner.zip", b"x"), ("b/inner.tar.gz", b"x")), listing=listing) == ["a.png"]
    assert listing.left_out == {"archive_inside": 2}


def test_an_archive_without_images_is_refused(make):
    path = make(("readme.txt", b"x"))
    assert fault(path) == f"there is no image in {path} (looked for {known_suffixes()}): name another archive"


def test_nothing_is_unpacked_to_the_disk(make, encode, tmp_path):
    outcomes(make(("a/b.png", encode())))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_member_beyond_the_limit_is_too_large(make, monkeypatch):
    for module in ("image", "archives.zip_format", "archives.tar_file"):
        monkeypatch.setattr(sys.modules[f"pelagia.sources.{module}"], "MAX_BYTES", 1000)
    found = outcomes(make(("big.png", bytes(1001)), ("good.png", bytes(1000))))
    assert found["big.png"] == "too_large: the member has 1001 bytes; the limit is 1000"
    assert found["good.png"] == bytes(1000)


def test_images_of_an_archive_can_be_read_by_many_threads_at_once(make):
    data = {f"{index}.png": random.Random(index).randbytes(5000) for index in range(100)}
    images = list(list_images([make(*data.items())]))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda image: image.read() == data[image.path], images * 3)) == [True] * 300


def test_an_image_of_an_archive_can_be_sent_to_another_process(make):
    (image,) = list_images([make(("a.png", b"bytes"))])
    assert pickle.loads(pickle.dumps(image)).read() == b"bytes"


def test_many_members_are_listed_in_the_memory_of_few(make):
    def peak(count):
        path = make(*((f"{number // 500:03}/{number:06}.png", b"") for number in range(count)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in list_images([path])) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < peak(1000) + (1 << 17)


def test_the_name_of_a_member_does_not_enter_the_interpreter_s_table_of_names(make):
    (image,) = list_images([make(("0d9c41f7.png", b""))])
    same = image.path[:4] + image.path[4:]
    assert same is not image.path
    assert sys.intern(same) is same  # else it would be the one that stands there


def test_several_archives_are_told_apart_by_their_names(make_zip, make_tar, put, tmp_path):
    inputs = make_zip(("x.png", b"1")), make_tar(("x.png", b"2")), put(tmp_path / "f" / "x.png").parent
    assert names(*inputs) == ["cast.zip/x.png", "cast.tar/x.png", "f/x.png"]


def test_a_folder_that_holds_only_archives_says_how_to_name_them(make_zip, tmp_path):
    make_zip(("x.png", b"1"))
    assert fault(tmp_path).endswith(f"; it contains 1 archives: name those, as in '{tmp_path}/*.zip'")


@pytest.mark.parametrize("part", [0.35, 0.6, 0.9])
def test_an_archive_cut_short_gives_what_is_whole_and_one_failed_row(make, part):
    data = {f"{index}.png": random.Random(index).randbytes(200_000) for index in range(10)}
    path = make(*data.items())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    found = outcomes(path)
    *whole, last = found
    assert last == path.name
    assert found[last].startswith("damaged: it ")
    assert found[last].endswith(f"; images listed before the damage: {len(whole)}; download or copy the archive again")
    assert all(found[name] == data[name] for name in whole)
    assert whole == list(data)[: len(whole)]
    assert len(whole) >= int(10 * part) - (5 if path.suffix == ".bz2" else 1)  # bzip2 gives out 900 kB at a time


def test_a_tar_cut_between_two_members_is_not_taken_for_a_whole_one(make_tar):
    path = make_tar(("a.png", bytes(512)), ("b.png", bytes(512)), form=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:1024])
    assert list(outcomes(path)) == ["a.png", "cast.tar"]


def test_a_zip_that_lacks_only_its_end_gives_every_member(make_zip):
    path = make_zip(("a.png", b"1"), ("b.png", b"2"))
    path.write_bytes(path.read_bytes()[:-10])
    assert outcomes(path) == {
        "a.png": b"1",
        "b.png": b"2",
        "cast.zip": "damaged: its directory is cut short; images listed before the damage: 2; download or copy "
        "the archive again",
    }


def test_a_streamed_zip_without_its_end_gives_what_is_whole(tmp_path):
    data = {f"{index}.png": random.Random(index).randbytes(1000) + bytes(1000) for index in range(5)}
    code = (
        "import sys, zipfile, random\n"
        "with zipfile.ZipFile(sys.stdout.buffer, 'w', zipfile.ZIP_DEFLATED) as archive:\n"
        "    for index in range(5):\n"
        "        archive.writestr(f'{index}.png', random.Random(index).randbytes(1000) + bytes(1000))\n"
    )
    whole = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    assert struct.unpack_from("<H", whole, 6)[0] & 8  # sizes follow the data
    (tmp_path / "cast.zip").write_bytes(whole)
    assert outcomes(tmp_path / "cast.zip") == data
    (tmp_path / "cast.zip").write_bytes(whole[: len(whole) * 6 // 10])
    found = outcomes(tmp_path / "cast.zip")
    assert list(found) == ["0.png", "1.png", "2.png", "cast.zip"]
    assert found["2.png"] == data["2.png"]


def test_a_damaged_gzip_is_one_failed_row_after_what_is_whole(make_tar):
    data = {f"{index}.png": random.Random(index).randbytes(100_000) for index in range(5)}
    path = make_tar(*data.items(), name="cast.tar.gz")
    changed = bytearray(path.read_bytes())
    changed[-4000:-3000] = bytes(1000)
    path.write_bytes(changed)
    found = outcomes(path)
    assert list(found)[-1] == "cast.tar.gz"
    assert found["cast.tar.gz"].startswith("damaged: it is cut short or damaged (")


@pytest.mark.parametrize(
    ("members", "pattern"),
    [
        (["2024-06-24/1454.tar", "2024-06-24/1500.tar", "2024-06-25/0000.tar"], "'CRUISE/*/*.tar'"),
        (["a.ZIP"], "'CRUISE/*.ZIP'"),
        (["a/b/c/x.tar.gz", "a/b/d/y.tar.gz"], "'CRUISE/*/*/*/*.tar.gz'"),
        (["a.zip", "b/c.tar", "b/d.tar"], "'CRUISE/*/*.tar' or 'CRUISE/*.zip'"),
        (["a/b.zip", "c/d.tgz", "c/e.7z"], "'CRUISE/*/*.zip' or 'CRUISE/*/*.tgz'"),
    ],
)
def test_a_folder_of_archives_names_patterns_that_match_them(tmp_path, encode, monkeypatch, members, pattern):
    monkeypatch.chdir(tmp_path)
    for member in members:
        path = tmp_path / "CRUISE" / member
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a.png", encode())
        else:
            with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
                info = tarfile.TarInfo("RawImages\\a.png")
                info.size = len(encode())
                tar.addfile(info, io.BytesIO(encode()))
    message = fault(Path("CRUISE"))
    count = sum(not name.endswith(".7z") for name in members)
    assert f"; it contains {count} archives: name those, as in {pattern}" in message
    found = [image for one in shlex.split(pattern) if one != "or" for image in list_images([Path(one)])]
    assert len(found) == count
    assert all(image.read() == encode() for image in found)


def test_archives_that_cannot_be_opened_are_counted_and_refused_with_what_to_do(tmp_path, put, make_zip):
    for name in ("a.7z", "b.rar"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"7z")
    unpack = "2 archives that Pelagia cannot open (.7z, .rar): unpack them, and name their folders"
    assert fault(tmp_path / "in").endswith(f"; it contains {unpack}")
    assert fault(tmp_path / "in" / "a.7z") == (
        f"{tmp_path / 'in' / 'a.7z'} is an archive that Pelagia cannot open: unpack it, and name its folder"
    )
    put(tmp_path / "in" / "x.png")
    listing = Listing()
    assert len(list(list_images([tmp_path / "in"], listing))) == 1
    assert [f"{count} {left_out_text(key)}" for key, count in listing.left_out.items()] == [unpack]


def test_archives_and_encrypted_members_inside_an_archive_are_counted_and_said(make_zip, encode):
    path = make_zip(("a.png", encode()), ("inner.zip", b"PK"), ("inner.7z", b"7z"), ("secret.png", b"x"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    listing = Listing()
    found = {image.path: image for image in list_images([path], listing)}
    with pytest.raises(ImageError, match="encrypted: unpack it with its password"):
        found["secret.png"].read()
    assert listing.left_out == {"archive_inside": 1, "other_archive": 1}
