"""Locks between processes, and a test of whether they work on a disk.

`exclusive_lock` keeps other processes out. `locking_fault` says whether the locks of a disk work; `pelagia doctor` and
`Survey.open_for_writing` both call it.

Invariant: the test uses a second process. Within one process SQLite remembers its own locks and refuses a second writer
even on a disk that would let every other process in, as some network drives do. Whether another machine writes to the
same drive cannot be known here.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pelagia.errors import InputError

SCRATCH = ".pelagia-lock-"
"""The names of the folders that a killed test leaves start with this."""

REMEDY = "choose a folder on a disk of this machine"

_LET_IN = 4
_SECOND_WRITER = f"""
import sqlite3, sys
try:
    sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None).execute("BEGIN EXCLUSIVE")
except sqlite3.OperationalError:
    sys.exit()
sys.exit({_LET_IN})
"""


def sqlite_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, such as ``sqlite3.SQLITE_BUSY``; 0 for an error of Python's module itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def exclusive_lock(file: Path, refusal: str, wait: float = 0) -> Iterator[None]:
    """Holds the lock ``file``, which is created if needed. The lock of a process that is killed ends with it.

    On a disk without locks, no process is kept out.

    Raises:
        InputError: with the message ``refusal``, if another process still holds the lock after ``wait`` seconds.
    """
    try:
        opened = sqlite3.connect(file, timeout=wait, isolation_level=None)
    except sqlite3.OperationalError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file)) from None
    with closing(opened) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            code = sqlite_code(error)
            if code == sqlite3.SQLITE_NOTADB:
                raise InputError(f"{file} is not a lock file of Pelagia: choose another folder, or remove it") from None
            if code == sqlite3.SQLITE_BUSY:
                raise InputError(refusal) from None
            if code == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        yield


def locking_fault(folder: Path) -> str:
    """What is wrong with file locks in ``folder``, which must exist; empty if they work. Leaves no file behind.

    Raises:
        OSError: ``folder`` cannot be written, or its disk is full.
    """
    with TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:
        file = Path(scratch, "lock.sqlite")
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as first:
            try:
                first.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:  # no other process knows this file
                if sqlite_code(error) == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
                return f"files cannot be locked there ({error})"
            command = [sys.executable, "-I", "-S", "-c", _SECOND_WRITER, str(file)]
            second = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
            return "locks do not work there: two processes can write at once" if second.returncode == _LET_IN else ""
