"""Writes files and folders so that they are complete or absent: the only module that writes results to a disk.

Invariant: a name that a user sees (a dataset, a model, a CSV file) never holds an incomplete result. The result is
written in the same folder under a name that starts with a dot, flushed to the disk, and renamed. A process that is
killed leaves only the name with the dot.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from pelagia.errors import InputError
from pelagia.system.cores import thread_pool


def sha256_of(data: bytes) -> str:
    """SHA-256 of ``data``, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_fully(file: BinaryIO, size: int) -> bytes:
    """``size`` bytes from where ``file`` is, or fewer if it ends before.

    A network drive (SMB, FUSE) may give fewer bytes than asked in the middle of a file; so this reads until there are
    ``size`` bytes or none. Raises OSError.
    """
    data = file.read(size)
    if len(data) == size or not data:
        return data
    pieces, left = [data], size - len(data)
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def printable(name: str, *, lines: bool = False) -> str:
    r"""``name`` as text that a terminal, a log, CSV, JSON and SQLite can hold; most names stay as they are.

    A byte that is not UTF-8 becomes an escape such as ``\udcff``. So do the characters that control a terminal or the
    order of what it shows (``\x1b``, ``\u202e``), and those that end a line, because one name is one line.

    Args:
        lines: ``name`` is not a name but text: line ends and tabs stay.
    """
    if name.isprintable():
        return name
    return (_CONTROL_IN_TEXT if lines else _CONTROL).sub(_escape, name)


_ORDER = "\u2028-\u202e\u2066-\u2069\ud800-\udfff"  # line ends, writing directions, and bytes that are not UTF-8
_CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{_ORDER}]")
_CONTROL_IN_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_ORDER}]")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def refuse_existing(path: Path, what: str = "output") -> None:
    """Raises InputError if ``path`` exists, unless it is an empty folder. Pelagia overwrites nothing."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise InputError(f"the {what} {path} exists already: choose another name, or remove it first")


def refuse_existing_file(path: Path, what: str, example: str) -> None:
    """Raises InputError if the file ``path`` cannot be made because it exists, or is a folder, even an empty one."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file to make, such as {path / example}")
    refuse_existing(path, what)


def require_new_file(out: Path, what: str, *endings: str) -> None:
    """Raises InputError unless ``--out`` ends in one of ``endings``, such as ``.csv``, and nothing is there."""
    if out.suffix.lower() not in endings:
        raise InputError(f"--out {out}: name a file that ends in {' or '.join(endings)}")
    refuse_existing_file(out, what, f"new{endings[0]}")


def is_full(error: OSError) -> bool:
    """Whether the disk is full, or the user's quota on it is used up."""
    return error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@contextmanager
def new_folder(path: Path, what: str = "output") -> Iterator[Path]:
    """Yields an empty folder that becomes ``path`` when the block ends without an error, and is removed otherwise.

    Each file and folder in it is flushed before it gets its name, so that after a power cut ``path`` is complete or
    absent. Other files on the disk are not flushed: on a server that could take minutes.

    Raises:
        InputError: ``path`` exists already (an empty folder does not count).
    """
    path = path.absolute()
    refuse_existing(path, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = path.parent / f"{_partial_of(path)}{os.getpid()}-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        yield partial
        _flush_tree(partial)
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_file(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Yields an open file that replaces ``path`` in one step when the block ends without an error.

    After an error, a file that was at ``path`` before is unchanged. ``options`` go to `open`.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        with partial.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def whole_name(path: str) -> str:
    """The path that a file or folder will have when it is complete, if ``path`` is that of an incomplete one."""
    return _PARTIAL.sub(r"\1", path)


_PARTIAL = re.compile(r"(?<![^/\\])\.([^/\\]+)\.partial-[^/\\]+")


def _partial_of(path: Path) -> str:
    return f".{path.name}.partial-{slug(platform.node())}-"


def _remove_leftovers(path: Path) -> None:
    """Removes the incomplete folders that killed processes on this machine left for ``path``."""
    import psutil  # a worker process starts sooner without it

    start = _partial_of(path)
    for left in path.parent.iterdir():
        number = left.name.removeprefix(start).partition("-")[0]
        if left.name.startswith(start) and number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def slug(name: str) -> str:
    """``name`` as a file name for every system: letters, digits, ``.``, ``_``, ``-``; 80 characters at most."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:80] or "_"


def _flush_tree(folder: Path) -> None:
    """Flushes every file below ``folder`` to the disk, several at a time, then the folders that hold them."""
    with thread_pool() as pool:
        for parent, _, names in os.walk(folder, topdown=False):
            for _ in pool.map(_flush_file, [os.path.join(parent, name) for name in names]):
                pass
            _flush_folder(Path(parent))


def _flush_file(path: str) -> None:
    flags = os.O_RDWR if os.name == "nt" else os.O_RDONLY  # Windows flushes only what is open for writing
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Flushes the names in ``folder``, such as a rename, if the system can open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network drives cannot flush a folder
        pass
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8 with Unix line ends. The file is complete or absent."""
    with new_file(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
