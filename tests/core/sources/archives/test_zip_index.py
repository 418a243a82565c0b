"""Members of a zip as streams: what is damaged gives an error before its first byte, in any way of packing."""

import builtins
import io
import os
import random
import zipfile

import pytest

from pelagia.sources.archives.zip_file import members
from pelagia.sources.archives.zip_index import open_member

TABLE = "".join(f"{number}\t57.{number}\n" for number in range(50_000)).encode()
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]


def only(path):
    (entry,) = members(path)
    return entry


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [b"", b"x", TABLE, bytes(3_000_000), random.Random(0).randbytes(200_000)])
def test_a_member_is_read_as_a_stream(make_zip, method, data):
    path = make_zip(("a.tsv", data), method=method)
    with open_member(only(path)) as file:
        start = file.read(7)
        assert start + file.read() == data


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [8_192, 100_000, 300_000])
def test_a_member_is_read_in_pieces_of_any_size(make_zip, method, size):
    path = make_zip(("a.tsv", TABLE), method=method)
    with open_member(only(path)) as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == TABLE
    with io.TextIOWrapper(open_member(only(path)), "ascii") as text:
        assert "".join(text) == TABLE.decode()


@pytest.mark.parametrize("method", METHODS)
def test_a_changed_byte_of_a_table_is_found_before_its_first_row(make_zip, method):
    path = make_zip(("a.tsv", TABLE), method=method)
    data = bytearray(path.read_bytes())
    data[data.index(b"57.49999") if method == zipfile.ZIP_STORED else 30_000] ^= 0x04
    path.write_bytes(data)
    with pytest.raises(OSError, match="damaged") as caught:
        open_member(only(path))
    assert caught.value.errno is None


def test_a_table_that_changes_after_it_was_checked_is_refused_at_its_end(make_zip):
    path = make_zip(("a.tsv", TABLE), method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with open_member(only(path)) as file:
        file.read(10)
        data[data.index(b"57.49999")] ^= 1
        path.write_bytes(data)
        with pytest.raises(OSError, match="checksum"):
            file.read()
    with pytest.raises(OSError, match="checksum"):
        open_member(only(path))


@pytest.mark.parametrize(
    ("method", "message"), [(zipfile.ZIP_LZMA, "compressed with LZMA"), (zipfile.ZIP_STORED, "encrypted")]
)
def test_a_member_that_cannot_be_unpacked_says_why(make_zip, method, message):
    path = make_zip(("a.tsv", TABLE), method=method)
    if message == "encrypted":
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(data)
    with pytest.raises(OSError, match=message):
        open_member(only(path))


class Slow(io.FileIO):
    """A file of a network drive: it gives fewer bytes than asked."""

    def read(self, size=-1, /):
        return super().read(min(size, 3) if size > 0 else size)

    def readinto(self, buffer, /):
        return super().readinto(memoryview(buffer)[:3])


@pytest.fixture
def short_reads(monkeypatch):
    """Every file that is opened for reading bytes gives at most three at once."""
    usual = builtins.open

    def opened(path, mode="r", buffering=-1, *args, **options):
        if mode != "rb":
            return usual(path, mode, buffering, *args, **options)
        raw = Slow(os.fspath(path), "rb")
        return raw if buffering == 0 else io.BufferedReader(raw)

    monkeypatch.setattr(builtins, "open", opened)
    monkeypatch.setattr(io, "open", opened)


@pytest.mark.parametrize("method", METHODS)
def test_a_table_is_read_from_a_drive_that_gives_a_few_bytes_at_once(make_zip, method, short_reads):
    path = make_zip(("a.tsv", TABLE[:1000]), method=method)
    with open_member(only(path)) as file:
        assert file.read() == TABLE[:1000]
