"""`pelagia studio backup`: everything of a local Label Studio in one file, made while the server runs.

Invariant: the database is copied first, in one step, by SQLite's own backup; its images were on the disk before. So a
backup holds a state that the server had, with every image of that state. The file is read again and compared before it
gets its name; a killed backup leaves no file with that name.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pelagia.errors import InputError, StudioError
from pelagia.system.console import ProgressCallback
from pelagia.system.files import new_file, refuse_existing, sha256_of_file, write_text
from pelagia.system.locking import exclusive_lock
from pelagia.system.paths import StrPath
from pelagia.system.version import __version__
from pelagia_labeling.studio.archive import ACCOUNT, DATABASE, SCHEMA, Contents, reading, writing
from pelagia_labeling.studio.connection import URL_VARIABLE, same_server
from pelagia_labeling.studio.server import Studio, default_home, read_studio

RECORD = "last-backup.json"
"""The file of a home folder that says when and where its last backup was made."""

_SCRATCH = "backup.partial"
_LOCK = "backup.lock"
_IMAGE_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BackupReport:
    """What a backup holds.

    Attributes:
        file: the file that was made.
        size: its size in bytes.
        sha256: its SHA-256.
        database: size of the database in bytes.
        images: number of files of the document root in it.
        left_out: number of files of the document root that are not in it, because the caller wanted none.
        damaged: files of the document root whose bytes are not those that were pushed. They are in the backup.
        vanished: files that were removed while the backup was made.
    """

    file: Path
    size: int
    sha256: str
    database: int
    images: int
    left_out: int
    damaged: tuple[str, ...]
    vanished: tuple[str, ...]


def default_name() -> Path:
    """A name for a backup in the working folder: ``label-studio-2026-11-28-1042.zip``."""
    return Path(f"label-studio-{datetime.now():%Y-%m-%d-%H%M}.zip")


def back_up(
    out: StrPath,
    home: StrPath | None = None,
    *,
    images: bool = True,
    progress: ProgressCallback = lambda done, total: None,
) -> BackupReport:
    """Writes the backup ``out`` of the server of ``home``, which may be running.

    Args:
        out: the file to make; it must not exist.
        home: the folder that holds all files of the server; by default `default_home`.
        images: whether the images of the document root belong to the backup. Uploaded images always do.
        progress: called with (bytes written, bytes in all), and again while the file is checked.

    Raises:
        InputError: ``out`` exists, its disk has too little space, or another process is making a backup.
        StudioError: ``home`` holds no server, the environment names a server that was not started here, or the
            database is damaged.
    """
    home, out = Path(home or default_home()).absolute(), Path(out).absolute()
    studio = _require_studio(home)
    refuse_existing(out, "backup")
    if home in out.parents:
        raise InputError(
            f"{out} is in the folder that is backed up: name a file in another folder, best on another disk"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    refusal = "another process is making a backup of this Label Studio: wait until it has finished"
    with exclusive_lock(home / _LOCK, refusal):
        report = _write(studio, out, images, progress)
        _record(home, report)
    return report


def last_backup(home: Path) -> tuple[str, Path] | None:
    """When (ISO 8601) and where the last backup of ``home`` was made; None if there was none."""
    try:
        found = json.loads((home / RECORD).read_text(encoding="utf-8"))
        return str(found["made_at"]), Path(found["file"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _require_studio(home: Path) -> Studio:
    """The server of ``home``, which must be the server that the other commands talk to."""
    studio = read_studio(home)
    url = os.environ.get(URL_VARIABLE, "").rstrip("/")
    if url and (studio is None or not same_server(url, studio.url)):
        raise StudioError(
            f"{URL_VARIABLE} names {url}, which was not started here, so its labels are not on this machine: back it "
            "up where it runs. With PostgreSQL, its administrator types\n"
            "  docker compose exec -T database pg_dump -U labelstudio -Fc labelstudio > labels.dump\n"
            f"and copies the folders of images. To back up the server of {home}, unset {URL_VARIABLE}"
        )
    if studio is None:
        raise StudioError(f"there is no Label Studio in {home}: start one with `pelagia studio start`")
    if not database_of(home).is_file():
        raise StudioError(
            f"{database_of(home)} is missing, so there are no labels to back up: see `pelagia studio doctor`"
        )
    return studio


def database_of(home: Path) -> Path:
    """The database of the server of ``home``."""
    return home / "data" / DATABASE


def _write(studio: Studio, out: Path, images: bool, progress: ProgressCallback) -> BackupReport:
    scratch = studio.home / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # of a backup that was killed; this process holds the lock
    scratch.mkdir(mode=0o700)
    try:
        copy_database(database_of(studio.home), scratch / DATABASE)
        served = list(_files(studio.document_root, "files"))
        files = [(scratch / DATABASE, DATABASE), *_data_files(studio.home), *(served if images else ())]
        total = sum(path.stat().st_size for path, _ in files if path.exists())
        remedy = "name a file on another disk with --out, or leave the images out with --no-images"
        require_space(out.parent, total, "the backup", remedy)
        vanished: list[str] = []
        with new_file(out) as file:
            contents = _write_members(studio, file, files, images, vanished, lambda done: progress(done, 2 * total))
            file.flush()
            _check(Path(file.name), lambda done: progress(total + done, 2 * total))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return BackupReport(
        file=out,
        size=out.stat().st_size,
        sha256=sha256_of_file(out),
        database=contents.members[DATABASE].size,
        images=sum(name.startswith("files/") for name in contents.members),
        left_out=0 if images else len(served),
        damaged=tuple(name for name, member in contents.members.items() if _is_damaged(name, member.sha256)),
        vanished=tuple(vanished),
    )


def copy_database(database: Path, target: Path) -> None:
    """Copies an SQLite database in one step, while its server reads and writes it.

    Raises:
        StudioError: the database is damaged.
    """
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)  # all pages at once: with the write-ahead log, nobody waits for it
            copy.execute("PRAGMA journal_mode = DELETE")
            fault = str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        fault = str(error)
    if fault != "ok":
        raise StudioError(f"the database {database} is damaged ({fault}): restore the last backup that was made before")


def _data_files(home: Path) -> Iterator[tuple[Path, str]]:
    """The files of the server's data, without its database, of which a copy is in the backup."""
    for path, name in _files(home / "data", "data"):
        if not (path.parent == home / "data" and path.name.startswith(DATABASE)):
            yield path, name


