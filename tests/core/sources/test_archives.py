"""Zip and tar archives: whole, odd, hostile and cut short."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import image as image_module
from pelagia.sources import list_images

PACK = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
}


def names(*inputs, tally=None):
    return [image.path for image in list_images(inputs, tally)]


def outcomes(path):
    """Name -> bytes, or the reason why not."""
    found = {}
    for image in list_images([path]):
        try:
            found[image.path] = image.read()
        except ImageError as error:
            found[image.path] = f"{error.reason}: {error}"
    return found


def fault(path):
    with pytest.raises(InputError) as caught:
        list(list_images([path]))
    return str(caught.value)


@pytest.fixture
def make_zip(tmp_path):
    """Writes a zip of (name, bytes), in any of zipfile's ways."""

    def make(*members, name="cast.zip", method=zipfile.ZIP_DEFLATED, prefix=b""):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for member, data in members:
                archive.writestr(member, data)
        path = tmp_path / name
        path.write_bytes(prefix + buffer.getvalue())
        return path

    return make


@pytest.fixture
def make_tar(tmp_path):
    """Writes a tar of (name, bytes) or TarInfo, packed as its name says."""

    def make(*members, name="cast.tar", form=tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    archive.addfile(member)
                    continue
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
        path = tmp_path / name
        path.write_bytes(PACK["." + name.partition(".")[2]](buffer.getvalue()))
        return path

    return make


@pytest.fixture(params=["cast.zip", *(f"cast{ending}" for ending in PACK)])
def make(request, make_zip, make_tar):
    """Writes an archive of each kind."""
    maker = make_zip if request.param.endswith(".zip") else make_tar
    return lambda *members: maker(*members, name=request.param)


# Whole archives, whatever their kind


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
    tally = Counter()
    assert names(make(("a.png", b"x"), ("inner.zip", b"x"), ("b/inner.tar.gz", b"x")), tally=tally) == ["a.png"]
    assert tally == {"archive_inside": 2}


def test_an_archive_without_images_is_refused(make):
    path = make(("readme.txt", b"x"))
    assert fault(path) == f"there is no image in {path} (looked for .bmp .jpeg .jpg .png .tif .tiff .webp)"


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


# Archives cut short


@pytest.mark.parametrize("part", [0.35, 0.6, 0.9])
def test_an_archive_cut_short_gives_what_is_whole_and_one_failed_row(make, part):
    data = {f"{index}.png": random.Random(index).randbytes(200_000) for index in range(10)}
    path = make(*data.items())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    found = outcomes(path)
    *whole, last = found
    assert last == path.name
    assert found[last].startswith("damaged: it ")
    assert found[last].endswith(f"; the {len(whole)} images before the damage were listed")
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
        "cast.zip": "damaged: its directory is cut short; the 2 images before the damage were listed",
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


# Zip


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
        "cast.zip": "damaged: its directory is damaged; the 1 images before the damage were listed",
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


# Tar


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_long_names_are_read(make_tar, form, ending):
    long = "/".join(["folder" * 10] * 5) + "/ø.png"
    assert outcomes(make_tar((long, b"x"), ("b.png", b"y"), name=f"c{ending}", form=form)) == {
        long: b"x",
        "b.png": b"y",
    }


def test_a_name_that_is_not_utf8_is_spelled_out(make_tar):
    path = make_tar(("cafe.png", b"x"), form=tarfile.USTAR_FORMAT)
    data = bytearray(path.read_bytes())
    data[3] = 0xE9
    data[148:156] = b"%06o\0 " % sum(data[:148] + b"        " + data[156:512])
    path.write_bytes(data)
    assert names(path) == ["caf\\udce9.png"]


def test_a_tar_may_be_packed_otherwise_than_its_name_says(make_tar, tmp_path):
    path = make_tar(("a.png", b"x"), name="cast.tar.gz").rename(tmp_path / "cast.tar")
    assert outcomes(path) == {"a.png": b"x"}


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_a_link_in_a_tar_is_a_failed_row(make_tar, kind):
    link = tarfile.TarInfo("b.png")
    link.type, link.linkname = kind, "a.png"
    found = outcomes(make_tar(("a.png", b"x"), link))
    assert found["b.png"].startswith("unsupported: a link inside the archive: make the archive with tar --dereference")


def test_folders_pipes_and_devices_of_a_tar_are_no_images(make_tar):
    odd = []
    for index, kind in enumerate((tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)):
        odd.append(tarfile.TarInfo(f"{index}.png"))
        odd[-1].type = kind
    assert names(make_tar(*odd, ("a.png", b"x"))) == ["a.png"]


def test_a_sparse_file_made_by_tar_is_a_failed_row(tmp_path):
    with (tmp_path / "hole.png").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 20)
        file.write(b"end")
    (tmp_path / "a.png").write_bytes(b"x")
    for form in ("gnu", "pax"):
        command = ["tar", "-S", f"--format={form}", "-cf", f"{form}.tar", "hole.png", "a.png"]
        subprocess.run(command, cwd=tmp_path, check=True)
        found = outcomes(tmp_path / f"{form}.tar")
        assert list(found.values()) == ["unsupported: a sparse member of a tar: unpack the archive", b"x"]


def test_a_header_that_claims_gigabytes_of_name_is_damage(make_tar):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    path = make_tar(("a.png", b"x"))
    path.write_bytes(path.read_bytes()[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    assert outcomes(path) == {
        "a.png": b"x",
        "cast.tar": "damaged: it is damaged: a header of 8589934592 bytes; the 1 images before the damage were listed",
    }


@pytest.mark.parametrize("records", [b"9999 path=x\n", b"x path=y\n", b"0 path=x\n", b"12 size=-100\n"])
def test_an_extended_header_that_makes_no_sense_is_damage(make_tar, records):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    path = make_tar(("a.png", b"x"))
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + path.read_bytes())
    assert list(outcomes(path)) == ["cast.tar"]


@pytest.mark.parametrize("data", [b"", b"x", b"no tar at all" * 100, bytes(100)])
def test_a_file_that_is_no_tar_is_refused(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    assert (
        fault(tmp_path / "a.tar")
        == f"{tmp_path / 'a.tar'} is named like a tar archive but is not one: download or copy it again"
    )


def test_a_compressed_tar_holds_one_member_at_a_time(tmp_path, start):
    with tarfile.open(tmp_path / "cast.tar.gz", "w:gz", compresslevel=1) as archive:
        for index in range(300):
            info = tarfile.TarInfo(f"{index}.png")
            info.size = 1 << 20
            archive.addfile(info, io.BytesIO(bytes(1 << 20)))
    code = (
        "import sys, resource; from pathlib import Path; from pelagia.sources import list_images\n"
        "images = list_images([Path(sys.argv[1])]); next(images)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "total = sum(len(image.read()) for image in images)\n"
        "print(total >> 20, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    total, megabytes = map(int, start(code, tmp_path / "cast.tar.gz").communicate()[0].split())
    assert (total, megabytes < 16) == (299, True)


def test_archives_that_programs_write_are_read(tmp_path, put, encode):
    for index in range(5):
        put(tmp_path / "src" / "a" / f"{index}.png", seed=index)
    for form in ("gnu", "posix", "ustar", "v7"):
        subprocess.run(["tar", f"--format={form}", "-czf", f"{form}.tgz", "src"], cwd=tmp_path, check=True)
        found = outcomes(tmp_path / f"{form}.tgz")
        assert len(found) == 5
        assert found["src/a/3.png"] == encode(seed=3)
    assert os.listdir(tmp_path / "src") == ["a"]
