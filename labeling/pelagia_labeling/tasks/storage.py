"""Images in the folder that the server serves files from, and the addresses under which a browser gets them.

Invariant: the name of a file is the SHA-256 of its bytes. So its address needs no quoting, a later change of the
original cannot change what was labelled, and a second copy does no harm. An image that browsers do not show (TIFF,
BMP, 16 bits a channel) gets a PNG beside it for the labelling page; a dataset gets the original bytes.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2

from pelagia.config import dump_yaml, load_config, validate
from pelagia.errors import PelagiaError, StudioError
from pelagia.images.preprocess import ImageError, decode
from pelagia.sources import IMAGE_SUFFIXES, SourceImage
from pelagia.system.files import sha256_of, slug, write_text
from pelagia.system.yaml_text import parse_yaml
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.project import Project

TAXONOMY_FILE = "taxonomy.yaml"
LOCAL_FILES = "/data/local-files/"
"""Path of the server under which it serves files of the document root."""

RESERVED = ("image", "sha256", "file", "path", "source")
"""Keys of a task's data that push sets; a manifest's column with such a name becomes ``survey_...``."""

_BROWSER_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class StoredImage:
    """An image in the server's folder, or the reason why it is not there.

    Attributes:
        path: its path in the source that was pushed.
        sha256: of its bytes, 64 hex digits.
        data: the data of its task.
        fault: reason and detail; empty where the image is stored.
    """

    path: str
    sha256: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


def folder_of(root: Path, project: Project) -> Path:
    """The project's folder in the document root. Its name ends with the project's number, as titles can be alike."""
    return root / f"{slug(project.title)[:40]}-{project.id}"


def open_storage(connection: Connection, project: Project) -> Path:
    """The project's folder, registered with the server as a local storage; otherwise the server serves no file of it.

    A folder that is registered already is found by the project's number, so a renamed project keeps it. Label Studio
    never synchronizes the storage: tasks are made through the API.

    Raises:
        StudioError: there is no shared document root, or the server refuses the folder.
    """
    root = connection.require_root()
    for path in storage_paths(connection, project):
        if path.parent == root and path.name.endswith(f"-{project.id}"):
            path.mkdir(exist_ok=True)
            return path
    folder = folder_of(root, project)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudioError(f"cannot make {folder}: {error.strerror}") from None
    with connection.doing(f"registering the folder {folder} as the project's local storage"):
        connection.client.import_storage.local.create(
            project=project.id,
            title="Pelagia's images",
            path=str(folder),
            use_blob_urls=True,
            request_options=WRITE_OPTIONS,
        )
    return folder


def storage_paths(connection: Connection, project: Project) -> list[Path]:
    """The folders that the server serves for a project, as paths on the server."""
    with connection.doing("listing the project's local storages"):
        storages = connection.client.import_storage.local.list(project=project.id)
    return [Path(storage.path) for storage in storages if storage.path]


def served_url(relative: str) -> str:
    """The address of a file of the document root, without the server's own address."""
    return f"{LOCAL_FILES}?d={quote(relative)}"


def store_image(image: SourceImage, folder: Path, source: str) -> StoredImage:
    """Checks an image and copies it into the project's folder, unless it is there.

    Args:
        source: name of the source that is pushed, for the task's data.

    Raises:
        StudioError: the folder cannot be written.
    """
    try:
        data = image.read()
        pixels = decode(data)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return StoredImage(image.path, fault=f"{'missing' if missing else 'unreadable'}: {error.strerror}")
    except ImageError as error:
        return StoredImage(image.path, fault=f"{error.reason}: {error}")
    sha256 = sha256_of(data)
    suffix = Path(image.file).suffix.lower()
    suffix = suffix if suffix in IMAGE_SUFFIXES else ""
    original = folder / sha256[:2] / f"{sha256}{suffix}"
    displayed = original
    try:
        _write_once(original, data)
        if suffix not in _BROWSER_SUFFIXES or _has_16_bits(data):
            displayed = original.with_name(f"{sha256}.shown.png")
            _write_once(displayed, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    except OSError as error:
        raise StudioError(
            f"cannot write {original}: {error.strerror}; fix that and push again: stored images are kept"
        ) from None
    data_of_push = {
        "image": served_url(_relative(displayed, folder)),
        "sha256": sha256,
        "file": _relative(original, folder),
        "path": image.path,
        "source": source,
    }
    return StoredImage(image.path, sha256, _survey_columns(image) | data_of_push)


def _survey_columns(image: SourceImage) -> dict[str, str]:
    return {f"survey_{name}" if name in RESERVED else name: value for name, value in image.columns.items()}


def _relative(file: Path, folder: Path) -> str:
    """The path of a file of the project's folder below the document root."""
    return file.relative_to(folder.parent).as_posix()


def _has_16_bits(data: bytes) -> bool:
    """Whether this is a PNG with 16 bits a channel: byte 24 of a PNG is its bit depth."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"


def _write_once(target: Path, data: bytes) -> None:
    """Writes a file in one step, unless a file with this name and size exists: the name is the hash of the bytes.

    It is not flushed to the disk, as that would take longer than everything else. After a power cut a file may be
    short; the next push writes it again.
    """
    if target.is_file() and target.stat().st_size == len(data):
        return
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        partial.write_bytes(data)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def store_taxonomy(folder: Path, taxonomy: Taxonomy) -> None:
    """Writes the whole taxonomy into the project's folder.

    There nobody can change it by accident on the settings page, its size has no limit, and the server serves it over
    HTTP to whoever pulls on another machine.
    """
    write_text(folder / TAXONOMY_FILE, dump_yaml(taxonomy))


def stored_taxonomy(connection: Connection, folder_name: str) -> Taxonomy | None:
    """The taxonomy that `store_taxonomy` wrote, from the disk or over HTTP; None where none can be read."""
    if not folder_name:
        return None
    root, relative = connection.document_root, f"{folder_name}/{TAXONOMY_FILE}"
    if root is not None and (root / relative).is_file():
        return load_config(root / relative, Taxonomy)
    try:
        text = connection.get(LOCAL_FILES, {"d": relative}, what="reading the taxonomy").decode()
        return validate(parse_yaml(text, relative), Taxonomy, relative)
    except StudioError as error:
        if error.status == 404:
            return None
        raise
    except (PelagiaError, UnicodeDecodeError):
        return None


def folder_name_of(data: Mapping[str, Any]) -> str:
    """The name of the project's folder, from the data of a task; empty where push did not make the task."""
    name, slash, _ = str(data.get("file") or "").partition("/")
    return name if slash else ""
