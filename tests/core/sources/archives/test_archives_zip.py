"""Zip archives: ways of packing, damage, names, zip64."""

import struct
import zipfile

import pytest

from archive_fixtures import fault, names, outcomes
from pelagia.sources import image as image_module
from pelagia.sources import list_images


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_may_be_packed_in_these_ways(make_zip, encode, method):
    assert outcomes(make_zip(("a.png", encode()), method=method)) == {"a.png": encode()}


def test_another_way_of_packing_is_named(make_zip):
    found = outcomes(make_zip(("a.png", b"x"), method=zipfile.ZIP_LZMA))
    assert found["a.png"] == "unsupported: the archive's member is compressed with LZMA: pack it as a plain zip"


def test_an_encrypted_member_is_a_failed_row(make_zip):
    path = make_zip(("a.png", b"x"), ("b.png", b"y"))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert outcomes(path) == {
        "a.png": "encrypted: the archive's member is encrypted: unpack it with its password",
        "b.png": b"y",
    }


def test_a_member_that_grows_beyond_what_it_declares_is_stopped(make_zip):
    path = make_zip(("bomb.png", bytes(50_000_000)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 24, 1000)
    path.write_bytes(data)
    message = "too_large: the member has more than the 1000 bytes that the archive declares"
    assert outcomes(path) == {"bomb.png": message}


def test_a_member_that_declares_gigabytes_is_not_tried(make_zip):
    path = make_zip(("bomb.png", bytes(1000)))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 24, 0xF0000000)
    path.write_bytes(data)
    limit = image_module.MAX_BYTES
    assert outcomes(path) == {"bomb.png": f"too_large: the member has 4026531840 bytes; the limit is {limit}"}


def test_a_member_whose_bytes_changed_is_a_failed_row(make_zip):
    path = make_zip(("a.png", b"unchanged"), ("b.png", b"y"), method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"unchanged", b"unchangeD"))
    found = outcomes(path)
    assert found["a.png"] == "damaged: the archive's member is damaged: its checksum is wrong"
    assert found["b.png"] == b"y"


def test_a_directory_that_points_astray_is_a_failed_row(make_zip):
    path = make_zip(("a.png", b"x"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 42, 7)
    path.write_bytes(data)
    assert outcomes(path) == {"a.png": "damaged: the archive has no member where its directory says"}


def test_a_damaged_directory_is_one_failed_row_after_what_was_listed(make_zip):
    path = make_zip(("a.png", b"x"), ("b.png", b"y"))
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second : second + 4] = b"XXXX"
    path.write_bytes(data)
    assert outcomes(path) == {
        "a.png": b"x",
        "cast.zip": "damaged: its directory is damaged; images listed before the damage: 1; download or copy "
        "the archive again",
    }


@pytest.mark.parametrize(
    ("raw", "name"),
    [("øre.png".encode(), "øre.png"), (b"caf\x82.png", "café.png"), ("é.png".encode("cp437"), "é.png")],
    ids=["UTF-8 that is not declared", "code page 437", "encoded by DOS"],
)
def test_names_are_read_as_utf8_or_else_as_dos_wrote_them(make_zip, raw, name):
    path = make_zip(("x" * (len(raw) - 4) + ".png", b"1"))
    path.write_bytes(path.read_bytes().replace(b"x" * (len(raw) - 4) + b".png", raw))
    assert names(path) == [name]


def test_a_zip_with_something_before_it_is_read(make_zip):
    assert outcomes(make_zip(("a.png", b"x"), prefix=b"#!/bin/sh\nexit\n")) == {"a.png": b"x"}


def test_a_zip_with_something_after_it_is_read(make_zip):
    path = make_zip(("a.png", b"x"))
    path.write_bytes(path.read_bytes() + b"\r\n")
    assert outcomes(path) == {"a.png": b"x"}


def test_of_a_zip_cut_short_behind_a_zip_inside_it_the_inner_is_not_taken_for_the_whole(make_zip, tmp_path):
    inner = make_zip(("inner.png", b"1"), name="inner.zip").read_bytes()
    path = make_zip(("a.png", b"x"), ("inner.zip", inner), ("b.png", b"y"), method=zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(inner) + len(inner) + 20])
    assert list(outcomes(path)) == ["a.png", "cast.zip"]


def test_a_zip64_archive_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "cast.zip", "w") as archive:
        for index in range(66_000):
            archive.writestr(f"{index}.png", b"%d" % index)
    images = list(list_images([tmp_path / "cast.zip"]))
    assert len(images) == 66_000
    assert images[-1].read() == b"65999"


def test_a_member_with_zip64_sizes_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "cast.zip", "w") as archive, archive.open("a.png", "w", force_zip64=True) as file:
        file.write(b"bytes")
    assert outcomes(tmp_path / "cast.zip") == {"a.png": b"bytes"}


@pytest.mark.parametrize("data", [b"", b"x", b"no zip at all" * 100])
def test_a_file_that_is_no_zip_is_refused(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    assert (
        fault(tmp_path / "a.zip")
        == f"{tmp_path / 'a.zip'} is named .zip but is not a zip archive: download or copy it again"
    )


def test_a_zip_removed_while_it_is_read_gives_missing_images(make_zip):
    path = make_zip(("a.png", b"x"))
    (image,) = list_images([path])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        image.read()


def test_zip_entries_cost_no_memory_while_they_are_listed(tmp_path, start):
    with zipfile.ZipFile(tmp_path / "cast.zip", "w") as archive:
        for index in range(100_000):
            archive.writestr(f"a/rather/long/folder/name/{index}.png", b"x")
    code = (
        "import sys, resource; from pathlib import Path; from pelagia.sources import list_images\n"
        "images = list_images([Path(sys.argv[1])]); next(images)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = 1 + sum(1 for _ in images)\n"
        "print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    count, megabytes = map(int, start(code, tmp_path / "cast.zip").communicate()[0].split())
    assert count == 100_000
    assert megabytes < 16  # zipfile takes 50
