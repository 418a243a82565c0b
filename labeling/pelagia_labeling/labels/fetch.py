"""The original images of tasks: read from the server's folder if this machine sees it, or fetched over HTTP.

Invariant: a file is given only if its bytes are the bytes that were pushed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from pelagia.errors import StudioError
from pelagia.system.files import sha256_of, sha256_of_file
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import Task
from pelagia_labeling.tasks.storage import LOCAL_FILES
from pelagia_labeling.tasks.upload import is_gone, is_uploaded, original_address, original_suffix


def fetch_images(connection: Connection, tasks: Sequence[Task], scratch: Path) -> list[Path | str]:
    """For each task, the file of its original image, or the reason why there is no such file.

    Args:
        connection: the connection to the server.
        tasks: the tasks whose images are needed.
        scratch: folder for images that are fetched over HTTP, which happens if this machine cannot read the server's
            disk.
    """
    root = connection.document_root

    def fetch(task: Task) -> Path | str:
        relative = str(task.data.get("file") or "")
        if root is not None and relative and ".." not in PurePosixPath(relative).parts and (root / relative).is_file():
            unchanged = sha256_of_file(root / relative) == task.sha256
            return root / relative if unchanged else "changed"
        return _download(connection, task, scratch)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(fetch, tasks))


def _download(connection: Connection, task: Task, scratch: Path) -> Path | str:
    """The file in ``scratch`` with the image of a task, fetched over HTTP; or the reason why there is no such file."""
    relative, displayed = str(task.data.get("file") or ""), str(task.data.get("image") or "")
    if not relative and not displayed.startswith("/"):
        return "elsewhere"  # the task was made by hand, with an image on another server
    what = f"fetching the image of task {task.id}"
    try:
        if relative:
            data = connection.get(LOCAL_FILES, {"d": relative}, what=what)
        else:
            displayed = original_address(task.data)
            data = connection.get(displayed, what=what)
    except StudioError as error:
        if is_gone(error, displayed):
            return "missing"
        raise
    if task.sha256 and sha256_of(data) != task.sha256:
        return "changed"
    suffix = PurePosixPath(relative or displayed.partition("?")[0]).suffix
    if is_uploaded(task.data):
        suffix = original_suffix(task.data)
    target = scratch / f"{task.place}{suffix.lower()}"
    target.write_bytes(data)
    return target
