"""`pelagia label sheets`: opens the sheet page of a project."""

from __future__ import annotations

import socket
import threading
import time
import webbrowser
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pelagia.errors import InputError, MissingExtra, StudioError
from pelagia.options import needs
from pelagia.system import console
from pelagia_labeling.commands import ProjectTitle, Url

if TYPE_CHECKING:
    from pelagia_desk.desk import Desk
    from pelagia_desk.guard import Guard
    from pelagia_labeling.studio.connection import Connection

LONGEST_WAIT = 60.0
"""Seconds for which the command waits at its end until all labels are sent."""


def label_sheets(
    project: ProjectTitle,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Embeddings of the images, or the survey that holds them: for the order by similarity."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the page; by default a free port.")
    ] = None,
    url: Url = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Open the sheet page: label whole sheets of similar crops, and correct the odd ones.

    The page runs on this computer until you press Ctrl-C. It sends each label to Label Studio, as the account of the
    token, and keeps it on the disk until it is there.

    Example: pelagia label sheets --project "North Sea"
    """
    needs("labeling", "label sheets")
    for module in ("jinja2", "starlette", "uvicorn"):
        if find_spec(module) is None:
            raise MissingExtra("`pelagia label sheets`", "labeling", module)
    from pelagia_desk.desk import open_desk

    with ExitStack() as stack:
        listener = stack.enter_context(_listen(port))
        number = int(listener.getsockname()[1])
        stack.enter_context(console.decoder_messages_hidden())
        with console.progress_bar("reading the tasks") as update:
            opened = open_desk(_connect(url), project, number, embeddings=embeddings, progress=update)
            desk = stack.enter_context(opened)
        _introduce(desk, number, browser)
        _serve(desk.guard, listener)
        _finish(desk)


def _connect(url: str | None) -> Connection:
    """Connects to Label Studio. An error says also whether labels wait for it."""
    from pelagia_desk.sheets.journal import default_file, waiting_in
    from pelagia_labeling.studio.connection import connect

    try:
        return connect(url)
    except StudioError as error:
        waiting = waiting_in(default_file())
        text = f"{error}; {waiting} labels wait on this computer and are sent by this command when it answers"
        raise StudioError(text, status=error.status) if waiting else error from None


def _listen(port: int | None) -> socket.socket:
    """A socket of this computer alone."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port or 0))
        listener.listen(128)  # so the address works from the moment when it is printed
    except OSError:
        listener.close()
        raise InputError(f"port {port} is in use: choose another with --port, or leave the option out") from None
    return listener


def _introduce(desk: Desk, port: int, browser: bool) -> None:
    for text in desk.warnings:
        console.note(f"warning: {text}")
    if desk.waited:
        console.say(f"{desk.waited} labels of the last time wait; they are sent now")
    address = f"http://127.0.0.1:{port}/enter/{desk.guard.token}"
    console.say(f"{desk.crops} crops of '{desk.project.title}'; labels are written as {desk.account}")
    console.say(f"The page: {address}")
    console.say("This address is for you alone. Stop with Ctrl-C; confirmed labels are kept.")
    if browser:
        threading.Timer(0.5, webbrowser.open, [address]).start()


def _serve(guard: Guard, listener: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    import uvicorn

    config = uvicorn.Config(
        guard, log_level="error", access_log=False, lifespan="off", server_header=False, timeout_graceful_shutdown=3
    )
    server: Any = uvicorn.Server(config)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn has shut down and passes the signal on
        return


def _finish(desk: Desk) -> None:
    """Waits until all is sent, and says what is not."""
    waiting = desk.journal.waiting()
    if not waiting:
        return
    console.note(f"{waiting} labels are not in Label Studio yet; sending them (Ctrl-C: keep them for the next time)")
    deadline = time.monotonic() + LONGEST_WAIT
    try:
        while waiting and not desk.sender.fault and time.monotonic() < deadline:
            time.sleep(0.5)
            waiting = desk.journal.waiting()
    except KeyboardInterrupt:
        waiting = desk.journal.waiting()
    if waiting:
        reason = f" ({desk.sender.fault})" if desk.sender.fault else ""
        console.note(
            f"warning: {waiting} labels wait on this computer{reason}: run the same command again to send them"
        )
