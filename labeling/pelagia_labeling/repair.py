"""`pelagia studio doctor --fix`: repairs what can be repaired without losing anything.

Invariant: no repair removes or changes a label, an image or an account. What needs a decision of a person is only
named, with what to type. Each repair is reported, also the repairs that failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pelagia.errors import PelagiaError
from pelagia_labeling.doctor import first_task
from pelagia_labeling.studio.connection import Connection, connect, find_address, token_file
from pelagia_labeling.studio.restore import finish_restore
from pelagia_labeling.studio.server import (
    LOCK_FILE,
    STATE_FILE,
    Studio,
    default_home,
    read_studio,
    restored_folder,
    save_studio,
)
from pelagia_labeling.tasks.project import Project, list_projects
from pelagia_labeling.tasks.storage import folder_name_of, local_storages, move_storage, register_folder


@dataclass(frozen=True)
class Repair:
    """One repair: whether it was done, and what was done or why it was not."""

    done: bool
    text: str


def repair(url: str | None = None, token: str | None = None, *, home: Path | None = None) -> Iterator[Repair]:
    """Repairs the files of the local server, then the projects of the server that answers. Yields each repair.

    Args:
        url, token, home: as for `connect`.
    """
    home = (home or default_home()).absolute()
    yield from repair_files(home)
    try:
        address = find_address(url, token, home)
        connection = connect(url, token, home=home)
        projects = list_projects(connection)
    except PelagiaError as error:
        yield Repair(False, f"the projects were not looked at: {error}")
        return
    if address.studio is None or connection.document_root is None:
        yield Repair(
            False, f"the server at {connection.url} was not started here, so only its administrator repairs it"
        )
        return
    for project in projects:
        yield from _repair_project(connection, project, connection.document_root)


def repair_files(home: Path) -> Iterator[Repair]:
    """Repairs the files of the server of ``home``, which need no server."""
    if finish_restore(home):
        yield Repair(True, f"completed the restoring of {home}, which was interrupted")
    elif restored_folder(home).is_dir():
        yield Repair(
            False, f"{restored_folder(home)} is left of an interrupted restore and is not used: you may remove it"
        )
    yield from _repair_secrets([home / STATE_FILE, token_file()])
    yield from _remove_leftovers(home)
    try:
        studio = read_studio(home)
    except PelagiaError as error:
        yield Repair(False, str(error))
        return
    if studio is not None:
        yield from _repair_state(studio)


def _repair_secrets(files: list[Path]) -> Iterator[Repair]:
    for file in files:
        if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
            try:
                file.chmod(0o600)
            except OSError as error:
                yield Repair(False, f"{file} can be read by other accounts: {error.strerror}")
            else:
                yield Repair(True, f"{file} holds a secret and could be read by other accounts: now only by yours")


def _remove_leftovers(home: Path) -> Iterator[Repair]:
    """Removes what killed commands left: incomplete state files, and a lock file that is none."""
    for left in home.glob(f".{STATE_FILE}.*") if home.is_dir() else ():
        left.unlink(missing_ok=True)
        yield Repair(True, f"removed {left}, which an interrupted command left")
    lock = home / LOCK_FILE
    if lock.is_file() and lock.stat().st_size and not lock.read_bytes().startswith(b"SQLite format 3"):
        lock.unlink()
        yield Repair(True, f"removed {lock}, which was damaged; it holds nothing")


def _repair_state(studio: Studio) -> Iterator[Repair]:
    """Corrects a state file that names an ended process, or the folder where the server was before it was moved."""
    if studio.pid and not studio.running:
        save_studio(replace(studio, pid=0, birth=""))
        yield Repair(True, f"{studio.home / STATE_FILE} named the process {studio.pid}, which has ended: corrected")
        studio = replace(studio, pid=0, birth="")
    if studio.document_root.is_dir():
        return
    images = studio.home / "files"
    if not images.is_dir():
        yield Repair(
            False, f"the folder of images {studio.document_root} is missing: restore it from a copy, or push again"
        )
        return
    save_studio(replace(studio, document_root=images))
    again = "; stop the server and start it again, then type this command again" if studio.running else ""
    yield Repair(True, f"the folder of images was {studio.document_root}, which does not exist: now {images}{again}")


def _repair_project(connection: Connection, project: Project, root: Path) -> Iterator[Repair]:
    """Makes the server serve the project's folder of images from the document root ``root``."""
    try:
        name = folder_name_of(first_task(connection, project).data)
        if not name:  # its images were uploaded
            return
        storages = local_storages(connection, project)
    except PelagiaError:
        return  # without a task, or with images that push did not put there
    folder = root / name
    same = {number: path for number, path in storages.items() if path.name == name}
    if folder in same.values():
        return
    if not folder.is_dir():
        text = (
            f"the images of '{project.title}' should be in {folder}, which does not exist: restore them, or push again"
        )
        yield Repair(False, text)
        return
    try:
        if same:
            number, before = next(iter(same.items()))
            move_storage(connection, number, folder)
            yield Repair(True, f"the storage of '{project.title}' was {before}: now {folder}")
        else:
            register_folder(connection, project, folder)
            yield Repair(True, f"registered {folder}, so that the server serves the images of '{project.title}'")
    except PelagiaError as error:
        yield Repair(False, f"the storage of '{project.title}': {error}")
