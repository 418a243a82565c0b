"""Pelagia's zip and tar readers against zipfile and tarfile, over 1,000 odd archives each that hypothesis generates.

No silent difference is allowed. A whole archive gives the same names and bytes. From a damaged archive, each image has
the bytes that the standard library reads or that were packed, and whatever is not listed is said by a failed image or
by an error. The archives are the same in every run.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import warnings
import zipfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pelagia.errors import InputError
from pelagia.images.preprocess import ImageError
from pelagia.sources import list_images
from pelagia.sources.archives.names import member_name

GENERATED = settings(
    max_examples=1000,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
NAMES = [
    "a.png",
    "b/c.png",
    "./b/c.png",
    "Ø/æ ü.png",
    "写真/魚.jpg",
    "x" * 120 + ".png",
    "/".join(["a long folder " * 5] * 4) + "/end.tif",
    "notes.txt",
    "\\server\\share\\d.png",
    "C:\\e.png",
    "../f.png",
    "/root.png",
    "a b.PNG",
    "no ending",
    "b/.hidden.png",
    "g.png.zip",
]
RAW_NAMES = [b"caf\x82.png", b"\x9aber/x.png", "é.png".encode(), "写.png".encode(), b"\xff\xfe.png", b"plain.png"]


@dataclass
class Damage:
    """What happens to the bytes of an archive: nothing, the end is cut off, or bytes are changed."""

    cut: int | None
    flips: tuple[tuple[int, int], ...]

    @property
    def is_none(self):
        return self.cut is None and not self.flips

    def apply(self, data):
        if not data:
            return data
        changed = bytearray(data)
        for place, bits in self.flips:
            changed[place % len(data)] ^= bits
        return bytes(changed if self.cut is None else changed[: self.cut % len(data)])


places = st.integers(0, 1 << 20)
flips = st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=3).map(tuple)
damages = st.one_of(
    st.just(Damage(None, ())),
    st.builds(Damage, st.none(), flips),
    st.builds(Damage, places, st.just(())),
)
contents = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda data, count: data * count, st.binary(min_size=1, max_size=8), st.integers(1, 2000)),
)


def numbered(entries):
    """Members with the names that Pelagia gives them: those of images, the second of a name as ``a.png#2``."""
    seen, again, found = set(), Counter(), []
    for raw, data in entries:
        name = member_name(raw)
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
        if hidden or not name.lower().endswith((".png", ".jpg", ".tif")):
            continue
        unique = name
        while unique in seen:
            again[name] += 1
            unique = f"{name}#{again[name] + 1}"
        seen.add(unique)
        found.append((unique, data))
    return found


def ours(path):
    """(name, bytes or reason) of each image, and whether something was said to be wrong with the archive."""
    found, is_said = [], False
    try:
        for image in list_images([path]):
            try:
                found.append((image.path, image.read()))
            except ImageError as error:
                found.append((image.path, error.reason))
                is_said = True
    except InputError as error:
        is_said = "there is no image in" not in str(error)
    return found, is_said


def compare(path, theirs, packed, *, is_whole):
    """Compares what Pelagia reads with what the standard library reads, and with what was packed.

    Args:
        theirs: what the standard library reads; None if it refuses the archive.
        is_whole: whether Pelagia must read the archive.
    """
    found, is_said = ours(path)
    if is_whole:
        assert found == (packed if theirs is None else theirs)
        return
    theirs = theirs or []
    known = {(name.partition("#")[0], data) for name, data in [*theirs, *packed]}
    for name, data in found:
        if isinstance(data, bytes):
            assert (name.partition("#")[0], data) in known
    missing = [entry for entry in theirs if isinstance(entry[1], bytes) and entry not in found]
    assert is_said or not missing


# Zip


class RawInfo(zipfile.ZipInfo):
    """A member whose name is given as bytes, and is not declared to be UTF-8."""

    raw = b""

    def _encodeFilenameFlags(self):  # noqa: N802 - zipfile's own name
        return self.raw, self.flag_bits & ~0x800


class Pipe(io.RawIOBase):
    """A file that cannot seek: zipfile then writes the sizes of a member after its data."""

    def __init__(self):
        super().__init__()
        self.data = bytearray()

    def writable(self):
        return True

    def write(self, data, /):
        self.data += data
        return len(data)


zip_members = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, "folder.png/", *RAW_NAMES]),
        "data": contents,
        "method": st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
        "zip64": st.booleans(),
        "comment": st.sampled_from([b"", b"x" * 300, b"PK\1\2 and PK\3\4"]),
        "extra": st.sampled_from([b"", b"\x99\x99\x04\0abcd", b"\x01\x00\x00\x00"]),
        "link": st.booleans(),
        "encrypted": st.sampled_from([False] * 9 + [True]),
    }
)
zips = st.fixed_dictionaries(
    {
        "members": st.lists(zip_members, max_size=5),
        "streamed": st.booleans(),
        "comment": st.sampled_from([b"", b"a comment", b"PK\5\6 is no end", b"c" * 2000]),
        "prefix": st.sampled_from([b"", b"", b"MZ a program", b"PK\3\4" * 9]),
        "suffix": st.sampled_from([b"", b"", b"\r\n", b"\0" * 100]),
    }
)


