"""`pelagia studio restore`: a local Label Studio from a backup, on this machine or on another.

Invariant: nothing of a former server is changed until the backup is unpacked, checked and flushed to the disk, in a
folder beside. Then the former folder gets another name and the new one takes its place. Between the two, for an
instant, there is no folder: a restore that is killed then is completed by `finish_restore` (`studio doctor --fix`), and
`studio start` refuses to make an empty server in its place.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath

from pelagia.errors import InputError, PelagiaError, StudioError
from pelagia.system.console import ProgressCallback
from pelagia.system.files import new_folder
from pelagia.system.paths import StrPath
from pelagia_labeling.studio.archive import ACCOUNT, DATABASE, Contents, Reader, reading
from pelagia_labeling.studio.backup import database_of, require_space
from pelagia_labeling.studio.server import (
    Studio,
    default_home,
    holds_nothing,
    read_studio,
    restored_folder,
    save_studio,
    starting_lock,
)


@dataclass(frozen=True)
class RestoreReport:
    """What was restored.

    Attributes:
        home: the folder of the restored server.
        kept: the folder with the former server; None if there was none.
        made_at: when the backup was made, ISO 8601 in UTC.
        label_studio: the version of Label Studio that the backup was made with.
        images: number of images of the document root that were restored; None if the backup was made without them.
        rewritten: number of local storages whose path was changed to the new document root.
        elsewhere: paths of local storages outside the former document root; they were left as they are.
    """

    home: Path
    kept: Path | None
    made_at: str
    label_studio: str
    images: int | None
    rewritten: int
    elsewhere: tuple[str, ...]


def restore(
    file: StrPath,
    home: StrPath | None = None,
    *,
    replace: bool = False,
    progress: ProgressCallback = lambda done, total: None,
) -> RestoreReport:
    """Makes the server of ``home`` from a backup.

    Args:
        file: the backup.
        home: the folder that holds all files of the server; by default `default_home`.
        replace: whether a server of ``home`` is kept beside, under another name.
        progress: called with (bytes restored, bytes in all).

    Raises:
        InputError: ``file`` is no backup or is damaged, the disk has too little space, or ``home`` holds a server
            and ``replace`` is false.
        StudioError: the server of ``home`` is running.
    """
    file, home = Path(file), Path(home or default_home()).absolute()
    staged = restored_folder(home)
    with reading(file) as backup:
        _require_free(home, replace)
        rewritten, elsewhere = _stage(backup, staged, home, progress)
        contents = backup.contents
    try:
        _require_free(home, replace)  # a server may have been started meanwhile
    except PelagiaError:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    return RestoreReport(
        home=home,
        kept=_exchange(staged, home),
        made_at=contents.made_at,
        label_studio=contents.label_studio,
        images=sum(name.startswith("files/") for name in contents.members) if contents.images else None,
        rewritten=rewritten,
        elsewhere=elsewhere,
    )


def _stage(backup: Reader, staged: Path, home: Path, progress: ProgressCallback) -> tuple[int, tuple[str, ...]]:
    """Makes the folder ``staged``, complete and checked, for the place ``home``. Returns what `_rewrite_paths` does."""
    home.parent.mkdir(parents=True, exist_ok=True)
    require_space(home.parent, backup.contents.size, "the restored server", "free some space")
    shutil.rmtree(staged, ignore_errors=True)  # of a restore that was killed before it changed anything
    with new_folder(staged) as folder:
        folder.chmod(0o700)
        _unpack(backup, folder, progress)
        changes = _rewrite_paths(database_of(folder), backup.contents, home / "files")
        _write_account(backup, folder, home)
    return changes


def finish_restore(home: Path) -> bool:
    """Completes a restore that was killed while it exchanged the folders. Returns False if there is none."""
    staged = restored_folder(home)
    if not staged.is_dir() or not holds_nothing(home):
        return False
    _exchange(staged, home)
    return True


def _require_free(home: Path, replace: bool) -> None:
    """Raises an error if ``home`` holds a server that may not be replaced now."""
    if holds_nothing(home):
        return
    studio = read_studio(home)
    if studio is not None and studio.running:
        raise StudioError(f"the Label Studio of {home} is running: stop it with `pelagia studio stop`, then restore")
    if not replace:
        raise InputError(
            f"{home} holds a Label Studio already: with --replace it is kept beside under another name, and the backup "
            "takes its place"
        )
    with starting_lock(home, 1.0):  # no other process is just starting it
        pass


def _unpack(backup: Reader, folder: Path, progress: ProgressCallback) -> None:
    """Writes the members into ``folder`` as files of a home folder; checks each of them."""
    done, total = 0, backup.contents.size
    for name in ("data", "files"):
        (folder / name).mkdir(mode=0o700 if name == "data" else 0o755)
    for name, member in backup.contents.members.items():
        if name == ACCOUNT:
            continue
        target = database_of(folder) if name == DATABASE else folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            backup.copy(name, file)
        done += member.size
        progress(done, total)


def _write_account(backup: Reader, folder: Path, home: Path) -> None:
    account = backup.account()
    save_studio(
        Studio(
            home=folder,
            url=account["url"],
            user=account["user"],
            password=account["password"],
            token=account["token"],
            document_root=home / "files",
            version=backup.contents.label_studio,
        )
    )


def _rewrite_paths(database: Path, contents: Contents, root: Path) -> tuple[int, tuple[str, ...]]:
    """Changes the paths of local storages from the former document root to ``root``.

    Returns:
        The number of changed paths, and the paths outside the former document root.

    Raises:
        StudioError: the database is damaged.
    """
    flavor = PureWindowsPath if contents.windows else PurePosixPath
    changed, elsewhere = 0, []
    try:
        with closing(sqlite3.connect(database)) as opened, opened:
            query = "SELECT id, path FROM io_storages_localfilesmixin WHERE path IS NOT NULL"
            for number, path in opened.execute(query).fetchall():
                try:
                    inside = flavor(path).relative_to(flavor(contents.document_root))
                except ValueError:
                    elsewhere.append(str(path))
                    continue
                new = str(root.joinpath(*inside.parts))
                opened.execute("UPDATE io_storages_localfilesmixin SET path = ? WHERE id = ?", (new, number))
                changed += new != path
    except sqlite3.DatabaseError as error:
        raise StudioError(f"the database of the backup cannot be read ({error}): use another backup") from None
    return changed, tuple(elsewhere)


def _exchange(staged: Path, home: Path) -> Path | None:
    """Puts ``staged`` in the place of ``home``, and returns the new name of a former server."""
    kept = None
    if holds_nothing(home):
        if home.exists():
            home.rmdir()
    else:
        name = f"{home.name}.before-{datetime.now():%Y-%m-%d-%H%M%S}"
        ends = ("", *(f"-{number}" for number in range(2, 100)))
        kept = next(path for end in ends if not (path := home.with_name(name + end)).exists())
        home.rename(kept)
    staged.rename(home)
    return kept
