"""Pelagia's zip and tar readers against Python's zipfile and tarfile, member by member, on odd archives."""

import io
import random
import subprocess
import tarfile
import zipfile

import pytest

from pelagia.images.preprocess import ImageError
from pelagia.sources import list_images

LONG = "/".join(["a folder of a long name " * 3] * 4) + "/ø Øresund.png"


def members(path):
    """(name, bytes) of the images that Pelagia lists; the reason instead of the bytes if one cannot be read."""
    found = []
    for image in list_images([path]):
        try:
            found.append((image.path, image.read()))
        except ImageError as error:
            found.append((image.path, error.reason))
    return found


def numbered(entries):
    """``entries`` with the names that Pelagia gives to members of one name: ``a.png``, ``a.png#2``."""
    counts = {}
    for name, data in entries:
        counts[name] = counts.get(name, 0) + 1
        yield (name if counts[name] == 1 else f"{name}#{counts[name]}"), data


def by_zipfile(path):
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and info.filename.endswith(".png")]
        return list(numbered((info.filename, archive.read(info)) for info in infos))


class Pipe(io.RawIOBase):
    """A file that cannot seek: zipfile then writes the sizes of a member after its data."""

    def __init__(self):
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data, /):
        self.data += data
        return len(data)


def packed(target, entries, *, method=zipfile.ZIP_DEFLATED, zip64=False, comment=b"", member_comment=b"", extra=b""):
    """Writes (name, bytes) as a zip to ``target``, a path or a file."""
    with zipfile.ZipFile(target, "w") as archive:
        archive.comment = comment
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type, info.comment, info.extra = method, member_comment, extra
            with archive.open(info, "w", force_zip64=zip64) as member:
                member.write(data)