def zip_bytes(plan):
    target = Pipe() if plan["streamed"] else io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")  # a name that comes twice
        archive.comment = plan["comment"]
        for member in plan["members"]:
            name = member["name"]
            info = zipfile.ZipInfo(name) if isinstance(name, str) else RawInfo("raw.png")
            if isinstance(name, bytes):
                info.raw = name
            info.compress_type, info.comment, info.extra = member["method"], member["comment"], member["extra"]
            if member["link"]:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            with archive.open(info, "w", force_zip64=member["zip64"]) as file:
                file.write(b"" if info.is_dir() else member["data"])
            info.flag_bits |= member["encrypted"]  # it is declared in the directory only, when the archive is closed
    data = target.data if plan["streamed"] else target.getvalue()
    return plan["prefix"] + bytes(data) + plan["suffix"]


def zip_name(info):
    """The name as Pelagia reads it: UTF-8, whether or not it is declared, else code page 437."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeDecodeError):
            return name.encode("cp437").decode()
    return name


def by_zipfile(path):
    entries = []
    try:
        archive = zipfile.ZipFile(path)
    except Exception:
        return None
    with archive:
        for info in archive.infolist():
            name = zip_name(info)
            if name.endswith(("/", "\\")):
                continue
            if info.flag_bits & 1:
                entries.append((name, "encrypted"))
            elif info.compress_type == zipfile.ZIP_LZMA:
                entries.append((name, "unsupported"))
            else:
                data = "damaged"
                with suppress(Exception):
                    data = archive.read(info)
                entries.append((name, data))
    return numbered(entries)


def of_plan(plan, *, is_whole):
    """(name, bytes) of what was packed; if it is read whole, the reason for what cannot be read."""
    names = []
    for member in plan["members"]:
        name = member["name"]
        if isinstance(name, bytes):
            try:
                name = name.decode()
            except UnicodeDecodeError:
                name = name.decode("cp437")
        if not name.endswith("/"):
            reason = "unsupported" if member["method"] == zipfile.ZIP_LZMA else ""
            reason = "encrypted" if member["encrypted"] else reason
            names.append((name, reason if reason and is_whole else member["data"]))
    return numbered(names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("generated")


@GENERATED
@given(plan=zips, damage=damages)
def test_no_generated_zip_is_read_differently_in_silence(folder, plan, damage):
    path = folder / "cast.zip"
    path.write_bytes(damage.apply(zip_bytes(plan)))
    is_both_sides = bool(plan["prefix"] and plan["suffix"])  # then the place of the directory is not certain
    is_whole = damage.is_none and not is_both_sides
    compare(path, by_zipfile(path), of_plan(plan, is_whole=is_whole), is_whole=is_whole)


# Tar

KINDS = [tarfile.REGTYPE] * 6 + [
    tarfile.AREGTYPE,
    tarfile.CONTTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.FIFOTYPE,
    tarfile.CHRTYPE,
]
tar_members = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, "surrogate\udcff.png", "z/" * 70 + "z.png"]),
        "data": contents,
        "kind": st.sampled_from(KINDS),
        "pax": st.sampled_from(
            [{}, {}, {"comment": "ø " * 20}, {"path": "renamed.png"}, {"GNU.sparse.map": "0,3", "GNU.sparse.size": "9"}]
        ),
    }
)
tars = st.fixed_dictionaries(
    {
        "members": st.lists(tar_members, max_size=5),
        "form": st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
        "pack": st.sampled_from(["", "", "gz", "bz2", "xz"]),
        "globals": st.sampled_from([{}, {"comment": "a global header"}]),
        "tail": st.sampled_from(["whole", "one block", "no end"]),
    }
)
PACKERS = {"": bytes, "gz": lambda data: gzip.compress(data, mtime=0), "bz2": bz2.compress, "xz": lzma.compress}


def tar_bytes(plan):
    buffer = io.BytesIO()
    headers = plan["globals"] if plan["form"] == tarfile.PAX_FORMAT else None
    with tarfile.open(fileobj=buffer, mode="w", format=plan["form"], pax_headers=headers) as archive:
        for member in plan["members"]:
            info = tarfile.TarInfo(member["name"])
            info.type, info.pax_headers = member["kind"], dict(member["pax"])
            info.linkname = "a.png" if member["kind"] in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = len(member["data"]) if info.isreg() else 0
            with suppress(ValueError):  # the name is too long for this form
                archive.addfile(info, io.BytesIO(member["data"]))
        end = archive.offset
    data = buffer.getvalue()
    data = {"whole": data, "one block": data[: end + 512], "no end": data[:end]}[plan["tail"]]
    return PACKERS[plan["pack"]](data)


def by_tarfile(path):
    entries = []
    with suppress(Exception), tarfile.open(path) as archive:
        for info in archive:
            if info.isdir() or info.isdev():
                continue
            data = "unsupported"
            if info.isreg() and not info.issparse():
                data = "damaged"
                with suppress(Exception):
                    data = archive.extractfile(info).read()
                    data = data if len(data) == info.size else "damaged"
            entries.append((info.name, data))
    return numbered(entries)


@GENERATED
@given(plan=tars, damage=damages)
def test_no_generated_tar_is_read_differently_in_silence(folder, plan, damage):
    path = folder / f"cast.tar{'.' * bool(plan['pack'])}{plan['pack']}"
    path.write_bytes(damage.apply(tar_bytes(plan)))
    packed = numbered((member["pax"].get("path", member["name"]), member["data"]) for member in plan["members"])
    compare(path, by_tarfile(path), packed, is_whole=damage.is_none and plan["tail"] != "no end")
