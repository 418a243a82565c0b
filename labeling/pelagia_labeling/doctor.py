"""What is wrong with a Label Studio server, and what mends it.

Invariant: `examine` never raises for what it finds. Every check reports; one whose ground is missing is skipped with
the reason. The checks run in the order in which a user meets the faults: address, kind of server, version, token,
document root, then for each project its storage and one image fetched back over HTTP and compared by hash.
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
from pelagia_labeling.tasks.storage import SERVED, folder_name_of, storage_paths


def examine(
    url: str | None = None, token: str | None = None, *, home: Path | None = None, project: str | None = None
) -> list[Check]:
    """All checks, in order.

    Args:
        url: as for `connect`.
        project: look at this project alone; at all that push made, by default.
    """
    checks: list[Check] = []
    address = _try(checks, "address known", lambda: find_address(url, token, home), _describe_address)
    version = _try(checks, "server answers", lambda: _version(_given(address)), "Label Studio {}".format)
    connection = _try(checks, "token accepted", lambda: _connected(version, url, token, home), _describe_token)
    root = _try(checks, "document root", lambda: _given(connection).require_root(), str)
    projects = _try(checks, "projects", lambda: _projects(_given(connection), project), _describe_projects)
    for one in projects or ():
        _examine_project(checks, _given(connection), one, root)
    return checks


class _Skip(Exception):  # noqa: N818 - not an error: the ground of a check is missing
    pass


def _given(value: Any) -> Any:
    if value is None:
        raise _Skip
    return value


def _try(checks: list[Check], name: str, look: Callable[[], Any], describe: Callable[[Any], str]) -> Any:
    """Runs one check and notes its outcome; None where it did not end well."""
    try:
        value = look()
        checks.append(Check(name, True, describe(value)))
    except _Skip:
        last = next((check.name for check in reversed(checks) if check.ok is False), "an earlier check")
        checks.append(Check(name, None, f"because of '{last}'"))
    except PelagiaError as error:
        found, _, remedy = str(error).rpartition(": ")
        checks.append(Check(name, False, found or str(error), remedy if found else ""))
    else:
        return value
    return None


def _version(address: Address) -> str:
    with open_http(address) as http:
        return server_version(http, address)


def _connected(version: str | None, url: str | None, token: str | None, home: Path | None) -> Connection:
    _given(version)
    return connect(url, token, home=home)


def _describe_address(address: Address) -> str:
    started = f", started here (process {address.studio.pid})" if address.studio and address.studio.running else ""
    return f"{address.url}{started}; {address.token_kind} token from {address.token_source}"


def _describe_token(connection: Connection) -> str:
    return f"{connection.address.token_kind} token of {connection.user}"


def _describe_projects(projects: list[Project]) -> str:
    listed = [f"'{one.title}' ({one.tasks} tasks, {one.annotations} annotations)" for one in projects]
    return first_few(listed) or "none yet"


def _projects(connection: Connection, title: str | None) -> list[Project]:
    if title is None:
        return list_projects(connection)
    found = find_project(connection, title)
    if found is None:
        raise StudioError(f"there is no project '{title}': make it with `pelagia label push`")
    return [found]


def _examine_project(checks: list[Check], connection: Connection, project: Project, root: Path | None) -> None:
    task = _try(checks, f"{project.title}: tasks", lambda: _first_task(connection, project), "task {0.id}".format)
    _try(checks, f"{project.title}: local storage", lambda: _storage(connection, project, _given(task), root), str)
    _try(checks, f"{project.title}: image served", lambda: _served(connection, _given(task)), str)


def _first_task(connection: Connection, project: Project) -> Task:
    first = next(islice(list_tasks(connection, project), 1), None)
    if first is None:
        raise StudioError(f"'{project.title}' has no task: give it images with `pelagia label push`")
    if not folder_name_of(first.data):
        raise StudioError(
            f"task {first.id} of '{project.title}' was not made by push, which is no fault: there is nothing to compare"
        )
    return first


def _storage(connection: Connection, project: Project, task: Task, root: Path | None) -> str:
    paths = storage_paths(connection, project)
    name = folder_name_of(task.data)
    matching = [path for path in paths if path.name == name]
    if not matching:
        raise StudioError(
            f"no local storage of '{project.title}' covers the folder {name}, so its images answer 404: push once "
            "more, which registers it"
        )
    if root is not None and matching[0].parent != root:
        raise StudioError(
            f"the server serves {matching[0]}, and the document root here is {root}: set {ROOT_VARIABLE} to "
            f"{matching[0].parent}"
        )
    return str(matching[0])


def _served(connection: Connection, task: Task) -> str:
    relative = str(task.data["file"])
    try:
        data = connection.get(SERVED, {"d": relative}, what=f"fetching {relative}")
    except StudioError as error:
        if "answered 403" in str(error) or "may not do this" in str(error):
            raise StudioError(
                "the server serves no local files: start it with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true"
            ) from None
        if "answered 404" in str(error):
            raise StudioError(
                f"the server does not find {relative} under its document root: check that "
                f"{ROOT_VARIABLE} names one folder here and on the server, then push again"
            ) from None
        raise
    if sha256_of(data) != task.sha256:
        raise StudioError(f"{relative} has other bytes than were pushed: delete the file there, and push once more")
    return f"{len(data)} bytes of {task.data.get('path')}, as pushed"
