"""The command table of `pelagia`.

Invariant: `main` is the only place that turns an error into words on the terminal and an exit code (the codes are in
`pelagia.errors`). Commands hold no logic: they read options, call a function of a part, and show its result; the part
is imported when its command is called, so that `pelagia --help` answers at once and a field laptop needs no torch.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

from pelagia.commands import data, field, labelling, training
from pelagia.errors import PelagiaError
from pelagia.files import is_full

_STOPPED = tuple(128 + number for number in (signal.SIGINT, signal.SIGTERM))
_asked_to_end: list[int] = []
"""Signals that came. An end raised in a library's callback may come out of it as an error of the library's."""


def _version(wanted: bool) -> None:
    if wanted:
        from pelagia import __version__

        typer.echo(f"pelagia {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _group(help_text: str, **commands: Callable[..., None]) -> typer.Typer:
    """Commands under one name; ``import_`` is the command ``import``."""
    group = typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in commands.items():
        group.command(name.rstrip("_"))(command)
    return group


app = _group(
    "From labelled plankton and fish images to counts: label, train, export, classify.",
    sample=data.sample,
    train=training.train,
    sweep=training.sweep,
    leak=training.leak,
    suspects=training.suspects,
    export=training.export,
    evaluate=training.evaluate,
    quantize=training.quantize,
    classify=field.classify,
    bench=field.bench,
    doctor=field.doctor,
)
app.callback()(_root)
app.add_typer(
    _group(
        "Make and inspect datasets: folders of checked, labelled images.",
        import_=data.dataset_import,
        correct=data.dataset_correct,
        show=data.dataset_show,
        check=data.dataset_check,
    ),
    name="dataset",
)
app.add_typer(
    _group(
        "A Label Studio of your own on this machine.",
        start=labelling.studio_start,
        stop=labelling.studio_stop,
        doctor=labelling.studio_doctor,
    ),
    name="studio",
)
app.add_typer(
    _group(
        "Images to Label Studio, labels back as a dataset.",
        push=labelling.label_push,
        submit=labelling.label_submit,
        pull=labelling.label_pull,
    ),
    name="label",
)
app.add_typer(
    _group("Look into a model and prove that it works here.", show=field.model_show, verify=field.model_verify),
    name="model",
)
app.add_typer(_group("Use a survey that was classified.", export=field.survey_export), name="survey")


def main() -> None:
    """Entry point of `pelagia`."""
    _asked_to_end.clear()
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has us ignore it
        signal.signal(signal.SIGINT, _end)
    try:
        app()
    except SystemExit as end:
        if end.code in _STOPPED:
            typer.echo("stopped", err=True)
        raise
    except PelagiaError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        _fail(_disk_fault(error), 1)
    except Exception:
        if not _asked_to_end:
            raise
        typer.echo("stopped", err=True)
        raise SystemExit(128 + _asked_to_end[0]) from None


def _disk_fault(error: OSError) -> str:
    what = f" {error.filename}" if error.filename else ""
    if is_full(error):  # where a file was copied, the name is that of the source, which is not at fault
        return "the disk is full: free some space and run the same command again; nothing half-made was left"
    remedies = {
        errno.EACCES: "choose a place that you may write to, or mend its permissions",
        errno.EPERM: "choose a place that you may write to, or mend its permissions",
        errno.EROFS: "the disk is read-only: choose another place",
    }
    remedy = remedies.get(error.errno or 0, "check the path and the disk")
    return f"cannot use{what}: {error.strerror or error}: {remedy}"


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise SystemExit(code)


def _end(number: int, frame: object) -> NoReturn:
    _asked_to_end.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


if __name__ == "__main__":
    main()
