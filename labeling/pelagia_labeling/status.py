"""`pelagia studio status`: whether a Label Studio runs, what it holds, and when it was backed up."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pelagia.errors import PelagiaError
from pelagia_labeling.studio.backup import database_of, last_backup
from pelagia_labeling.studio.connection import connect, find_address
from pelagia_labeling.studio.server import Studio, default_home, read_studio
from pelagia_labeling.tasks.project import Project, list_projects


@dataclass(frozen=True)
class Sizes:
    """What a local server needs on its disk: bytes, and number of images.

    Attributes:
        database: the database with its journal.
        images, image_bytes: the files of the document root.
        uploads, upload_bytes: the files that were uploaded to the server.
        free: what the disk has left.
    """

    database: int
    images: int
    image_bytes: int
    uploads: int
    upload_bytes: int
    free: int


@dataclass(frozen=True)
class Status:
    """The state of a server.

    Attributes:
        url: its address; empty if no server is known.
        studio: the local server; None if the server was not started here.
        version: its version; empty if it does not answer.
        fault: why its projects are not listed; empty if they are.
        projects: its projects.
        sizes: what it needs on this disk; None if the server was not started here.
        backup: when (ISO 8601) and where its last backup was made; None if there is none.
    """

    url: str
    studio: Studio | None
    version: str
    fault: str
    projects: tuple[Project, ...]
    sizes: Sizes | None
    backup: tuple[str, Path] | None


def read_status(url: str | None = None, token: str | None = None, *, home: Path | None = None) -> Status:
    """The state of the server that the other commands would use. Raises nothing if it is down: that is its state.

    Args:
        url, token, home: as for `connect`.
    """
    home = (home or default_home()).absolute()
    address, studio, version, fault = "", None, "", ""
    projects: tuple[Project, ...] = ()
    try:
        studio = read_studio(home)
        found = find_address(url, token, home)
        address, studio = found.url, found.studio
        connection = connect(url, token, home=home)
        version, projects = connection.version, tuple(list_projects(connection))
    except PelagiaError as error:
        fault = str(error)
        address = address or (studio.url if studio else "")
    sizes = _sizes(studio) if studio is not None else None
    return Status(address, studio, version, fault, projects, sizes, last_backup(home) if studio else None)


def _sizes(studio: Studio) -> Sizes:
    database = database_of(studio.home)
    journals = [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))]
    images, image_bytes = _count(studio.document_root)
    uploads, upload_bytes = _count(studio.home / "data" / "media" / "upload")
    return Sizes(
        database=sum(file.stat().st_size for file in journals if file.is_file()),
        images=images,
        image_bytes=image_bytes,
        uploads=uploads,
        upload_bytes=upload_bytes,
        free=shutil.disk_usage(studio.home).free,
    )


def _count(folder: Path) -> tuple[int, int]:
    """The number of files below ``folder``, and their bytes; (0, 0) if there is no such folder."""
    count = size = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        count += 1
                        size += entry.stat(follow_symlinks=False).st_size
        except OSError:  # removed meanwhile, or another account's
            continue
    return count, size
