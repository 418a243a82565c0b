"""`pelagia label push --upload`: images go to the server through its API, for a server that shares no folder.

Invariant: the name of an uploaded file ends with the SHA-256 of its image, so a file that an interrupted push uploaded
is found again and is not uploaded twice. The files are uploaded before the tasks are made; a task holds the address of
its image. Label Studio (measured with 1.23.2) takes at most 100 files a request; ``commit_to_project=false`` keeps it
from making tasks of its own, which would lack the columns of the survey.

An image that Label Studio refuses by its ending (TIFF) is uploaded twice: as the PNG that browsers show, and as the
original, under a name with a second ending that the server accepts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from pelagia.errors import PelagiaError, StudioError
from pelagia.taxonomy import Taxonomy
from pelagia_labeling.studio.connection import WRITE_OPTIONS, Connection
from pelagia_labeling.tasks.project import Project, find_project
from pelagia_labeling.tasks.storage import StoredImage, open_storage, store_taxonomy

FILES_TITLE = "Uploaded images (keep)"
"""Title of a project that holds the files of projects whose page shows several things."""

UPLOADS = "/data/upload/"
"""Path on the server under which it serves uploaded files."""

FILES_A_REQUEST = 100
BYTES_A_REQUEST = 32 << 20
_ACCEPTED = frozenset({".bmp", ".gif", ".jpg", ".jpeg", ".png", ".webp"})
_TOO_LARGE = ("Maximum total size", "MAX_NUMBER_FILES", "Too Large", "too large")
_NAME = re.compile(r"upload/\d+/[0-9a-f]{8}-(?P<name>[0-9a-f]{64}\..+)")
_TAXONOMY = re.compile(r"\[(/data/upload/\d+/[\w.-]+\.json)\]")


class Store(Protocol):
    """Where a push puts its images.

    Attributes:
        folder: the folder into which `store_image` writes.
    """

    folder: Path

    def send(self, chunk: Sequence[StoredImage], known: Collection[str]) -> list[StoredImage]:
        """The images of ``chunk`` with the data that their tasks get, or with the reason why the server refuses them.

        Args:
            chunk: images that `store_image` stored in `folder`.
            known: SHA-256 of the images that have a task; nothing needs to be done for them.
        """


@contextmanager
def open_store(connection: Connection, project: Project, taxonomy: Taxonomy, *, upload: bool) -> Iterator[Store]:
    """The project's folder on the server, or with ``upload`` a temporary folder whose images go through the API.

    The taxonomy is stored at the same place.
    """
    if not upload:
        folder = open_storage(connection, project)
        store_taxonomy(folder, taxonomy)
        yield _SharedFolder(folder)
        return
    with TemporaryDirectory(prefix="pelagia-upload-") as scratch:
        folder = Path(scratch, "images")
        folder.mkdir()
        uploads = Uploads(connection, project, folder)
        uploads.send_taxonomy(taxonomy)
        yield uploads


class _SharedFolder:
    """A folder that this machine and the server share: the images are there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, chunk: Sequence[StoredImage], known: Collection[str]) -> list[StoredImage]:
        del known
        return list(chunk)


@dataclass(frozen=True)
class _File:
    """A file to upload, and the name that it gets on the server."""

    path: Path
    name: str
    size: int