def _files(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Each file below ``folder`` with its name in a backup. Images that are being written have a dot before."""
    for parent, _, files in os.walk(folder):
        for file in files:
            if name == "data" or not file.startswith("."):  # the data has ``.env``, the key that signs tokens
                path = Path(parent, file)
                yield path, f"{name}/{path.relative_to(folder).as_posix()}"


def require_space(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Raises InputError if the disk of ``folder`` has fewer than ``needed`` bytes left for ``what``."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{what} needs {size_text(needed)}, and the disk of {folder} has {size_text(free)} left: {remedy}"
        )


def _write_members(
    studio: Studio,
    file: IO[bytes],
    files: Sequence[tuple[Path, str]],
    images: bool,
    vanished: list[str],
    progress: Callable[[int], None],
) -> Contents:
    """Writes all members; appends to ``vanished`` what was removed meanwhile."""
    account = {"url": studio.url, "user": studio.user, "password": studio.password, "token": studio.token}
    done = 0
    with writing(file) as writer:
        text = json.dumps(account).encode()
        writer.add(ACCOUNT, io.BytesIO(text), len(text))
        for path, name in files:
            try:
                with path.open("rb") as source:
                    size = os.fstat(source.fileno()).st_size
                    done += writer.add(name, source, size, compress=name == DATABASE).size
            except FileNotFoundError:
                vanished.append(name)
            progress(done)
        contents = Contents(
            schema_version=SCHEMA,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            pelagia=__version__,
            label_studio=studio.version,
            document_root=str(studio.document_root),
            windows=os.name == "nt",
            images=images,
            members=writer.members,
        )
        writer.finish(contents)
    return contents


def _check(file: Path, progress: Callable[[int], None]) -> None:
    """Reads a backup again. Raises InputError if it does not hold what was written."""
    done = 0
    with reading(file) as backup:
        for name, member in backup.contents.members.items():
            backup.copy(name)
            done += member.size
            progress(done)


def _is_damaged(name: str, sha256: str) -> bool:
    """Whether an image is not the one that was pushed: its name is the SHA-256 of the image."""
    stem = name.rpartition("/")[2].partition(".")[0]
    shown = ".shown." in name
    return bool(name.startswith("files/") and not shown and _IMAGE_NAME.fullmatch(stem)) and stem != sha256


def _record(home: Path, report: BackupReport) -> None:
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    write_text(home / RECORD, json.dumps({"made_at": made_at, "file": str(report.file), "sha256": report.sha256}))


def size_text(size: int) -> str:
    """A size for people: ``3.2 GB``."""
    amount = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit in ("bytes", "kB") else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
