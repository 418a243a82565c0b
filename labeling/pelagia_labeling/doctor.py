"""`pelagia studio doctor`: what is wrong with a Label Studio server, and how to fix it.

Invariant: `examine` reports faults and never raises an error for them. Each check reports its result. A check is
skipped, with the reason, if it needs the result of an earlier check that failed. The checks run in the order in which a
user meets the faults: address, kind of server, version, token, document root. Then, for each project, its storage is
checked, and one image is fetched over HTTP and compared by its SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from pelagia.errors import PelagiaError, StudioError, first_few
from pelagia.system.checks import Check
from pelagia.system.files import sha256_of
from pelagia_labeling.studio.connection import (
    ROOT_VARIABLE,
    Address,
    Connection,
    connect,
    find_address,
    open_http,
    server_version,
)
from pelagia_labeling.tasks.project import Project, Task, find_project, list_projects, list_tasks
from pelagia_labeling.tasks.sheet_crops import CROPS, is_sheet
from pelagia_labeling.tasks.storage import LOCAL_FILES, folder_name_of, storage_paths
from pelagia_labeling.tasks.upload import FILES_TITLE, is_gone, is_uploaded, original_address


def examine(
    url: str | None = None, token: str | None = None, *, home: Path | None = None, project: str | None = None
) -> list[Check]:
    """The results of all checks, in order.

    Args:
        url, token, home: as for `connect`.
        project: title of the project to check; by default all projects are checked.
    """
    checks: list[Check] = []
    address = _run(checks, "address known", lambda: find_address(url, token, home), _describe_address)
    version = _run(checks, "server answers", lambda: _version(_required(address)), "Label Studio {}".format)
    connection = _run(checks, "token accepted", lambda: _connect(version, url, token, home), _describe_token)
    root = _run(checks, "document root", lambda: _required(connection).require_root(), str)
    projects = _run(checks, "projects", lambda: _projects(_required(connection), project), _describe_projects)
    for found in projects or ():
        _examine_project(checks, _required(connection), found, root)
    return checks


class _Skipped(Exception):  # noqa: N818 - not an error: the result that a check needs is missing
    pass


def _required(result: Any) -> Any:
    """The result of an earlier check. Raises _Skipped if that check failed."""
    if result is None:
        raise _Skipped
    return result


def _run(checks: list[Check], name: str, check: Callable[[], Any], describe: Callable[[Any], str]) -> Any:
    """Runs one check, appends its outcome to ``checks``, and returns its result; returns None if the check failed."""
    try:
        result = check()
        checks.append(Check(name, True, describe(result)))
    except _Skipped:
        failed = next((check.name for check in reversed(checks) if check.ok is False), "an earlier check")
        checks.append(Check(name, None, f"because of '{failed}'"))
    except PelagiaError as error:
        found, _, remedy = str(error).rpartition(": ")
        checks.append(Check(name, False, found or str(error), remedy if found else ""))
    else:
        return result
    return None


def _version(address: Address) -> str:
    with open_http(address) as http:
        return server_version(http, address)


def _connect(version: str | None, url: str | None, token: str | None, home: Path | None) -> Connection:
    _required(version)
    return connect(url, token, home=home)


def _describe_address(address: Address) -> str:
    started = f", started here (process {address.studio.pid})" if address.studio and address.studio.running else ""
    return f"{address.url}{started}; {address.token_kind} token from {address.token_source}"


def _describe_token(connection: Connection) -> str:
    return f"{connection.address.token_kind} token of {connection.user}"


def _describe_projects(projects: list[Project]) -> str:
    listed = [f"'{each.title}' ({each.tasks} tasks, {each.annotations} annotations)" for each in projects]
    return first_few(listed) or "none yet"


def _projects(connection: Connection, title: str | None) -> list[Project]:
    if title is None:
        return [each for each in list_projects(connection) if each.title != FILES_TITLE]  # it never has a task
    found = find_project(connection, title)
    if found is None:
        raise StudioError(f"there is no project '{title}': make one with `pelagia label push`")
    return [found]


def _examine_project(checks: list[Check], connection: Connection, project: Project, root: Path | None) -> None:
    task = _run(checks, f"{project.title}: tasks", lambda: first_task(connection, project), "task {0.id}".format)
    _run(checks, f"{project.title}: local storage", lambda: _storage(connection, project, _required(task), root), str)
    _run(checks, f"{project.title}: image served", lambda: _served(connection, _required(task)), str)


def first_task(connection: Connection, project: Project) -> Task:
    """The first task of a project, or the first crop of its first sheet, as a task.

    Raises:
        StudioError: there is no task, or push did not make it.
    """
    first = next(islice(list_tasks(connection, project), 1), None)
    if first is None:
        raise StudioError(f"'{project.title}' has no task: add images with `pelagia label push`")
    if is_sheet(first.data) and first.data[CROPS]:
        first = Task(first.id, first.data[CROPS][0])
    if not folder_name_of(first.data) and not is_uploaded(first.data):
        raise StudioError(
            f"task {first.id} of '{project.title}' was not made by `pelagia label push`, so its image cannot be "
            "compared with the original: nothing needs to be done"
        )
    return first


def _storage(connection: Connection, project: Project, task: Task, root: Path | None) -> str:
    if is_uploaded(task.data):
        return "not needed: the images were uploaded"
    name = folder_name_of(task.data)
    matching = [path for path in storage_paths(connection, project) if path.name == name]
    if not matching:  # the disputed images of another project: the server serves them from its folder
        others = [path for each in list_projects(connection) for path in storage_paths(connection, each)]
        matching = [path for path in others if path.name == name]
    if not matching:
        raise StudioError(
            f"no local storage of '{project.title}' covers the folder {name}, so its images do not load: push again, "
            "which registers the folder"
        )
    if root is not None and matching[0].parent != root:
        raise StudioError(
            f"the server serves {matching[0]}, but the document root here is {root}: set {ROOT_VARIABLE} to "
            f"{matching[0].parent}"
        )
    return str(matching[0])


def _served(connection: Connection, task: Task) -> str:
    if is_uploaded(task.data):
        return _served_upload(connection, task)
    relative = str(task.data["file"])
    try:
        data = connection.get(LOCAL_FILES, {"d": relative}, what=f"fetching {relative}")
    except StudioError as error:
        if error.status == 403:
            raise StudioError(
                "the server serves no local files: start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true"
            ) from None
        if error.status == 404:
            raise StudioError(
                f"the server does not find {relative} under its document root: check that "
                f"{ROOT_VARIABLE} is the same folder here and on the server, then push again"
            ) from None
        raise
    if sha256_of(data) != task.sha256:
        raise StudioError(
            f"{relative} differs from the image that was pushed: delete that file on the server, and push again"
        )
    return f"{len(data)} bytes of {task.data.get('path')}, as pushed"


def _served_upload(connection: Connection, task: Task) -> str:
    address = original_address(task.data)
    try:
        data = connection.get(address, what=f"fetching {address}")
    except StudioError as error:
        if is_gone(error, address):
            raise StudioError(
                f"the server has no file {address}: it was removed; delete that task, and push with --upload again"
            ) from None
        raise
    if sha256_of(data) != task.sha256:
        raise StudioError(f"{address} differs from the image that was pushed: delete that task, and push again")
    return f"{len(data)} bytes of {task.data.get('path')}, as uploaded"
