"""Images on the disk that the server serves from: where they lie and under which address they are shown.

Invariant: an image lies under a name made of its own SHA-256, so the address holds nothing that needs quoting, an edit
of the original cannot change what was labelled, and copying twice is harmless. What no browser shows (TIFF, BMP,
16 bit) gets a PNG beside the original; the original's bytes are what a dataset gets.
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
from pelagia_labeling.studio.connection import ONCE, Connection
from pelagia_labeling.tasks.project import Project

TAXONOMY_FILE = "taxonomy.yaml"
SERVED = "/data/local-files/"
RESERVED = ("image", "sha256", "file", "path", "source")
"""Keys of a task's data that are ours; a manifest's column of that name becomes ``survey_...``."""

_SHOWN = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class Placed:
    """An image on the server's disk, or why it is not there.

    Attributes:
        data: the task's data.
        fault: reason and detail; empty where all went well.
    """

    path: str
    sha256: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


def folder_of(root: Path, project: Project) -> Path:
    """The project's folder under the document root; its name holds the project's number, as titles may look alike."""
    return root / f"{slug(project.title)[:40]}-{project.id}"


def open_storage(connection: Connection, project: Project) -> Path:
    """The project's folder, registered with the server as a local storage, which is what makes it serve the files.

    A folder that is registered already is found again by the project's number, so a renamed project keeps it. It is
    never synchronised: tasks come through the API.

    Raises:
        StudioError: no shared document root, or the server refuses the folder.
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
            project=project.id, title="Pelagia's images", path=str(folder), use_blob_urls=True, request_options=ONCE
        )
    return folder


def storage_paths(connection: Connection, project: Project) -> list[Path]:
    """Folders that the server serves for a project, in its own words."""
    with connection.doing("listing the project's local storages"):
        storages = connection.client.import_storage.local.list(project=project.id)
    return [Path(storage.path) for storage in storages if storage.path]


def served_at(relative: str) -> str:
    """The address of a file of the document root, below the server's."""
    return f"{SERVED}?d={quote(relative)}"


def place(image: SourceImage, folder: Path, source: str) -> Placed:
    """Checks an image and copies it under the project's folder, unless it lies there."""
    try:
        data = image.read()
        pixels = decode(data)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return Placed(image.path, fault=f"{'missing' if missing else 'unreadable'}: {error.strerror}")
    except ImageError as error:
        return Placed(image.path, fault=f"{error.reason}: {error}")
    sha256 = sha256_of(data)
    suffix = Path(image.file).suffix.lower()
    suffix = suffix if suffix in IMAGE_SUFFIXES else ""
    original = folder / sha256[:2] / f"{sha256}{suffix}"
    shown = original
    try:
        _put(original, data)
        if suffix not in _SHOWN or _is_deep(data):
            shown = original.with_name(f"{sha256}.shown.png")
            _put(shown, cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    except OSError as error:
        raise StudioError(f"cannot write {original}: {error.strerror}; mend that, and push again: it goes on") from None
    own = {f"survey_{name}" if name in RESERVED else name: value for name, value in image.columns.items()}
    ours = {
        "image": served_at(_relative(shown, folder)),
        "sha256": sha256,
        "file": _relative(original, folder),
        "path": image.path,
        "source": source,
    }
    return Placed(image.path, sha256, own | ours)


def _relative(file: Path, folder: Path) -> str:
    return file.relative_to(folder.parent).as_posix()


def _is_deep(data: bytes) -> bool:
    """Whether a PNG has 16 bits a channel: byte 24 of a PNG is its bit depth."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"


def _put(target: Path, data: bytes) -> None:
    """Writes a file whole. One of this name and size holds these bytes, as the name is their hash.

    Not flushed to the disk one by one, which would take longer than all the rest: after a power cut a file may be
    short, and the next push writes it again.
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
    """Keeps the whole taxonomy with the images.

    In the project's folder, because there it cannot be edited by accident on the settings page, has no size limit, and
    is served over HTTP like an image to whoever pulls from elsewhere.
    """
    write_text(folder / TAXONOMY_FILE, dump_yaml(taxonomy))


def stored_taxonomy(connection: Connection, folder_name: str) -> Taxonomy | None:
    """What `store_taxonomy` kept, from the disk or through the server; None where there is none that can be read."""
    if not folder_name:
        return None
    root, relative = connection.document_root, f"{folder_name}/{TAXONOMY_FILE}"
    if root is not None and (root / relative).is_file():
        return load_config(root / relative, Taxonomy)
    try:
        text = connection.get(SERVED, {"d": relative}, what="reading the taxonomy").decode()
        return validate(parse_yaml(text, relative), Taxonomy, relative)
    except StudioError as error:
        if "answered 404" in str(error):
            return None
        raise
    except (PelagiaError, UnicodeDecodeError):
        return None


def folder_name_of(data: Mapping[str, Any]) -> str:
    """The project's folder under the document root, from the data of one of its tasks; empty where push made none."""
    name, slash, _ = str(data.get("file") or "").partition("/")
    return name if slash else ""
