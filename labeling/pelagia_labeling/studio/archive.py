"""A backup of a local Label Studio: one zip file, which can be read on any machine.

Invariant: `backup.json` in the file lists every other member with its size and its SHA-256. So a damaged, shortened or
exchanged member is found before anything is restored. The file holds the account with its password and its token:
other accounts cannot read it from its first byte on (mode 0600).

    backup.json          what the backup is: `Contents`
    account.json         the account: user, password, token, address
    label_studio.sqlite3 the database: projects, tasks, labels, accounts
    data/...             the other files of the server's data: uploaded images, exports
    files/...            the images of the document root, if they were asked for

`Writer` writes the file, `read_contents` and `Reader` read it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from pelagia.errors import InputError, newer_schema

SCHEMA = 1
CONTENTS, ACCOUNT, DATABASE = "backup.json", "account.json", "label_studio.sqlite3"
_PIECE = 1 << 20


class Member(BaseModel):
    """One file in a backup: its size in bytes and the SHA-256 of its bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int
    sha256: str


class Contents(BaseModel):
    """What a backup is.

    Attributes:
        schema_version: `SCHEMA` of the Pelagia that made it.
        made_at: when it was made, ISO 8601 in UTC.
        pelagia, label_studio: the versions that made it.
        document_root: the folder of images on the machine that made it.
        windows: whether that machine had Windows, whose paths are written otherwise.
        images: whether the images of the document root are in the backup.
        members: name in the zip file -> the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: int
    made_at: str
    pelagia: str
    label_studio: str
    document_root: str
    windows: bool
    images: bool
    members: dict[str, Member]

    @property
    def size(self) -> int:
        """The bytes that the members need on a disk."""
        return sum(member.size for member in self.members.values())


class Writer:
    """Writes the members of a backup into a zip file, one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.members: dict[str, Member] = {}

    def add(self, name: str, source: BinaryIO, size: int, *, compress: bool = False) -> Member:
        """Adds the bytes of ``source`` as ``name``. Images are not compressed a second time."""
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o600 << 16
        info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        digest, written = hashlib.sha256(), 0
        with self._archive.open(info, "w", force_zip64=size > (1 << 30)) as target:
            while piece := source.read(_PIECE):
                digest.update(piece)
                written += len(piece)
                target.write(piece)
        self.members[name] = Member(size=written, sha256=digest.hexdigest())
        return self.members[name]

    def finish(self, contents: Contents) -> None:
        """Writes `backup.json`, which must be the last member."""
        self._archive.writestr(CONTENTS, contents.model_dump_json(), zipfile.ZIP_DEFLATED)


@contextmanager
def writing(file: IO[bytes]) -> Iterator[Writer]:
    """Yields the `Writer` of a new backup. No other account can read ``file`` from now on."""
    if os.name == "posix":
        os.fchmod(file.fileno(), 0o600)
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        yield Writer(archive)


class Reader:
    """Reads the members of a backup."""

    def __init__(self, file: Path, archive: zipfile.ZipFile, contents: Contents) -> None:
        self.contents = contents
        self._file, self._archive = file, archive

    def copy(self, name: str, target: BinaryIO | None = None) -> None:
        """Copies a member to ``target``, or only reads it.

        Raises:
            InputError: the bytes of the member are not those that were backed up.
        """
        digest = hashlib.sha256()
        try:
            with self._archive.open(name) as source:
                while piece := source.read(_PIECE):
                    digest.update(piece)
                    if target is not None:
                        target.write(piece)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError):
            raise _damaged(self._file, name) from None
        if digest.hexdigest() != self.contents.members[name].sha256:
            raise _damaged(self._file, name)

    def account(self) -> dict[str, str]:
        """The account of the server: url, user, password, token. Raises InputError if it is damaged."""
        text = io.BytesIO()
        self.copy(ACCOUNT, text)
        try:
            found = json.loads(text.getvalue())
            return {name: str(found[name]) for name in ("url", "user", "password", "token")}
        except (ValueError, KeyError, TypeError):
            raise _damaged(self._file, ACCOUNT) from None


@contextmanager
def reading(file: Path) -> Iterator[Reader]:
    """Yields the `Reader` of a backup.

    Raises:
        InputError: ``file`` is no backup, is damaged, or was made by a newer Pelagia.
    """
    if not file.is_file():
        raise InputError(f"there is no file {file}: name a file that `pelagia studio backup` made")
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise InputError(
            f"{file} is not a backup, or was cut short while it was copied: name a file that `pelagia studio backup` "
            "made, or copy it again"
        ) from None
    with archive:
        yield Reader(file, archive, _contents(file, archive))


def _contents(file: Path, archive: zipfile.ZipFile) -> Contents:
    try:
        found = json.loads(archive.read(CONTENTS))
        if isinstance(found, dict) and (newer := newer_schema(found.get("schema_version"), [SCHEMA])):
            raise InputError(f"{file} {newer}")
        contents = Contents.model_validate(found)
    except KeyError:
        raise InputError(f"{file} is a zip file, but no backup: name one that `pelagia studio backup` made") from None
    except (ValueError, ValidationError, zipfile.BadZipFile, zlib.error):
        raise _damaged(file, CONTENTS) from None
    if not {ACCOUNT, DATABASE} <= set(contents.members) or not all(map(_is_inside, contents.members)):
        raise _damaged(file, CONTENTS)
    return contents


def _is_inside(name: str) -> bool:
    """Whether a member's name stays inside the folder that is restored, on every system."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name)


def _damaged(file: Path, name: str) -> InputError:
    return InputError(f"{file} is damaged: {name} is not what was backed up; nothing was restored: use another backup")
