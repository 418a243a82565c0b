"""Reading bytes of a file: a drive may give fewer bytes at a time than were asked for, or end a file early."""

import builtins
import io
import os

import pytest

from pelagia.sources.image import read_at, read_file


class Hesitant(io.FileIO):
    """A file of a network drive: a read returns at most 7 bytes."""

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        return super().read() if size < 0 else super().read(min(size, 7))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(range(100)))
    return path


@pytest.fixture
def hesitant(monkeypatch):
    monkeypatch.setattr(builtins, "open", lambda path, mode, buffering: Hesitant(path, mode))


def test_a_short_read_is_continued(file, hesitant):
    assert read_at(file, 10, 50) == bytes(range(10, 60))
    assert read_at(file, 10, 7) == bytes(range(10, 17))
    assert read_file(file) == bytes(range(100))


def test_only_the_end_of_a_file_ends_a_read(file, hesitant):
    assert read_at(file, 90, 50) == bytes(range(90, 100))
    assert read_at(file, 100, 5) == b""
    assert read_at(file, 3, 0) == b""


def test_a_file_that_ends_before_its_size_is_unreadable_and_not_damaged(file, monkeypatch):
    size = os.stat(file)
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((*size[:6], 500, *size[7:])))
    with pytest.raises(OSError, match="only 100 of 500 bytes could be read"):
        read_file(file)


def test_a_file_that_has_grown_is_read_whole(file, monkeypatch):
    size = os.stat(file)
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((*size[:6], 40, *size[7:])))
    assert read_file(file) == bytes(range(100))
