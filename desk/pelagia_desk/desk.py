"""Opens the desk of one project: reads its crops, starts to send what waits, and makes the web application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from pelagia.embeddings import Embeddings, read_embeddings
from pelagia.errors import InputError
from pelagia.system.console import ProgressCallback
from pelagia.system.files import sha256_of
from pelagia.system.locking import exclusive_lock
from pelagia_desk import pictures as thumbnails
from pelagia_desk.guard import Guard
from pelagia_desk.layout import Entry, Layout
from pelagia_desk.sheets import journal as journals
from pelagia_desk.sheets.colleagues import Colleagues
from pelagia_desk.sheets.crops import load_crops
from pelagia_desk.sheets.routes import SheetRoutes
from pelagia_desk.sheets.sender import Sender
from pelagia_desk.sheets.vectors import Vectors
from pelagia_desk.sheets.work import Work
from pelagia_labeling.studio.connection import Connection
from pelagia_labeling.tasks.project import Project, require_project

NAVIGATION = (Entry("/", "Sheets"), Entry("/grow", "Grow a class"))


@dataclass(frozen=True)
class Desk:
    """An open desk.

    Attributes:
        guard: the web application.
        project: the project.
        account: e-mail address of the person.
        crops: number of crops.
        waited: number of labels that a former run left to be sent.
        warnings: what the person should know before starting, one sentence each.
        journal: the labels that are not in Label Studio yet.
        sender: the thread that sends them.
    """

    guard: Guard
    project: Project
    account: str
    crops: int
    waited: int
    warnings: tuple[str, ...]
    journal: journals.Journal
    sender: Sender


@contextmanager
def open_desk(
    connection: Connection,
    project: str,
    port: int,
    *,
    embeddings: Path | None = None,
    progress: ProgressCallback = lambda done, total: None,
) -> Iterator[Desk]:
    """Opens the desk of a project, and closes it at the end of the block. What is not sent then stays in the journal.

    Args:
        connection: the connection to Label Studio; labels are written as its account.
        project: title of the project.
        port: the port on which the desk will listen.
        embeddings: a file of embeddings, or a survey folder that holds one.
        progress: called with (tasks read, total tasks).

    Raises:
        InputError: the embeddings cannot be read or fit no crop, or this project's desk is open already.
        StudioError: there is no such project, or the server fails.
    """
    given = read_embeddings(embeddings) if embeddings is not None else None
    found = require_project(connection, project)
    with connection.doing("reading the account"):
        account = int(connection.client.users.whoami().id)
    owner = f"{connection.url} {found.id} {account}"
    file = journals.default_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    refusal = f"the sheet page of '{project}' is open already: use its window, or stop that command first"
    with ExitStack() as stack:
        stack.enter_context(exclusive_lock(file.with_name(f"{sha256_of(owner.encode())[:16]}.lock"), refusal))
        journal = stack.enter_context(closing(journals.Journal(file, owner)))
        pictures = stack.enter_context(closing(thumbnails.Pictures(connection, thumbnails.default_file())))
        waited = journal.waiting()
        loaded = load_crops(connection, found, progress)
        vectors = Vectors(loaded.crops, pictures, given)
        warnings = _warnings(vectors, given, embeddings)
        sender = Sender(connection, found, account, journal)
        work = Work(loaded, vectors, journal, sender.wake)
        layout = Layout(found.title, connection.user, found.url(connection), NAVIGATION)
        routes = SheetRoutes(work, pictures, sender, layout).routes()
        guard = Guard(Starlette(routes=[*routes, layout.files()]), port)
        sender.start()
        stack.callback(sender.stop)
        colleagues = Colleagues(connection, found, work)
        colleagues.start()
        stack.callback(colleagues.stop)
        stack.callback(vectors.in_background().join, 10)
        stack.callback(vectors.stop)
        yield Desk(guard, found, connection.user, len(loaded.crops), waited, warnings, journal, sender)


def _warnings(vectors: Vectors, given: Embeddings | None, file: Path | None) -> tuple[str, ...]:
    """What does not fit between the embeddings and the crops. Raises InputError if nothing fits."""
    if given is None:
        return ()
    fitting, count = int(vectors.known.sum()), len(vectors.known)
    if not fitting and count:
        raise InputError(
            f"none of the {count} crops of the project has an embedding in {file}: name the embeddings of the images "
            "that were pushed"
        )
    if fitting == count:
        return ()
    return (
        f"{count - fitting} of {count} crops have no embedding in {file}: they come last, and grow leaves them out",
    )