def contents(seed=0):
    """Members of many sizes, in folders, with names of several alphabets, some of them no images."""
    rng = random.Random(seed)
    names = ["a.png", "b/c.png", "Ø/æ ü.png", "写真/魚.png", "readme.txt", "x" * 200 + ".png", "b/empty.png", LONG]
    sizes = [1, 511, 512, 513, 70_000, 3, 0, 1024]
    return [(name, rng.randbytes(size // 2) + bytes(size - size // 2)) for name, size in zip(names, sizes, strict=True)]


OPTIONS = {
    "stored": {"method": zipfile.ZIP_STORED},
    "deflated": {},
    "bzip2": {"method": zipfile.ZIP_BZIP2},
    "zip64": {"zip64": True},
    "zip64 stored": {"zip64": True, "method": zipfile.ZIP_STORED},
    "comments": {"comment": b"a comment of the archive " * 100, "member_comment": b"PK\1\2 another"},
    "extra field": {"extra": b"\x99\x99\x04\0abcd"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("prefix", [b"", b"MZ a program that unpacks itself" * 40], ids=["", "prefix"])
def test_a_zip_is_read_as_zipfile_reads_it(tmp_path, options, prefix):
    buffer = io.BytesIO()
    packed(buffer, contents(), **options)
    path = tmp_path / "cast.zip"
    path.write_bytes(prefix + buffer.getvalue())
    assert members(path) == by_zipfile(path)
    assert len(members(path)) == 7


@pytest.mark.parametrize("zip64", [False, True])
def test_a_zip_whose_sizes_come_after_the_data_is_read_as_zipfile_reads_it(tmp_path, zip64):
    pipe = Pipe()
    packed(pipe, contents(), zip64=zip64)
    path = tmp_path / "cast.zip"
    path.write_bytes(pipe.data)
    assert pipe.data.count(b"PK\7\10") >= 8
    assert members(path) == by_zipfile(path)


def test_names_of_code_page_437_are_read_as_zipfile_reads_them(tmp_path):
    path = tmp_path / "cast.zip"
    packed(path, [("Xber.png", b"1"), ("caf_.png", b"2"), ("plain.png", b"3")], method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"Xber", b"\x9aber").replace(b"caf_", b"caf\x82"))
    assert members(path) == by_zipfile(path) == [("Über.png", b"1"), ("café.png", b"2"), ("plain.png", b"3")]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_folders_and_members_of_one_name_are_read_as_zipfile_reads_them(tmp_path):
    path = tmp_path / "cast.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("a.png")
        for data in (b"1", b"22", b"333"):
            archive.writestr("b/a.png", data)
            archive.writestr("c.png", data * 2)
    assert members(path) == by_zipfile(path)
    assert [name for name, _ in members(path)][:4] == ["b/a.png", "c.png", "b/a.png#2", "c.png#2"]


def test_a_zip_of_more_members_than_16_bits_count_is_read_as_zipfile_reads_it(tmp_path):
    path = tmp_path / "cast.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(66_000):
            archive.writestr(f"{index}.png", b"")
    with zipfile.ZipFile(path) as archive:
        assert [image.path for image in list_images([path])] == archive.namelist()


def by_tarfile(path):
    with tarfile.open(path) as archive:
        infos = [info for info in archive if info.name.endswith(".png") and not info.isdir() and not info.isdev()]
        entries = []
        for info in infos:
            usable = info.isreg() and not info.issparse()
            entries.append((info.name, archive.extractfile(info).read() if usable else "unsupported"))
        return list(numbered(entries))


def odd_members():
    """Members that are no regular files: a folder, links, a pipe and devices, some with a size that means nothing."""
    for name, kind in (
        ("folder.png", tarfile.DIRTYPE),
        ("hard.png", tarfile.LNKTYPE),
        ("soft.png", tarfile.SYMTYPE),
        ("pipe.png", tarfile.FIFOTYPE),
        ("device.png", tarfile.CHRTYPE),
        ("disk.png", tarfile.BLKTYPE),
    ):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = "a.png" if kind in (tarfile.LNKTYPE, tarfile.SYMTYPE) else ""
        yield info


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_is_read_as_tarfile_reads_it(tmp_path, form, ending):
    path = tmp_path / f"cast.{ending}"
    whole = contents()
    if form == tarfile.USTAR_FORMAT:  # it has no room for longer names
        whole = [(name, data) for name, data in whole if len(name.encode()) < 100]
    mode, pax = f"w:{ending[4:]}", {"comment": "a global header", "charset": "ø"}
    with tarfile.open(path, mode, format=form, pax_headers=pax if form == tarfile.PAX_FORMAT else None) as archive:
        for name, data in [*whole, ("a.png", b"again"), ("b/a.png/c.png", b"x")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1_700_000_000.5
            archive.addfile(info, io.BytesIO(data))
        for info in odd_members():
            archive.addfile(info)
        last = tarfile.TarInfo("last.png")
        last.size = 5
        archive.addfile(last, io.BytesIO(b"12345"))
    found = members(path)
    assert found == by_tarfile(path)
    assert [name for name, data in found if data == "unsupported"] == ["hard.png", "soft.png"]
    assert found[-1] == ("last.png", b"12345")


@pytest.mark.parametrize("form", ["gnu", "pax", "oldgnu", "ustar", "v7"])
def test_what_the_program_tar_writes_is_read_as_tarfile_reads_it(tmp_path, form):
    source = tmp_path / "src"
    source.mkdir()
    with (source / "hole.png").open("wb") as file:
        file.write(b"start")
        file.seek(1 << 20)
        file.write(b"end")
    (source / "whole.png").write_bytes(bytes(range(256)) * 9)
    (source / "soft.png").symlink_to("whole.png")
    (source / "hard.png").hardlink_to(source / "whole.png")
    sparse = ["-S"] if form in ("gnu", "pax", "oldgnu") else []
    subprocess.run(
        ["tar", *sparse, f"--format={form}", "-cf", "cast.tar", "--sort=name", "src"], cwd=tmp_path, check=True
    )
    found = dict(members(tmp_path / "cast.tar"))
    assert list(found.items()) == by_tarfile(tmp_path / "cast.tar")
    assert (found["src/hole.png"] == "unsupported") == bool(sparse)
