"""Writing that is whole or absent: the only place where Pelagia puts finished files and folders on a disk.

Invariant: a name that a user sees (a dataset, a model, a CSV) never holds half of something. It is written beside its
place under a name that starts with a dot, flushed, and renamed. A process killed midway leaves only the dotted name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pelagia.errors import InputError


def sha256_of(data: bytes) -> str:
    """SHA-256 of ``data``, 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(name: str) -> str:
    r"""``name`` as text that CSV, JSON and SQLite can hold: a byte that is not UTF-8 is spelled out, as ``\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def refuse_existing(path: Path, what: str = "output") -> None:
    """Raises InputError where ``path`` exists, other than as an empty folder. Nothing is overwritten unasked."""
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise InputError(f"the {what} {path} exists already: choose another name, or remove it first")


@contextmanager
def new_folder(path: Path, what: str = "output") -> Iterator[Path]:
    """Yields an empty folder beside ``path`` that becomes ``path`` when the block ends well, and vanishes otherwise.

    Raises:
        InputError: ``path`` exists already (an empty folder does not count).
    """
    path = path.absolute()
    refuse_existing(path, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.name}.partial-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        yield partial
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_file(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Yields an open file that replaces ``path`` in one step when the block ends well; ``options`` go to `open`.

    On an error the file that stood at ``path`` before stays as it was.
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
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8 with Unix line ends, atomically."""
    with new_file(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
