"""`pelagia studio`: the commands read their options, call one function, and print its result."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pelagia.errors import StudioError
from pelagia.options import needs
from pelagia.system import console
from pelagia.system.checks import show_checks

if TYPE_CHECKING:
    from pelagia_labeling.status import Status

Url = Annotated[
    str | None, typer.Option(help="Address of the server; by default LABEL_STUDIO_URL, or the server started here.")
]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port; by default the port of the last start, or a free port.")
]


def studio_start(
    port: Port = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install Label Studio first if it is missing (0.8 GB, once).")
    ] = False,
) -> None:
    """Start Label Studio in the background and print its address and login. If it is running, print them again.

    On a new machine: pelagia studio start --install
    """
    needs("labeling", "studio start")
    from pelagia_labeling.studio.program import find_executable, install_program
    from pelagia_labeling.studio.server import read_studio, start_studio

    known = read_studio()
    if not (known and known.running):
        try:
            find_executable()
        except StudioError:
            if not install:
                raise
            with console.waiting("installing Label Studio for your account (0.8 GB; one to five minutes)"):
                install_program()
    with console.waiting("starting Label Studio (about half a minute)"):
        studio = start_studio(port=port)
    state = "was running already" if studio.already_running else "runs"
    console.say(f"Label Studio {studio.version} {state} at {studio.url}")
    console.say(f"  log in as  {studio.user}")
    console.say(f"  password   {studio.password}")
    console.say(f"  its data   {studio.home}")
    if studio.program:
        console.say(f"  program    {studio.program}")
    console.say("Stop it with `pelagia studio stop`; the labels are kept.")


def studio_stop() -> None:
    """Stop the Label Studio that `studio start` started."""
    needs("labeling", "studio stop")
    from pelagia_labeling.studio.server import stop_studio

    console.say("Label Studio is stopped; the labels are kept" if stop_studio() else "Label Studio was not running")


def studio_status(url: Url = None) -> None:
    """Print whether Label Studio runs, its projects, its size and its last backup. Exits with 6 if none answers."""
    needs("labeling", "studio status")
    from pelagia_labeling.status import read_status

    with console.waiting("looking"):
        status = read_status(url)
    _show_status(status)
    if not status.version:
        raise typer.Exit(6)


def _show_status(status: Status) -> None:
    from pelagia_labeling.studio.backup import size_text

    process = f" (process {status.studio.pid})" if status.studio and status.studio.running else ""
    if status.version:
        console.say(f"Label Studio {status.version} runs at {status.url}{process}")
    else:
        console.say(f"no Label Studio answers: {status.fault}")
    if status.studio is not None and status.sizes is not None:
        sizes = status.sizes
        console.say(f"  its data     {status.studio.home}")
        console.say(f"  database     {size_text(sizes.database)}")
        console.say(f"  images       {sizes.images} files, {size_text(sizes.image_bytes)}")
        if sizes.uploads:
            console.say(f"  uploads      {sizes.uploads} files, {size_text(sizes.upload_bytes)}")
        console.say(f"  free disk    {size_text(sizes.free)}")
        console.say(f"  last backup  {_backup_text(status.backup)}")
    if status.projects:
        rows = [(project.title, project.tasks, project.annotations) for project in status.projects]
        console.table(("project", "tasks", "labels"), rows)
    elif status.version:
        console.say(status.fault or "no project yet: make one with `pelagia label push`")


def _backup_text(backup: tuple[str, Path] | None) -> str:
    if backup is None:
        return "never: make one with `pelagia studio backup`"
    made_at, file = backup
    when = f"{datetime.fromisoformat(made_at).astimezone():%Y-%m-%d %H:%M}"
    return f"{when}, {file}" if file.exists() else f"{when}; its file {file} is no longer there"


def studio_backup(
    out: Annotated[
        Path | None, typer.Option(help="The file to make; by default label-studio-DATE-TIME.zip in this folder.")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Include the images, or only labels, accounts and uploads.")
    ] = True,
) -> None:
    """Write labels, accounts and images of the local Label Studio into one file, also while people label.

    The file holds the password and the token of the server, so only your account can read it. Example:
    pelagia studio backup --out /media/usb/labels.zip
    """
    needs("labeling", "studio backup")
    from pelagia_labeling.studio.backup import back_up, default_name, size_text

    with console.progress_bar("backing up") as update:
        report = back_up(out or default_name(), images=images, progress=update)
    for name in report.damaged:
        console.note(f"warning: {name} is not the image that was pushed: delete it there, and push again")
    if report.vanished:
        console.note(f"warning: {len(report.vanished)} files were removed while the backup was made")
    console.say(f"{report.file}: {size_text(report.size)}, read again and found complete")
    console.say(f"  database   {size_text(report.database)}")
    left_out = f"; {report.left_out} are not in it: keep your own copies" if report.left_out else ""
    console.say(f"  images     {report.images}{left_out}")
    console.say(f"  SHA-256    {report.sha256}")
    console.say("It holds passwords: keep it as you keep them. Use it with `pelagia studio restore`.")


def studio_restore(
    file: Annotated[Path, typer.Argument(help="A file that `pelagia studio backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="If there is a Label Studio already, keep it beside under another name.")
    ] = False,
) -> None:
    """Make the local Label Studio from a backup, of this machine or of another.

    The backup is unpacked and checked before anything is replaced. Example: pelagia studio restore labels.zip
    """
    needs("labeling", "studio restore")
    from pelagia_labeling.studio.restore import restore

    with console.progress_bar("restoring") as update:
        report = restore(file, replace=replace, progress=update)
    when = f"{datetime.fromisoformat(report.made_at).astimezone():%Y-%m-%d %H:%M}"
    console.say(f"restored the backup of {when} (Label Studio {report.label_studio}) to {report.home}")
    if report.kept:
        console.say(f"  the former one is in {report.kept}")
    if report.images is None:
        console.note(f"warning: the backup has no images: copy them to {report.home / 'files'}, or push them again")
    else:
        console.say(f"  images     {report.images}")
    if report.rewritten:
        console.say(f"  {report.rewritten} local storages have the new folder of images")
    for path in report.elsewhere:
        console.note(f"warning: a project uses the folder {path}, which is not in the backup")
    console.say_next("pelagia", "studio", "start")


def studio_doctor(
    url: Url = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair first what can be repaired without losing anything.")
    ] = False,
) -> None:
    """Find what is wrong with a Label Studio and print how to fix it. Exits with 6 if something is wrong."""
    needs("labeling", "studio doctor")
    from pelagia_labeling.doctor import examine

    if fix:
        from pelagia_labeling.repair import repair

        repairs = list(repair(url))
        for done in repairs:
            console.say(f"{'fixed' if done.done else 'left '}  {done.text}")
        if not repairs:
            console.say("nothing to repair")
    if not show_checks(examine(url)):
        raise typer.Exit(6)
