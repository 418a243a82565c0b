"""Stores images in the folder from which the server serves files, and gives the addresses that a browser opens.

Invariant: the name of a file is the SHA-256 of its bytes. So its address needs no quoting, a later change of the
original cannot change what was labeled, and storing an image twice changes nothing. If browsers cannot show an image
(TIFF, BMP, 16 bits per channel), a PNG is stored beside it for the labeling page; a dataset holds the original bytes.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2

from pelagia.config import dump_yaml, load_config, validate
from pelagia.errors import PelagiaError, StudioError
from pelagia.images.preprocess import Decoded, ImageError, decode_with_remark
from pelagia.label_studio import LOCAL_FILES as LOCAL_FILES
from pelagia.sources import IMAGE_SUFFIXES, SourceImage
from pelagia.system.files import sha256_of, slug, write_text
from pelagia.system.yaml_text import parse_yaml
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.caption import caption_of
from pelagia_labeling.tasks.interface import CAPTION
from pelagia_labeling.tasks.project import Project

TAXONOMY_FILE = "taxonomy.yaml"

RESERVED = ("image", "original_file", "sha256", "file", "path", "source", CAPTION)
"""Keys of a task's data that push sets. A column of a manifest with such a name is stored as ``survey_...``."""

_BROWSER_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class StoredImage:
    """An image in the server's folder, or the reason why it is not stored there.

    Attributes:
        path: path of the image in the source that was pushed.
        sha256: SHA-256 of the bytes of the image, 64 hex digits.
        data: the data of the image's task.
        fault: reason and detail; empty if the image is stored.
        remark: the remarks on it (`pelagia.images.remarks`); mostly empty.
        width, height: its size in pixels; 0 if the image is not stored.
    """

    path: str
    sha256: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    remark: str = ""
    width: int = 0
    height: int = 0


def folder_of(root: Path, project: Project) -> Path:
    """The project's folder in the document root. Its name ends with the project's number, because titles can repeat."""
    return root / f"{slug(project.title)[:40]}-{project.id}"


def open_storage(connection: Connection, project: Project) -> Path:
    """The project's folder, registered with the server as a local storage so that the server serves its files.

    A folder that is already registered is found by the project's number, so a renamed project keeps its folder. Label
    Studio never synchronizes the storage: tasks are made through the API.

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
        raise StudioError(f"cannot make {folder}: {error.strerror}; fix this, then push again") from None
    register_folder(connection, project, folder)
    return folder


def register_folder(connection: Connection, project: Project, folder: Path) -> None:
    """Makes ``folder`` a local storage of the project, so that the server serves its files."""
    storage = {"project": project.id, "title": "Pelagia's images", "path": str(folder), "use_blob_urls": True}
    what = f"registering the folder {folder} as the project's local storage"
    connection.send("POST", "/api/storages/localfiles/", storage, what=what)


def move_storage(connection: Connection, number: int, folder: Path) -> None:
    """Changes the folder of the local storage with this number."""
    change = {"path": str(folder), "use_blob_urls": True}
    what = f"changing the folder of a local storage to {folder}"
    connection.send("PATCH", f"/api/storages/localfiles/{number}", change, what=what)


def local_storages(connection: Connection, project: Project) -> dict[int, Path]:
    """The number of each local storage of a project -> its folder, as a path on the server."""
    what = "listing the project's local storages"
    storages = connection.get_json("/api/storages/localfiles/", {"project": project.id}, what=what)
    with connection.doing(what):
        return {int(storage["id"]): Path(storage["path"]) for storage in storages if storage["path"]}


def storage_paths(connection: Connection, project: Project) -> list[Path]:
    """The folders that the server serves for a project, as paths on the server."""
    return list(local_storages(connection, project).values())


def served_url(relative: str) -> str:
    """The address of a file of the document root, without the server's own address."""
    return f"{LOCAL_FILES}?d={quote(relative)}"