class Uploads:
    """Uploads the images of one push through the API.

    Attributes:
        folder: the folder for `store_image`; its files are removed after they were uploaded.
    """

    def __init__(self, connection: Connection, project: Project, folder: Path) -> None:
        self.folder = folder
        self._connection, self._project = connection, project
        self._holder = _holder_of_files(connection, project)
        self._present = _list_uploads(connection, self._holder)
        self._refused: set[str] = set()

    def send(self, chunk: Sequence[StoredImage], known: Collection[str]) -> list[StoredImage]:
        """Uploads the images that have no task. See `Store.send`.

        Raises:
            StudioError: the server refuses an upload; files that were uploaded are found by the next push.
        """
        new = {
            image.sha256: image
            for image in chunk
            if image.data and image.sha256 not in known and image.sha256 not in self._refused
        }
        files = {sha256: _files_of(image, self.folder) for sha256, image in new.items()}
        missing = [file for found in files.values() for file in found if not self._is_present(file)]
        with ThreadPoolExecutor(4) as pool:
            too_large = {name for names in pool.map(self._upload, _requests(missing)) for name in names}
        self._refused |= {sha256 for sha256, found in files.items() if any(file.name in too_large for file in found)}
        for image in chunk:
            if image.data:
                for path in _paths_of(image, self.folder):
                    path.unlink(missing_ok=True)  # an image of the next chunk with the same bytes has a task by then
        return [self._with_addresses(image, files.get(image.sha256)) for image in chunk]

    def send_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Uploads the complete taxonomy, and writes its address into the description of the project."""
        if uploaded_taxonomy(self._connection, self._project) == taxonomy:
            return
        number = self._post([("file", ("taxonomy.json", taxonomy.model_dump_json().encode()))])[0]
        address = f"/data/{self._names([number])[0]}"
        with self._connection.doing("writing the address of the taxonomy"):
            self._connection.client.projects.update(
                id=self._project.id,
                description=f"Pelagia: classes of the taxonomy '{taxonomy.name}' [{address}]",
                request_options=WRITE_OPTIONS,
            )

    def _is_present(self, file: _File) -> bool:
        return self._present.get(file.name, ("", -1))[1] == file.size

    def _upload(self, files: Sequence[_File]) -> list[str]:
        """Uploads files in one request, or in several if it is too large; returns the names that are refused alone."""
        opened = [("file" + str(index), (file.name, file.path.read_bytes())) for index, file in enumerate(files)]
        try:
            numbers = self._post(opened)
        except StudioError as error:
            if error.status != 413 and not any(part in str(error) for part in _TOO_LARGE):
                raise
            if len(files) == 1:
                return [files[0].name]
            half = len(files) // 2
            return self._upload(files[:half]) + self._upload(files[half:])
        sizes = {file.name: file.size for file in files}
        for path in self._names(numbers):
            if found := _NAME.fullmatch(path):
                self._present[found["name"]] = (path, sizes[found["name"]])
        missing = [file.name for file in files if not self._is_present(file)]
        if missing:
            raise StudioError(
                f"the server at {self._connection.url} took {len(files)} images and does not list {len(missing)} of "
                "them: push again"
            )
        return []

    def _post(self, files: Sequence[tuple[str, tuple[str, Any]]]) -> list[int]:
        answer = self._connection.post_files(
            f"/api/projects/{self._holder}/import",
            files,
            {"commit_to_project": "false"},
            what=f"uploading {len(files)} files",
        )
        with self._connection.doing("uploading files"):
            return [int(number) for number in answer["file_upload_ids"]]

    def _names(self, numbers: Sequence[int]) -> list[str]:
        """The paths of uploaded files on the server."""
        params = {"ids": json.dumps(list(numbers))}
        path = f"/api/projects/{self._holder}/file-uploads"
        answer = self._connection.get_json(path, params, what="listing the uploaded files")
        with self._connection.doing("listing the uploaded files"):
            return [str(entry["file"]) for entry in answer]

    def _with_addresses(self, image: StoredImage, files: Sequence[_File] | None) -> StoredImage:
        if image.sha256 in self._refused:
            return replace(image, data={}, fault="too_large: the server refuses a file of this size")
        if files is None:  # a fault, or an image that has a task
            return image
        addresses = ["/data/" + self._present[file.name][0] for file in files]
        data = {key: value for key, value in image.data.items() if key != "file"}
        data["image"] = addresses[-1]
        if len(addresses) > 1:
            data["original_file"] = addresses[0]
        return replace(image, data=data)


def is_uploaded(data: Mapping[str, Any]) -> bool:
    """Whether the image of a task was uploaded, from the data of the task."""
    return not data.get("file") and str(data.get("image") or "").startswith(UPLOADS)


def original_address(data: Mapping[str, Any]) -> str:
    """The path on the server of the bytes that were pushed, for an uploaded image."""
    return str(data.get("original_file") or data.get("image") or "")


def original_suffix(data: Mapping[str, Any]) -> str:
    """The ending of the file that was uploaded, such as ``.tif``."""
    name = PurePosixPath(original_address(data)).name
    suffixes = PurePosixPath(name).suffixes
    return suffixes[0] if "original_file" in data and suffixes else PurePosixPath(name).suffix


def is_gone(error: StudioError, address: str) -> bool:
    """Whether an error means that the server lacks a file. For an uploaded file, 1.23.2 answers 500 instead of 404."""
    return error.status == 404 or (
        error.status == 500 and address.startswith(UPLOADS) and "has no attribute 'has_permission'" in str(error)
    )


def uploaded_taxonomy(connection: Connection, project: Project) -> Taxonomy | None:
    """The taxonomy that `Uploads.send_taxonomy` uploaded; None if there is none, or if it was removed."""
    found = connection.get_json(f"/api/projects/{project.id}/", what="reading the project")
    address = _TAXONOMY.search(str(found.get("description") or ""))
    if address is None:
        return None
    try:
        text = connection.get(address[1], what="reading the taxonomy")
        return Taxonomy.model_validate_json(text)
    except StudioError as error:
        if is_gone(error, address[1]):
            return None
        raise
    except (PelagiaError, ValueError):
        return None


def _holder_of_files(connection: Connection, project: Project) -> int:
    """The number of the project that the files are uploaded to.

    It is the project itself, unless its page shows several things: then Label Studio takes no image for it, and the
    files go to a project without a page, from which the server serves them as well.
    """
    shown = {tag.get("value") for tag in ElementTree.fromstring(project.config).iter() if tag.get("name")}  # noqa: S314
    if len([value for value in shown if value and "$" in value]) <= 1:
        return project.id
    found = find_project(connection, FILES_TITLE)
    if found is not None:
        return found.id
    with connection.doing(f"making the project '{FILES_TITLE}'"):
        made = connection.client.projects.create(
            title=FILES_TITLE,
            description="Holds images of other projects: do not delete it",
            label_config="<View></View>",
            request_options=WRITE_OPTIONS,
        )
    return int(made.id)


def _list_uploads(connection: Connection, project_id: int) -> dict[str, tuple[str, int]]:
    """The files that this account uploaded to the project: name -> (path on the server, size)."""
    path = f"/api/projects/{project_id}/file-uploads"
    answer = connection.get_json(path, {"all": "true"}, what="listing the uploaded files")
    with connection.doing("listing the uploaded files"):
        paths = {str(entry["file"]): int(entry.get("size") or -1) for entry in answer}
    return {found["name"]: (path, size) for path, size in paths.items() if (found := _NAME.fullmatch(path))}


def _paths_of(image: StoredImage, folder: Path) -> list[Path]:
    """The files of a stored image: the original, and after it the PNG that browsers show if that is another file."""
    original = folder.parent / image.data["file"]
    shown = folder.parent / parse_qs(urlsplit(image.data["image"]).query)["d"][0]
    return [original] if shown == original else [original, shown]


def _files_of(image: StoredImage, folder: Path) -> list[_File]:
    return [
        _File(path, path.name if path.suffix in _ACCEPTED else f"{path.name}.bmp", path.stat().st_size)
        for path in _paths_of(image, folder)
    ]


def _requests(files: Sequence[_File]) -> Iterator[list[_File]]:
    """The files in groups of at most `FILES_A_REQUEST` and `BYTES_A_REQUEST`; a larger file is alone."""
    group: list[_File] = []
    size = 0
    for file in files:
        if group and (len(group) == FILES_A_REQUEST or size + file.size > BYTES_A_REQUEST):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group
