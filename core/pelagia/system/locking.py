"""Locks: `hold` keeps other processes out, `locking_fault` says whether a disk would let them in all the same.

The second is the one definition that `Survey.open_for_writing` and `pelagia doctor` share.

Invariant: a second process is asked. Within one process SQLite keeps its own books and refuses a second writer even
where the disk would let every other process in, as some network drives do. Of other machines that write to the same
drive nothing can be known here.
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
"""What the names of the folders start with that a killed test leaves behind."""

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


@contextmanager
def hold(file: Path, refusal: str, wait: float = 0) -> Iterator[None]:
    """Holds the lock ``file``, which is made where it is absent; a process that is killed lets go of it.

    Where the disk has no locks, nobody is kept out.

    Raises:
        InputError: ``refusal``, where another process holds it and did not let go within ``wait`` seconds.
    """
    try:
        opened = sqlite3.connect(file, timeout=wait, isolation_level=None)
    except sqlite3.OperationalError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file)) from None
    with closing(opened) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
                raise InputError(f"{file} is no lock of Pelagia's: choose another folder, or remove it") from None
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise InputError(refusal) from None
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        yield


def locking_fault(folder: Path) -> str:
    """What is wrong with file locking in ``folder``, which must exist; empty where it works. Leaves nothing behind.

    Raises:
        OSError: ``folder`` cannot be written, or its disk is full.
    """
    with TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:
        file = Path(scratch, "lock.sqlite")
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as first:
            try:
                first.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:  # nobody else knows this file
                if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
                return f"files cannot be locked there ({error})"
            command = [sys.executable, "-I", "-S", "-c", _SECOND_WRITER, str(file)]
            second = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
            return "locks are not kept there: two writers at once are let in" if second.returncode == _LET_IN else ""
