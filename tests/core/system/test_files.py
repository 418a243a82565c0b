import hashlib
import os
import signal

import pytest

from pelagia.errors import InputError
from pelagia.system.files import new_file, new_folder, printable, refuse_existing, sha256_of, sha256_of_file, write_text


def test_the_hash_of_bytes_and_of_their_file_is_the_same(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    assert sha256_of_file(tmp_path / "x") == sha256_of(data) == hashlib.sha256(data).hexdigest()


def test_a_new_folder_appears_when_the_block_ends(tmp_path):
    with new_folder(tmp_path / "a" / "out") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "x").read_text() == "1"
    assert os.listdir(tmp_path / "a") == ["out"]


def test_a_folder_whose_block_fails_leaves_nothing(tmp_path):
    with pytest.raises(FileExistsError), new_folder(tmp_path / "out") as folder:
        (folder / "x").mkdir(), (folder / "x").mkdir()
    assert os.listdir(tmp_path) == []


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "x").touch()
    assert os.listdir(tmp_path / "out") == ["x"]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(InputError) as caught, new_folder(tmp_path, "dataset"):
        pytest.fail("entered")
    assert str(caught.value) == f"the dataset {tmp_path} exists already: choose another name, or remove it first"


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(InputError, match="exists already"):
        refuse_existing(tmp_path / "x")


@pytest.mark.parametrize("target", ["nowhere", "empty"])
def test_a_link_is_refused_before_the_work_and_not_after_it(tmp_path, target):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError) as caught:
        refuse_existing(tmp_path / "link")
    assert (
        str(caught.value) == f"the output {tmp_path / 'link'} exists already: choose another name, or remove it first"
    )


def test_a_new_file_replaces_the_old_one_in_one_step(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with new_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["x"]


def test_a_file_whose_block_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), new_file(path) as file:
        file.writelines([b"new", 5])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_text_has_unix_line_ends_and_utf8(tmp_path):
    write_text(tmp_path / "x", "Öre\nsund\n")
    assert (tmp_path / "x").read_bytes() == b"\xc3\x96re\nsund\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Øresund, 1 [/2]\u00a0\u200f\u200dמים.png", "Øresund, 1 [/2]\u00a0\u200f\u200dמים.png"),
        (os.fsdecode(b"a\xff"), "a\\udcff"),
        ("\ud800", "\\ud800"),
        ("a\x1b[31m\x07\x9b.png", "a\\x1b[31m\\x07\\x9b.png"),
        ("new\r\nline\t", "new\\x0d\\x0aline\\x09"),
        ("\u202egnp.exe\u2066\u2028", "\\u202egnp.exe\\u2066\\u2028"),
        ("a\\b\0", "a\\b\\x00"),
    ],
)
def test_what_is_not_utf8_or_controls_a_terminal_is_spelled_out(name, text):
    assert printable(name) == text
    assert printable(text) == text


def test_text_keeps_its_lines_and_tabs():
    assert printable("a\n\tb\r\x1b\n", lines=True) == "a\n\tb\\x0d\\x1b\n"


@pytest.mark.parametrize("what", ["new_folder", "new_file"])
def test_a_process_killed_midway_leaves_no_visible_name(tmp_path, start, what):
    write = "(it / 'x').write_bytes(b'1')" if what == "new_folder" else "it.write(b'1'); it.flush()"
    process = start(
        f"import sys, time; from pathlib import Path; from pelagia.system.files import {what}\n"
        f"with {what}(Path(sys.argv[1])) as it:\n    {write}; print('half', flush=True); time.sleep(60)",
        tmp_path / "out",
    )
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".out.partial-")


def test_a_folder_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path, as_nobody):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        as_nobody(lambda: new_folder(tmp_path.cwd() / "out").__enter__())
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="asks Linux what a descriptor is")
def test_a_new_folder_flushes_its_own_files_and_no_other(tmp_path, monkeypatch):
    flushed = []
    fsync = os.fsync

    def noted(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}").replace(str(out), "OUT"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "sync", lambda: pytest.fail("flushed every disk"))
    (tmp_path / "other").write_text("1")
    with new_folder(tmp_path / "out") as out:
        (out / "a" / "b").mkdir(parents=True)
        for name in ("x", "a/y", "a/b/z"):
            (out / name).write_text("1")
    assert sorted(flushed[:-1]) == sorted(["OUT", "OUT/x", "OUT/a", "OUT/a/y", "OUT/a/b", "OUT/a/b/z"])
    assert flushed.index("OUT/a/b/z") < flushed.index("OUT/a/b") < flushed.index("OUT/a") < flushed.index("OUT")
    assert flushed[-1] == str(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["other", "out"]


def test_a_file_that_cannot_be_flushed_leaves_no_folder(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), new_folder(tmp_path / "out") as out:
        (out / "x").write_text("1")
    assert os.listdir(tmp_path) == []