def store_image(image: SourceImage, folder: Path, source: str, known: Collection[str] = frozenset()) -> StoredImage:
    """Checks an image and copies it into the project's folder, unless the folder already holds it.

    Args:
        image: the image to store.
        folder: the project's folder.
        source: name of the source that is pushed, for the task's data.
        known: SHA-256 of the images that have a task. If the folder holds such an image, it is not decoded again, and
            the result has neither data nor remark.

    Raises:
        StudioError: the folder cannot be written.
    """
    try:
        data = image.read()
        sha256 = sha256_of(data)
        original = f"{sha256[:2]}/{sha256}{_suffix(image)}"
        displayed = _displayed(original, data)
        if sha256 in known and _is_complete(folder, original, displayed, data):
            return StoredImage(image.path, sha256)
        decoded = decode_with_remark(data)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        return StoredImage(image.path, fault=f"{'missing' if missing else 'unreadable'}: {error.strerror}")
    except ImageError as error:
        return StoredImage(image.path, fault=f"{error.reason}: {error}")
    _write(folder, original, displayed, data, decoded)
    data_of_push = {
        "image": served_url(f"{folder.name}/{displayed}"),
        "sha256": sha256,
        "file": f"{folder.name}/{original}",
        "path": image.path,
        "source": source,
        CAPTION: caption_of(decoded.sides, image.columns),
    }
    height, width = decoded.pixels.shape[:2]
    all_data = _survey_columns(image) | data_of_push
    return StoredImage(image.path, sha256, all_data, remark=decoded.remark, width=width, height=height)


def _suffix(image: SourceImage) -> str:
    suffix = os.path.splitext(image.file)[1].lower()
    return suffix if suffix in IMAGE_SUFFIXES else ""


def _write(folder: Path, original: str, displayed: str, data: bytes, decoded: Decoded) -> None:
    """Writes an image, and what browsers show of it; both names are relative to the project's folder."""
    try:
        _write_once(os.path.join(folder, original), data)
        if displayed != original:
            shown = cv2.imencode(".png", decoded.pixels[..., ::-1])[1].tobytes()
            _write_once(os.path.join(folder, displayed), shown)
    except OSError as error:
        raise StudioError(
            f"cannot write {folder / original}: {error.strerror}; fix this, then push again: stored images are kept"
        ) from None


def _displayed(original: str, data: bytes) -> str:
    """The file that browsers show: the original, or a PNG beside it if browsers cannot show the original."""
    stem, suffix = os.path.splitext(original)
    return original if suffix in _BROWSER_SUFFIXES and not _has_16_bits(data) else f"{stem}.shown.png"


def _survey_columns(image: SourceImage) -> dict[str, str]:
    return {f"survey_{name}" if name in RESERVED else name: value for name, value in image.columns.items()}


def _has_16_bits(data: bytes) -> bool:
    """Whether the data are a PNG with 16 bits per channel: byte 24 of a PNG is its bit depth."""
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"


def _is_complete(folder: Path, original: str, displayed: str, data: bytes) -> bool:
    """Whether the folder has an image, and what browsers show of it."""
    stored = _is_stored(os.path.join(folder, original), data)
    return stored and (displayed == original or os.path.isfile(os.path.join(folder, displayed)))


def _write_once(target: str, data: bytes) -> None:
    """Writes a file in one step, unless a file with this name and size exists: the name is the hash of the bytes.

    The file is not flushed to the disk, because flushing would take longer than everything else. After a power cut a
    file may be incomplete; the next push writes it again.
    """
    if _is_stored(target, data):
        return
    parent, name = os.path.split(target)
    with suppress(FileExistsError):
        os.mkdir(parent)
    partial = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(partial, "wb") as file:
            file.write(data)
        os.replace(partial, target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _is_stored(target: str, data: bytes) -> bool:
    try:
        found = os.stat(target)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == len(data)


def store_taxonomy(folder: Path, taxonomy: Taxonomy) -> None:
    """Writes the complete taxonomy into the project's folder.

    In this folder the taxonomy cannot be changed by accident on the settings page, and its size has no limit. The
    server serves it over HTTP if labels are pulled on another machine.
    """
    write_text(folder / TAXONOMY_FILE, dump_yaml(taxonomy))


def stored_taxonomy(connection: Connection, folder_name: str) -> Taxonomy | None:
    """The taxonomy that `store_taxonomy` wrote, read from the disk or over HTTP; None if it cannot be read."""
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
    """The name of the project's folder, from the data of a task; empty if push did not make the task."""
    name, slash, _ = str(data.get("file") or "").partition("/")
    return name if slash else ""
