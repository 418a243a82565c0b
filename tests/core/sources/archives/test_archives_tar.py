"""Tar archives: long names, links, sparse files, damage."""

import io
import os
import subprocess
import tarfile

import pytest

from archive_fixtures import fault, names, outcomes


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
        "cast.tar": "damaged: it is damaged: a header of 8589934592 bytes; images listed before the damage: 1; "
        "download or copy the archive again",
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
